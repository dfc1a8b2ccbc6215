"""The one exception that a user is meant to read."""


class InputError(ValueError):
    """Bad input, told in one sentence: what, the value, the limit, the remedy."""
