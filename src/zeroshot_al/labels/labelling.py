"""Annotators' answers become labels for training and test; what is left out is reported."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from zeroshot_al.base.errors import InputError, printable
from zeroshot_al.labels.label_files import Answer
from zeroshot_al.labels.label_join import ALIKE, PROBLEMS, IdFinder, Problem, join_labels

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneParams:
    """What fine-tuning does otherwise than section `classifier`."""

    steps: int
    learning_rate: float
    warmup_steps: int
    label_smoothing: float


@dataclass(frozen=True)
class LabelsParams:
    """Section `labels`.

    Parameters
    ----------
    file : str or None
        As for `label_files.read_answers`; None as long as nothing is labelled.
    labelled : str or None
        File of ids that are labelled elsewhere.
    test_root : str or None
        Folder of labelled test images, in a folder a class.
    classes : tuple of str or None
        Names that a label may have; None takes the test folders' names, or any where there is no
        test folder.
    model : {"head", "finetune", "network"}
        What the labels train: logistic regression on the embeddings, their encoder with a linear
        layer, or section `classifier` from scratch.
    finetune : FinetuneParams
    """

    file: str | None
    labelled: str | None
    test_root: str | None
    classes: tuple[str, ...] | None
    model: Literal["head", "finetune", "network"]
    finetune: FinetuneParams


def label_pool(
    answers: Sequence[Answer],
    finder: IdFinder,
    test: Mapping[str, str],
    bad_tests: Sequence[Problem],
    params: LabelsParams,
) -> tuple[dict[str, str], list[Problem]]:
    """Join answers to a pool.

    Parameters
    ----------
    answers, finder
    test, bad_tests
        Labels of a test folder by path, and what was left out of it.
    params : LabelsParams

    Returns
    -------
    labels : dict of str to str
        By id of the pool.
    problems : list of Problem

    Raises
    ------
    InputError
        If no label can be used, or the test folder has a class that no label may have.
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
    problems = sorted([*problems, *bad_tests], key=lambda found: PROBLEMS.index(found.problem))
    counts = Counter(labels.values())
    listed = ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))
    log.info("%d usable labels: %s", len(labels), printable(listed))
    for problem in problems:
        if problem.problem == ALIKE:
            log.warning("%s: %s", ALIKE, printable(problem.detail))
    untrained = ", ".join(sorted(set(test.values()) - set(counts)))
    if untrained:
        log.warning("tested without a label to train on: %s", printable(untrained))
    return labels, problems


def find_labelled(
    names: Sequence[str], finder: IdFinder, file: str
) -> tuple[set[str], list[Problem]]:
    """Find the ids that a file says are labelled elsewhere.

    Returns
    -------
    found : set of str
        Ids of the pool.
    problems : list of Problem
        Of all others.

    Raises
    ------
    InputError
        If there is no other.
    """
    found = [finder.find(Answer(name, False, (), file)) for name in names]
    problems = [problem for problem in found if isinstance(problem, Problem)]
    if problems and len(problems) == len(found):
        raise InputError(
            f"none of the {len(found)} labelled ids in {file} is in the pool, the first "
            f"{names[0]!r}; write ids as in data/annotate/order.csv, or set labels.labelled to null"
        )
    return {name for name in found if isinstance(name, str)}, problems


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
