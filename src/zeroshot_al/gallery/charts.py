"""The gallery's two drawings as inline SVG: their colours are the page's, in light and in dark."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from zeroshot_al.gallery.pool_map import PoolMap

WIDTH, HEIGHT = 440, 290  # of the curve; text of 12.5 units stays readable 350 pixels wide
LEFT, RIGHT, TOP, BOTTOM = 40, 26, 14, 44
MAP_SIZE = 1000
N_SHADES = 4  # of the ranks on the map


def radius_chart(
    counts: Sequence[int],
    radii: np.ndarray,
    random_counts: Sequence[int],
    random_radii: np.ndarray,
    knee: int | None,
) -> str:
    """Draw the covering radius against the number of labels, beside that of random orders.

    Parameters
    ----------
    counts : sequence of int, length n_counts
    radii : ndarray of shape (n_counts,), float64
    random_counts : sequence of int, length n_random_counts
    random_radii : ndarray of shape (n_random, n_random_counts), float64
        Drawn as the mean and the range.
    knee : int or None
        The suggested number of labels, one of `counts`.
    """
    top = nice_ceiling(max(float(radii.max()), float(random_radii.max())))
    right = max(counts[-1], 2)

    def x(count: float) -> float:
        return LEFT + (count - 1) / (right - 1) * (WIDTH - LEFT - RIGHT)

    def y(radius: float) -> float:
        return HEIGHT - BOTTOM - radius / top * (HEIGHT - TOP - BOTTOM)

    parts = []
    for radius in ticks(top):
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(radius):.1f}" '
            f'y2="{y(radius):.1f}"/><text x="{LEFT - 8}" y="{y(radius) + 4:.1f}" '
            f'text-anchor="end">{radius:g}</text>'
        )
    for count in ticks(right):
        if count >= 1:
            parts.append(
                f'<text x="{x(count):.1f}" y="{HEIGHT - BOTTOM + 18}" '
                f'text-anchor="middle">{count:,.0f}</text>'
            )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">images labelled</text>'
    )
    low, high, mean = random_radii.min(axis=0), random_radii.max(axis=0), random_radii.mean(axis=0)
    across = [x(count) for count in random_counts]
    outline = [
        *zip(across, map(y, high), strict=True),
        *reversed(list(zip(across, map(y, low), strict=True))),
    ]
    parts.append(f'<polygon class="band" points="{_points(outline)}"/>')
    line = zip(across, map(y, mean), strict=True)
    parts.append(f'<polyline class="random" points="{_points(line)}"/>')
    line = zip(map(x, counts), map(y, radii), strict=True)
    parts.append(f'<polyline class="order" points="{_points(line)}"/>')
    if knee is not None:
        at, level = x(knee), y(float(radii[list(counts).index(knee)]))
        side = "end" if at > WIDTH / 2 else "start"
        shift = -8 if side == "end" else 8
        parts.append(
            f'<line class="knee" x1="{at:.1f}" x2="{at:.1f}" y1="{level:.1f}" '
            f'y2="{HEIGHT - BOTTOM}"/><circle class="knee-dot" cx="{at:.1f}" cy="{level:.1f}" '
            f'r="5"/><text class="strong" x="{at + shift:.1f}" y="{HEIGHT - BOTTOM - 10}" '
            f'text-anchor="{side}">flattens at {knee:,}</text>'
        )
    label = "Covering radius against the number of labelled images, of the order and of random"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def map_chart(pool_map: PoolMap, order: Sequence[int]) -> str:
    """Draw the pool as dots, the picks over it, dark for early ones.

    Parameters
    ----------
    pool_map : PoolMap
    order : sequence of int, length budget
        Pool indices by rank.
    """
    rank_of = {int(index): rank for rank, index in enumerate(order)}
    edge = 14
    pool, picked = [], []
    for index, place in zip(pool_map.indices.tolist(), pool_map.places, strict=True):
        cx, cy = (round(edge + float(p) * (MAP_SIZE - 2 * edge)) for p in (place[0], 1 - place[1]))
        if index in rank_of:
            picked.append((rank_of[index], cx, cy))
        else:
            pool.append(f'<circle cx="{cx}" cy="{cy}" r="5"/>')
    # The first picks last, so that they lie on top.
    dots = [
        f'<circle class="q{shade(rank, len(order))}" data-rank="{rank}" cx="{cx}" cy="{cy}" '
        f'r="{9 - shade(rank, len(order))}"/>'
        for rank, cx, cy in sorted(picked, reverse=True)
    ]
    label = f"Map of {len(pool_map.indices):,} images of the pool, {len(picked):,} of them picked"
    return (
        f'<svg viewBox="0 0 {MAP_SIZE} {MAP_SIZE}" role="img" aria-label="{label}">'
        f'<g class="pool">{"".join(pool)}</g><g id="picked">{"".join(dots)}</g></svg>'
    )


def shade_limits(budget: int) -> list[int]:
    """Number of picks up to which each shade goes: a hundredth, a tenth, a third, all."""
    limits = [math.ceil(budget * share) for share in (0.01, 0.1, 1 / 3, 1)]
    return [max(limit, place + 1) for place, limit in enumerate(limits)][:N_SHADES]


def shade(rank: int, budget: int) -> int:
    """Shade of a rank, 0 for the earliest."""
    return next((s for s, limit in enumerate(shade_limits(budget)) if rank < limit), N_SHADES - 1)


def ticks(top: float) -> list[float]:
    """Round values from 0 to `top`, four to seven of them."""
    step = 10 ** math.floor(math.log10(top / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if top / (step * factor) <= 6)
    return [round(i * step, 10) for i in range(math.floor(top / step + 1e-9) + 1)]


def nice_ceiling(value: float) -> float:
    """Give the first tick at or above a value; 1 if the value is 0."""
    if value <= 0:
        return 1.0
    marks = ticks(value)
    return marks[-1] if marks[-1] >= value else round(marks[-1] + marks[1], 10)


def _points(line: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
