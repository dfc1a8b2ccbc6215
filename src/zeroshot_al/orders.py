"""Orders of the pool: the files that the stages write, and how they are read back."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_rows, write_csv

HEADER = ("rank", "index", "id", "radius")
SEEDED_HEADER = ("seed", "rank", "index", "id")


@dataclass(frozen=True)
class OrderParams:
    """Params section `order`.

    Parameters
    ----------
    method : str or None
        Whose order is annotated and labelled; None if there is only one.
    """

    method: str | None


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


def read_seeded_orders(path: str | Path, pool_ids: Sequence[str]) -> dict[int, list[int]]:
    """Read the orders of a method that depends on a seed.

    Parameters
    ----------
    path : str or Path
        CSV of seed, rank, index and id.
    pool_ids : sequence of str, length n_pool
        Id of every pool image: an order made for another pool is refused.

    Returns
    -------
    dict of int to list of int
        Pool indices in the order of their rank, for every seed.

    Raises
    ------
    InputError
        If the file is missing or empty, an id is not the one at its index, or ranks have gaps.
    """
    orders: dict[int, list[int]] = {}
    for seed, *pick in read_rows(path, SEEDED_HEADER):
        picks = orders.setdefault(int(seed), [])
        picks.append(_checked_index(path, len(picks), *pick, pool_ids))
    if not orders:
        raise InputError(f"{path} holds no order; run the stage that writes it")
    return orders


def _checked_index(
    path: str | Path, n_before: int, rank: str, index: str, name: str, pool_ids: Sequence[str]
) -> int:
    """Return a pick's pool index, after `n_before` others."""
    if int(rank) != n_before:
        raise InputError(f"rank {rank} of {path} should be {n_before}; make the order again")
    number = int(index)
    if number >= len(pool_ids):
        raise InputError(
            f"{path} holds index {index}, and the pool's index.csv {len(pool_ids)} images: one "
            "of the two is cut off or old; run download again, then the stage of the order"
        )
    if number < 0 or pool_ids[number] != name:
        raise InputError(f"index {index} of {path} is not {name!r} in the pool; make it again")
    return number


def _read_order(path: Path, pool_ids: Sequence[str]) -> ZeroShotOrder:
    picks, radii = [], []
    for *pick, radius in read_rows(path, HEADER):
        picks.append(_checked_index(path, len(picks), *pick, pool_ids))
        radii.append(float(radius))
    if not picks:
        raise InputError(f"{path} holds no order; run the stage that writes it")
    return ZeroShotOrder(path.stem, picks, np.array(radii))


def _order_files(directory: str | Path) -> dict[str, Path]:
    """Return the files of the methods that are active, which are those that are there."""
    files = {path.stem: path for path in sorted(Path(directory).glob("*.csv"))}
    if not files:
        raise InputError(f"{directory} holds no order; run kcenter_order")
    return files


def read_zero_shot_orders(directory: str | Path, pool_ids: Sequence[str]) -> dict[str, list[int]]:
    """Read the pool indices by rank of every zero-shot method that is active.

    Raises
    ------
    InputError
        As `read_seeded_orders`, or if no method is active.
    """
    files = _order_files(directory)
    return {method: _read_order(path, pool_ids).picks for method, path in files.items()}


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
    files = _order_files(directory)
    if method is None and len(files) > 1:
        raise InputError(
            f"order.method is null, and {directory} holds the orders of {', '.join(files)}; "
            "name one of them in params.yaml"
        )
    if method not in (None, *files):
        raise InputError(
            f"order.method {method!r} has no order in {directory}; "
            f"set it to {' or '.join(files)} in params.yaml"
        )
    return _read_order(files[method or next(iter(files))], pool_ids)
