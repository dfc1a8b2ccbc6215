"""Orders of the pool: the files that the stages write, and how they are read back."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_rows, write_csv

ZERO_SHOT = ("moco", "simclr", "pretrained")
"""The methods whose one order is made before any label; `encoders.active_methods` tells which."""

HEADER = ("rank", "index", "id", "radius")
SEEDED_HEADER = ("seed", "rank", "index", "id")


@dataclass(frozen=True)
class OrderParams:
    """Params section `order`.

    Parameters
    ----------
    method : str or None
        Whose order is annotated and labelled; None if only one is active.
    """

    method: str | None


def write_order(
    path: str | Path, order: Iterable[int], radius: Iterable[float], pool_ids: Sequence[str]
) -> None:
    """Write a zero-shot order: the pool index, id and radius of each pick."""
    picks = zip(_numbers(order), _numbers(radius), strict=True)
    rows = (
        (rank, index, pool_ids[index], f"{distance:.9g}")
        for rank, (index, distance) in enumerate(picks)
    )
    write_csv(path, HEADER, rows)


def write_seeded_orders(
    path: str | Path, orders: Mapping[int, Iterable[int]], pool_ids: Sequence[str]
) -> None:
    """Write the orders of a method that depends on a seed, the pool index and id of each pick."""
    rows = (
        (seed, rank, index, pool_ids[index])
        for seed, order in orders.items()
        for rank, index in enumerate(_numbers(order))
    )
    write_csv(path, SEEDED_HEADER, rows)


def _numbers(values: Iterable) -> Iterable:
    """Return Python's numbers in the place of NumPy's, which csv writes more slowly."""
    return values.tolist() if hasattr(values, "tolist") else values


def read_picks(path: str | Path, method: str, pool_ids: Sequence[str]) -> dict[int, list[int]]:
    """Read the orders of one method.

    Parameters
    ----------
    path : str or Path
        CSV of rank, index, id and, for the zero-shot methods, radius; else seed comes first.
    method : str
        Name from `METHODS`.
    pool_ids : sequence of str, length n_pool
        Id of every pool image: an order made for another pool is refused.

    Returns
    -------
    dict of int to list of int
        Pool indices in the order of their rank, for every seed. The zero-shot orders are one
        each; they stand under seed 0. Empty where a zero-shot method is not active: its file is
        a header alone.

    Raises
    ------
    InputError
        If the file is missing, an id is not the one at its index, or ranks have gaps.
    """
    orders: dict[int, list[int]] = {}
    for seed, index, _ in _checked_rows(path, method, pool_ids):
        orders.setdefault(seed, []).append(index)
    if not orders and method not in ZERO_SHOT:
        raise InputError(f"{path} holds no order; run the stage that writes it")
    return orders


def _checked_rows(
    path: str | Path, method: str, pool_ids: Sequence[str]
) -> Iterator[tuple[int, int, str]]:
    """Yield the seed, the pool index and the radius of each pick: 0 and "" where there is none."""
    one_order = method in ZERO_SHOT
    n_picks: Counter[int] = Counter()
    for row in read_rows(path, HEADER if one_order else SEEDED_HEADER):
        *numbers, name, radius = ("0", *row) if one_order else (*row, "")
        seed, rank, index = map(int, numbers)
        if rank != n_picks[seed]:
            raise InputError(
                f"rank {rank} of {path} should be {n_picks[seed]}; make the order anew"
            )
        if index >= len(pool_ids):
            raise InputError(
                f"{path} holds index {index}, and the pool's index.csv {len(pool_ids)} images: one "
                "of the two is cut off or old; run download anew, then the stage of the order"
            )
        if index < 0 or pool_ids[index] != name:
            raise InputError(
                f"index {index} of {path} is not {name!r} in the pool; make the order anew"
            )
        n_picks[seed] += 1
        yield seed, index, radius


@dataclass(frozen=True, eq=False)
class ZeroShotOrder:
    """A zero-shot method's order of the pool.

    Parameters
    ----------
    method : str
    picks : list of int, length n_ordered
        Pool indices by rank.
    radii : ndarray of shape (n_ordered,), float64
        Distance of each to the nearest earlier pick.
    """

    method: str
    picks: list[int]
    radii: np.ndarray


def _read_zero_shot_orders(directory: str | Path, pool_ids: Sequence[str]) -> list[ZeroShotOrder]:
    orders = []
    for method in ZERO_SHOT:
        picks, radii = [], []
        for _, index, radius in _checked_rows(Path(directory, f"{method}.csv"), method, pool_ids):
            picks.append(index)
            radii.append(float(radius))
        if picks:
            orders.append(ZeroShotOrder(method, picks, np.array(radii)))
    if not orders:
        raise InputError(f"none of the orders in {directory} holds a pick; run kcenter_order")
    return orders


def read_zero_shot_orders(directory: str | Path, pool_ids: Sequence[str]) -> dict[str, list[int]]:
    """Read the pool indices by rank of every zero-shot method that is active.

    Raises
    ------
    InputError
        As `read_picks`, or if no method is active.
    """
    return {order.method: order.picks for order in _read_zero_shot_orders(directory, pool_ids)}


def choose_order(
    method: str | None, directory: str | Path, pool_ids: Sequence[str]
) -> ZeroShotOrder:
    """Return the order of the zero-shot method given, else that of the one active.

    Raises
    ------
    InputError
        As `read_zero_shot_orders`; if the method given is not active, or if none is given and
        several are.
    """
    active = {order.method: order for order in _read_zero_shot_orders(directory, pool_ids)}
    if method is None and len(active) > 1:
        raise InputError(
            f"order.method is null, and {directory} holds the orders of {', '.join(active)}; "
            "name one of them in params.yaml"
        )
    if method not in (None, *active):
        raise InputError(
            f"order.method {method!r} has no order in {directory}; "
            f"set it to {' or '.join(active)} in params.yaml"
        )
    return active[method or next(iter(active))]
