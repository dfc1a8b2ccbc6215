"""The ways to choose images that every table and figure shows, in the order of the paper.

Of the first three, the zero-shot ones, a run shows those alone that are active.
"""

from dataclasses import dataclass


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
    Method("random", "Random", "#666666", "D", (0, (1, 1))),
    Method("coreset", "Core-Set (iterative)", "#009E73", "^", (0, (5, 2))),
)

BASELINE = "random"
"""What every other method is paired with."""
