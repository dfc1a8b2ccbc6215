"""The model that a user's labels make: its guesses for the whole pool, and how good they are."""
