"""Labels join the pool: each is used, or reported with the reason why not; none is guessed."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from zeroshot_al.base.files import expanded
from zeroshot_al.labels.label_files import Answer
from zeroshot_al.sources.image_files import ImageFiles
from zeroshot_al.sources.removed import Removed
from zeroshot_al.sources.spreadsheet import quote_cell, unquote_cell

REPORT_HEADER = ("id", "problem", "detail")
# In the order in which they are told. What is repeated is used all the same.
UNKNOWN_ID, UNKNOWN_CLASS, CONFLICT = "unknown id", "unknown class", "conflict"
REPEATED, MISSING, TEST_IMAGE = "repeated", "missing", "test image"
PROBLEMS = (UNKNOWN_ID, UNKNOWN_CLASS, CONFLICT, REPEATED, MISSING, TEST_IMAGE)


class Problem(NamedTuple):
    """A row of report.csv, which nothing reads but people."""

    id: str
    problem: str
    detail: str

    @property
    def row(self) -> tuple[str, ...]:
        """What is written: nothing that a spreadsheet would run."""
        return tuple(map(quote_cell, self))


class IdFinder:
    """Finds the id in the pool that a label's file means.

    Parameters
    ----------
    ids : sequence of str
        Of the pool's train images.
    removed : Removed
        A label of a dropped copy is one of the image of equal pixels that was kept.
    files : ImageFiles or None
        What paths are looked up in.
    """

    def __init__(self, ids: Sequence[str], removed: Removed, files: ImageFiles | None) -> None:
        self._id_of = {name: name for name in ids} | removed.kept_for
        self._rejected = {row["id"]: row["reason"] for row in removed.rejected}
        self._folder = None if files is None else files.folder
        self._by_path = {} if files is None else {path: i for i, path in files.paths.items()}

    def find(self, answer: Answer) -> str | Problem:
        """Return the id, or what is wrong with it."""
        if not answer.name:
            return Problem("", UNKNOWN_ID, f"{answer.where} names no image")
        if answer.is_path:
            return self._find_path(answer)
        # order.csv puts a quote before some ids; both forms are taken, unless both are ids.
        plain = unquote_cell(answer.name)
        forms = {answer.name} | ({plain} if quote_cell(plain) == answer.name else set())
        found = {self._id_of[form] for form in forms if form in self._id_of}
        if len(found) > 1:
            return Problem(
                answer.name,
                UNKNOWN_ID,
                f"{answer.where}: stands for two images; write it as in order.csv",
            )
        return found.pop() if found else self._unknown(answer)

    def _find_path(self, answer: Answer) -> str | Problem:
        if self._folder is None:
            return Problem(
                answer.name, UNKNOWN_ID, f"{answer.where}: these images have no files; give ids"
            )
        path = os.path.normpath(self._folder / expanded(answer.name))
        for form in (path, os.path.realpath(path)):
            if form in self._by_path:
                return self._by_path[form]
            name = Path(os.path.relpath(form, self._folder)).as_posix()
            if name in self._id_of and self._id_of[name] != name:  # a dropped copy's file
                return self._id_of[name]
        return self._unknown(answer)

    def _unknown(self, answer: Answer) -> Problem:
        reason = self._rejected.get(answer.name, "no image of the pool")
        return Problem(answer.name, UNKNOWN_ID, f"{answer.where}: {reason}")


def join_labels(
    answers: Sequence[Answer], finder: IdFinder, classes: Collection[str] | None
) -> tuple[dict[str, str], list[Problem]]:
    """Take the labels on which all who gave one agree.

    Parameters
    ----------
    answers : sequence of Answer
    finder : IdFinder
    classes : collection of str, optional
        Names that a label may have; any when left out.

    Returns
    -------
    labels : dict of str to str
        By id.
    problems : list of Problem
        Of all others. An answer without a label is none: it may be given later.
    """
    problems = []
    given: dict[str, list[Answer]] = {}
    for answer in answers:
        found = finder.find(answer)
        if isinstance(found, Problem):
            problems.append(found)
        elif answer.labels:
            given.setdefault(found, []).append(answer)
    labels = {}
    for name, told in given.items():
        found = {label for answer in told for label in answer.labels}
        places = ", ".join(answer.where for answer in told)
        if len(found) > 1:
            problems.append(
                Problem(name, CONFLICT, f"{places}: {' or '.join(map(repr, sorted(found)))}")
            )
            continue
        (label,) = found
        if classes is not None and label not in classes:
            problems.append(Problem(name, UNKNOWN_CLASS, f"{places}: {label!r}"))
            continue
        if len(told) > 1:
            problems.append(Problem(name, REPEATED, f"{places}: {label!r} each time"))
        labels[name] = label
    return labels, problems
