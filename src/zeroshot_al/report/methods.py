"""The ways to choose images that tables and figures show, in the order of the paper.

A run shows those that have results.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from zeroshot_al.base.errors import InputError


@dataclass(frozen=True)
class Method:
    """How one method is called and drawn."""

    name: str
    label: str
    color: str
    marker: str
    dashes: str | tuple[int, tuple[int, ...]]


# Colours by Okabe and Ito, apart for every colour vision; markers and dashes tell the lines apart
# in grey print as well. The .dvc/plots templates repeat the colours; a test compares them.
METHODS = (
    Method("moco", "MoCo-v2 + k-center", "#0072B2", "o", "solid"),
    Method("simclr", "SimCLR + k-center", "#D55E00", "s", "solid"),
    Method("pretrained", "Existing model + k-center", "#CC79A7", "P", (0, (6, 1, 1, 1))),
    Method("moco_zero_shot", "MoCo-v2 + hedged coverage", "#56B4E9", "v", (0, (8, 2))),
    Method("simclr_zero_shot", "SimCLR + hedged coverage", "#E69F00", "v", (0, (8, 2))),
    Method("pretrained_zero_shot", "Existing model + hedged coverage", "#000000", "v", (0, (8, 2))),
    Method("random", "Random", "#666666", "D", (0, (1, 1))),
    Method("coreset", "Core-Set (iterative)", "#009E73", "^", (0, (5, 2))),
)

BASELINE = "random"
"""What every other method is paired with."""


def registered(names: Iterable[str]) -> list[Method]:
    """Return the methods of these names, in the order of `METHODS`.

    Raises
    ------
    InputError
        If a name is none of `METHODS`.
    """
    found = set(names)
    if unknown := sorted(found - {method.name for method in METHODS}):
        raise InputError(
            f"method {unknown[0]!r} has no label and colour; add its line to METHODS in "
            "src/zeroshot_al/report/methods.py"
        )
    return [method for method in METHODS if method.name in found]
