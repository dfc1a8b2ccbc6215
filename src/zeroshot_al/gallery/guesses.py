"""What `predict` guessed of the picks, for the label page and the labelling tools."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from zeroshot_al.base.files import read_rows
from zeroshot_al.sources.spreadsheet import unquote_cell

PREDICTIONS_HEADER = ("id", "predicted", "probability", "margin", "labelled")


class Guess(NamedTuple):
    """A class and its probability."""

    label: str
    probability: float


class Guesses(NamedTuple):
    """Guesses by id, and the version of the model that made them; none before there are labels."""

    by_id: Mapping[str, Guess]
    version: str


def read_guesses(path: str | Path, ids: Collection[str]) -> Guesses:
    """Read the guesses of some images out of predictions.csv, if it is there.

    Raises
    ------
    InputError
        As `read_rows`.
    """
    if not Path(path).exists():
        return Guesses({}, "")
    wanted, by_id = set(ids), {}
    for cells in read_rows(path, PREDICTIONS_HEADER):
        name, label = map(unquote_cell, cells[:2])
        if name in wanted:
            by_id[name] = Guess(label, float(cells[2]))
    with open(path, "rb") as file:
        return Guesses(by_id, f"predictions-{hashlib.file_digest(file, 'sha256').hexdigest()[:8]}")
