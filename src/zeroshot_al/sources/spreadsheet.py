"""Texts in the CSVs that a person opens: no cell is one that a spreadsheet would run.

A cell that begins with = + - @ (or their full-width forms), a tab or a line break can be taken for
a formula. Such a text gets a single quote before it, as OWASP advises, and so does one that begins
with a single quote, so that dropping one leading quote gives every text back exactly.

References
----------
OWASP, "CSV Injection".
"""

STARTS_A_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are full-width


def quote_cell(text: str) -> str:
    """Put a single quote before a text that a spreadsheet could run, or that begins with one."""
    return "'" + text if text.startswith((*STARTS_A_FORMULA, "'")) else text


def unquote_cell(cell: str) -> str:
    """Undo `quote_cell`."""
    return cell.removeprefix("'")
