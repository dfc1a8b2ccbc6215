"""The one exception that a user is meant to read, and text that is safe to show."""


def printable(text: str) -> str:
    """Escape what could break a line, drive a terminal or turn the direction of writing.

    File names and labels may hold line breaks, escape sequences and bidirectional overrides.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class InputError(ValueError):
    """Bad input, told in one sentence: what, the value, the limit, the remedy."""

    def __str__(self) -> str:
        return printable(super().__str__())
