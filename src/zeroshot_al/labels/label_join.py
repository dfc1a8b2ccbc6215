"""Labels join the pool: each is used, or reported with the reason why not; none is guessed."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple
from unicodedata import normalize

from zeroshot_al.base.files import expanded
from zeroshot_al.labels.label_files import Answer
from zeroshot_al.sources.image_files import ImageFiles
from zeroshot_al.sources.left_out import LeftOut
from zeroshot_al.sources.spreadsheet import IdLookup

REPORT_HEADER = ("id", "problem", "detail")
# In the order in which they are reported. What is repeated or alike is used all the same.
UNKNOWN_ID, UNKNOWN_CLASS, CONFLICT = "unknown id", "unknown class", "conflict"
ALIKE, REPEATED, TEST_IMAGE = "similar classes", "repeated", "test image"
PROBLEMS = (UNKNOWN_ID, UNKNOWN_CLASS, CONFLICT, ALIKE, REPEATED, TEST_IMAGE)


class Problem(NamedTuple):
    """A row of report.csv, which nothing reads but people."""

    id: str
    problem: str
    detail: str


class IdFinder:
    """Finds the id in the pool that a label's file means: an id, or a path where there are files.

    A label of a dropped copy is one of the equal image that was kept.
    """

    def __init__(self, ids: Sequence[str], left_out: LeftOut, files: ImageFiles | None) -> None:
        self._ids = IdLookup({name: name for name in ids} | left_out.kept_for)
        self._reasons = IdLookup({row["id"]: row["reason"] for row in left_out.rejected})
        self._folder, paths = None, {}
        if files is not None:
            self._folder = files.folder
            paths = {str(files.folder / copy): kept for copy, kept in left_out.kept_for.items()}
            paths |= {path: name for name, path in files.paths.items()}
        self._paths = IdLookup(paths)

    def find(self, answer: Answer) -> str | Problem:
        """Return the id, or what is wrong with it."""
        if not answer.name:
            reason = "names no image"
        elif answer.is_path and self._folder is None:
            reason = "these images have no files; give ids"
        else:
            found = self._of_path(answer.name) if answer.is_path else self._ids.find(answer.name)
            if len(found) == 1:
                return found.pop()
            if found:
                reason = "stands for two images; write it as in order.csv"
            else:
                reason = min(self._reasons.find(answer.name), default="no image of the pool")
        return Problem(answer.name, UNKNOWN_ID, f"{answer.where}: {reason}")

    def _of_path(self, name: str) -> set[str]:
        path = os.path.normpath(self._folder / expanded(name))
        return self._paths.find(path) or self._paths.find(os.path.realpath(path))


def join_labels(
    answers: Sequence[Answer], finder: IdFinder, classes: Collection[str]
) -> tuple[dict[str, str], list[Problem]]:
    """Take the labels on which all who gave one agree.

    Parameters
    ----------
    answers, finder
    classes : collection of str
        Names that a label may have, in any Unicode form; any when empty.

    Returns
    -------
    labels : dict of str to str
        By id.
    problems : list of Problem
        Of all others, and classes whose names look alike. An answer without a label is none.
    """
    problems = []
    given: dict[str, list[Answer]] = {}
    for answer in answers:
        found = finder.find(answer)
        if isinstance(found, Problem):
            problems.append(found)
        elif answer.labels:
            given.setdefault(found, []).append(answer)
    composed = {normalize("NFC", name): name for name in classes}
    labels = {}
    for name, of_image in given.items():
        found = {label for answer in of_image for label in answer.labels}
        found = {x if x in classes else composed.get(normalize("NFC", x), x) for x in found}
        places = ", ".join(answer.where for answer in of_image)
        if len(found) > 1:
            problems.append(Problem(name, CONFLICT, f"{places}: {_listed(found)}"))
            continue
        (label,) = found
        if classes and label not in classes:
            near = {other for other in classes if _look(other) == _look(label)}
            hint = f"; there is {_listed(near)}" if near else ""
            problems.append(Problem(name, UNKNOWN_CLASS, f"{places}: {label!r}{hint}"))
            continue
        if len(of_image) > 1:
            problems.append(Problem(name, REPEATED, f"{places}: {label!r} each time"))
        labels[name] = label
    return labels, problems + _similar_classes(labels)


def _similar_classes(labels: Mapping[str, str]) -> list[Problem]:
    """Report classes whose names differ in case, Unicode form, blanks or the way of a number."""
    counts = Counter(labels.values())
    groups: dict[str, list[str]] = {}
    for name in sorted(counts):
        groups.setdefault(_look(name), []).append(name)
    return [
        Problem("", ALIKE, f"{_listed(alike, 'and')}: {[counts[name] for name in alike]} labels")
        for alike in groups.values()
        if len(alike) > 1
    ]


def _look(name: str) -> str:
    text = " ".join(normalize("NFKC", name).casefold().split())
    try:
        return repr(float(text.replace(",", ".")))
    except ValueError:
        return text


def _listed(names: Iterable[str], word: str = "or") -> str:
    """Write names so that each differs from the others on the screen."""
    names = sorted(names)
    write = repr if len({normalize("NFC", name) for name in names}) == len(names) else ascii
    return f" {word} ".join(map(write, names))
