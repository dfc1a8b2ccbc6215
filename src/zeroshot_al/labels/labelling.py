"""Annotators' answers become labels for training and test; what is left out is reported."""

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from zeroshot_al.base.errors import InputError, printable
from zeroshot_al.labels.label_files import Answer
from zeroshot_al.labels.label_join import ALIKE, MISSING, PROBLEMS, IdFinder, Problem, join_labels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelsParams:
    """Section `labels`.

    Parameters
    ----------
    file : str or None
        As for `label_files.read_answers`; None for a pool that has labels of its own.
    test_root : str or None
        Folder of labelled test images, in a folder a class; None tests on a part of the labels.
    held_out : float
        That part, between 0 and 1.
    classes : tuple of str or None
        Names that a label may have; None takes the test folders' names, or any where there is no
        test folder.
    seed : int
        Of the choice of that part.
    """

    file: str | None
    test_root: str | None
    held_out: float
    classes: tuple[str, ...] | None
    seed: int


def label_pool(
    answers: Sequence[Answer],
    ids: Sequence[str],
    finder: IdFinder,
    order: Sequence[str],
    method: str,
    test: Mapping[str, str],
    bad_tests: Sequence[Problem],
    params: LabelsParams,
) -> tuple[list[tuple[str, str, str]], list[Problem], dict]:
    """Join answers to a pool, and split them into training and test.

    Parameters
    ----------
    answers, finder
    ids : sequence of str
        Of the pool's train images.
    order : sequence of str
        The ids that were to be labelled, by rank, in the order of `method`.
    test, bad_tests
        Labels of a test folder by path, and what was left out of it.
    params : LabelsParams

    Returns
    -------
    rows : list of tuple
        Id, split and label: the pool's in its order, then the test folder's.
    problems : list of Problem
    summary : dict
        What the test is, in words, and the usable labels by class.

    Raises
    ------
    InputError
        If too few labels can be used, or the test folder has a class that no label may have.
    """
    classes = frozenset(params.classes or test.values())
    foreign = set(test.values()) - classes
    if foreign:
        raise InputError(
            f"the class {min(foreign)!r} of {params.test_root} is not among labels.classes; "
            "add it there, or take its folder away"
        )
    labels, problems = join_labels(answers, finder, classes)
    _check_usable(labels, problems, params.file)
    held = set() if test else hold_out(labels, order, params.held_out, params.seed)
    tested_on = (
        f"{len(test):,} images of {params.test_root}" if test else f"{len(held):,} held-out labels"
    )
    problems += [*_missing_picks(order, labels, method), *bad_tests]
    problems.sort(key=lambda problem: PROBLEMS.index(problem.problem))
    rows = [
        (name, "test" if name in held else "train", labels[name]) for name in ids if name in labels
    ]
    rows += [(name, "test", label) for name, label in test.items()]
    counts = Counter(labels.values())
    listed = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    log.info("%d usable labels: %s; the test: %s", len(labels), printable(listed), tested_on)
    kinds = ", ".join(f"{n} {kind}" for kind, n in Counter(p.problem for p in problems).items())
    log.info("reported in report.csv: %s", kinds or "nothing")
    for problem in problems:
        if problem.problem == ALIKE:
            log.warning("%s: %s", ALIKE, printable(problem.detail))
    untrained = ", ".join(sorted(set(test.values()) - set(counts)))
    if untrained:
        log.warning("tested without a label to train on: %s", printable(untrained))
    return rows, problems, {"tested_on": tested_on, "classes": dict(counts)}


def hold_out(
    labels: Mapping[str, str], order: Sequence[str], fraction: float, seed: int
) -> set[str]:
    """Choose a part of the labels for the test, at random, from each class in proportion.

    By a hash of each id: most of what was held out stays so when labels are added. The first image
    of a class in the order stays in training, so that no class is tested that was not trained on.

    Parameters
    ----------
    labels : mapping of str to str
        By id.
    order : sequence of str
        Ids by rank.
    fraction, seed
        As in `LabelsParams`.

    Raises
    ------
    InputError
        If no class has two labels, or the fraction is none.

    References
    ----------
    The classes' shares are by the method of Webster and Sainte-Laguë.
    """
    if not 0 < fraction < 1:
        raise InputError(f"labels.held_out {fraction} must be between 0 and 1; change it")
    by_class: dict[str, list[str]] = {}
    for name in dict.fromkeys((*order, *sorted(labels))):
        if name in labels:
            by_class.setdefault(labels[name], []).append(name)
    places = {}
    for _, *others in by_class.values():
        by_hash = sorted((hashlib.sha256(f"{seed} {x}".encode()).digest(), x) for x in others)
        for number, (digest, name) in enumerate(by_hash):
            places[name] = ((number + 0.5) / (len(others) + 1), digest)
    if not places:
        raise InputError(
            f"{len(labels)} labels of {len(by_class)} classes cannot be split into training and "
            "test; label more images, or give labels.test_root"
        )
    return set(sorted(places, key=places.__getitem__)[: max(1, round(fraction * len(labels)))])


def _check_usable(labels: Mapping[str, str], problems: Sequence[Problem], file: str) -> None:
    if not labels and not problems:
        raise InputError(
            f"{file} holds no label; its column, or the control in Label Studio, must be named "
            "label"
        )
    if not labels:
        first = problems[0]
        raise InputError(
            f"no label in {file} can be used; the first: {first.id!r} {first.problem} "
            f"({first.detail}); ids are written as in data/annotate/order.csv"
        )
    if len(set(labels.values())) == 1:
        raise InputError(
            f"all {len(labels)} usable labels in {file} are of the class "
            f"{min(labels.values())!r}; a classifier needs two classes at least"
        )


def _missing_picks(order: Sequence[str], labels: Collection[str], method: str) -> list[Problem]:
    """List the picks without a label before the last one that has one."""
    ranks = [rank for rank, name in enumerate(order) if name in labels]
    return [
        Problem(order[rank], MISSING, f"rank {rank} of {method}")
        for rank in range(max(ranks, default=0))
        if order[rank] not in labels
    ]
