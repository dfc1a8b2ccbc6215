"""Figures for the README: one style, and the same bytes for the same data."""

from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

from zeroshot_al.base.files import atomic_path

# Sized for GitHub's column of about 830 px: the text of an 8 inch figure is as large as its own.
# "default" first, so that no matplotlibrc of the user's changes a committed picture.
_STYLE = [
    "default",
    {
        "figure.dpi": 160,
        "savefig.dpi": "figure",
        "savefig.facecolor": "white",
        "figure.constrained_layout.use": True,
        "font.size": 11,
        "axes.titlesize": 11,
        "axes.labelsize": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": "#e4e4e4",
        "legend.frameon": False,
        # A class may be called $x$.
        "text.parse_math": False,
    },
]


def styled() -> object:
    """Context, or decorator of a function that draws: the style holds inside it alone."""
    return matplotlib.style.context(_STYLE)


@styled()
def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all, without the version that would change its bytes.

    Figures come from `matplotlib.figure.Figure`, not from pyplot, and are drawn by Agg: there is
    neither a window system nor a global state.
    """
    with atomic_path(path) as temporary:
        figure.savefig(temporary, metadata={"Software": None})
