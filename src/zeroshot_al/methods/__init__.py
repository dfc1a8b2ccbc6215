"""One file a method: what is its own beside the room that it builds on."""
