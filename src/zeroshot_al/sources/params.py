"""Section `data` of the params."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DataParams:
    """Section `data`: the source, and what goes with the user's own images.

    Parameters
    ----------
    source : str
        `folder` (any nesting), `csv` and `embeddings` are the user's own, unlabelled;
        `class_folders` are labelled.
    root : str or None
        See `load.ROOTS`.
    size_px : int or None
        Working resolution; None where all images have one size already.
    ids : str or None
        File with the ids of `embeddings`.
    exclude : str or None
        File of ids to leave out.
    """

    source: Literal[
        "cifar10",
        "cifar100",
        "svhn",
        "fashion_mnist",
        "digits",
        "class_folders",
        "folder",
        "csv",
        "embeddings",
    ]
    root: str | None
    size_px: int | None = None
    ids: str | None = None
    exclude: str | None = None
