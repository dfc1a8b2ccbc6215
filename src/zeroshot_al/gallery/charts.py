"""Coordinates of the gallery's two drawings; the templates draw them as inline SVG."""

import math
from collections.abc import Sequence

import numpy as np

from zeroshot_al.gallery.curve import RadiusCurve
from zeroshot_al.gallery.exports import Pick
from zeroshot_al.gallery.pool_map import PoolMap


class RadiusChart:
    """Scales of the drawing of the covering radius: from labels and radii to units of the SVG.

    Text of 12.5 units stays readable where the drawing is 350 pixels wide.
    """

    width, height = 440, 290
    left, right, top, bottom = 40, 414, 14, 246  # edges of the plot

    def __init__(self, curve: RadiusCurve) -> None:
        self.last_count = max(curve.counts[-1], 2)
        self.largest_radius = nice_ceiling(max(curve.radii.max(), curve.random_radii.max()))
        self.radius_ticks = ticks(self.largest_radius)
        self.count_ticks = [
            int(count) for count in ticks(self.last_count) if count >= 1 and count.is_integer()
        ]

    def x(self, count: int) -> float:
        """Place of a number of labels."""
        share = (count - 1) / (self.last_count - 1)
        return round(self.left + share * (self.right - self.left), 1)

    def y(self, radius: float) -> float:
        """Place of a covering radius."""
        share = float(radius) / self.largest_radius
        return round(self.bottom - share * (self.bottom - self.top), 1)

    def points(self, counts: Sequence[int], radii: np.ndarray) -> str:
        """Places of a line's points, as SVG lists them."""
        return " ".join(
            f"{self.x(count)},{self.y(radius)}" for count, radius in zip(counts, radii, strict=True)
        )


class MapChart:
    """Places of the map's dots.

    Attributes
    ----------
    others : list of tuple
        x and y of each image that is not picked.
    picked : list of tuple
        Rank, x, y and shade of each pick: the first picks last, so that they lie on top.
    shade_limits : list of int
        Number of picks up to which each shade goes.
    """

    size, edge = 1000, 14

    def __init__(self, pool_map: PoolMap, picks: Sequence[Pick]) -> None:
        limits = shade_limits(len(picks))
        rank_of = {pick.index: pick.rank for pick in picks}
        self.others, self.picked = [], []
        for index, (right, up) in zip(pool_map.indices.tolist(), pool_map.places, strict=True):
            x, y = (round(self.edge + s * (self.size - 2 * self.edge)) for s in (right, 1 - up))
            if index in rank_of:
                self.picked.append((rank_of[index], x, y, shade(rank_of[index], limits)))
            else:
                self.others.append((x, y))
        self.picked.sort(reverse=True)
        self.shade_limits = [limit for limit in limits if limit <= len(picks)]


def shade_limits(budget: int) -> list[int]:
    """Number of picks up to which each shade goes: a hundredth, a tenth, a third, all."""
    limits = [math.ceil(budget * share) for share in (0.01, 0.1, 1 / 3, 1)]
    return [max(limit, place + 1) for place, limit in enumerate(limits)]


def shade(rank: int, limits: Sequence[int]) -> int:
    """Shade of a rank, 0 for the earliest."""
    return sum(rank >= limit for limit in limits)


def ticks(top: float) -> list[float]:
    """Round values from 0 to `top`, four to seven of them."""
    step = 10 ** math.floor(math.log10(top / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if top / (step * factor) <= 6)
    return [round(float(i * step), 10) for i in range(math.floor(top / step + 1e-9) + 1)]


def nice_ceiling(value: float) -> float:
    """Give the first tick at or above a value; 1 if the value is 0."""
    if value <= 0:
        return 1.0
    marks = ticks(value)
    return marks[-1] if marks[-1] >= value else round(marks[-1] + marks[1], 10)
