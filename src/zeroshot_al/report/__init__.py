"""Tables and figures of what the methods achieve."""
