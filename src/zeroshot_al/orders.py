"""Orders of the pool: the files that the stages write, and how they are read back."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from zeroshot_al.errors import InputError
from zeroshot_al.files import read_csv, write_csv

ZERO_SHOT = ("moco", "simclr", "pretrained")
"""The methods whose one order is made before any label; `encoders.active_methods` tells which."""

HEADER = ("rank", "index", "id", "radius")
SEEDED_HEADER = ("seed", "rank", "index", "id")


def write_order(
    path: str | Path, order: Iterable[int], radius: Iterable[float], pool_ids: Sequence[str]
) -> None:
    """Write a zero-shot order: the pool index, id and radius of each pick."""
    rows = (
        (rank, index, pool_ids[index], f"{distance:.9g}")
        for rank, (index, distance) in enumerate(zip(order, radius, strict=True))
    )
    write_csv(path, HEADER, rows)


def write_seeded_orders(
    path: str | Path, orders: Mapping[int, Iterable[int]], pool_ids: Sequence[str]
) -> None:
    """Write the orders of a method that depends on a seed, the pool index and id of each pick."""
    rows = (
        (seed, rank, index, pool_ids[index])
        for seed, order in orders.items()
        for rank, index in enumerate(order)
    )
    write_csv(path, SEEDED_HEADER, rows)


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
    one_order = method in ZERO_SHOT
    header = HEADER if one_order else SEEDED_HEADER
    orders: dict[int, list[int]] = {}
    for row in read_csv(path, header):
        if None in row.values():
            raise InputError(f"{path} ends inside a line; make the order anew")
        picks = orders.setdefault(int(row.get("seed", 0)), [])
        rank, index = int(row["rank"]), int(row["index"])
        if rank != len(picks):
            raise InputError(f"rank {rank} of {path} should be {len(picks)}; make the order anew")
        if not 0 <= index < len(pool_ids) or pool_ids[index] != row["id"]:
            raise InputError(
                f"index {index} of {path} is not {row['id']!r} in the pool; make the order anew"
            )
        picks.append(index)
    if not orders and not one_order:
        raise InputError(f"{path} holds no order; run the stage that writes it")
    return orders


def read_zero_shot_orders(directory: str | Path, pool_ids: Sequence[str]) -> dict[str, list[int]]:
    """Read the pool indices by rank of every zero-shot method that is active.

    Raises
    ------
    InputError
        As `read_picks`, or if no method is active.
    """
    orders = {
        method: picks[0]
        for method in ZERO_SHOT
        if (picks := read_picks(Path(directory, f"{method}.csv"), method, pool_ids))
    }
    if not orders:
        raise InputError(f"none of the orders in {directory} holds a pick; run kcenter_order")
    return orders


def choose_method(method: str | None, directory: str | Path, pool_ids: Sequence[str]) -> str:
    """Return the zero-shot method whose order is used: the one given, else the one active.

    Raises
    ------
    InputError
        If the method given is not active, or if none is given and several are.
    """
    active = list(read_zero_shot_orders(directory, pool_ids))
    if method is None and len(active) > 1:
        raise InputError(
            f"annotate.method is null, and {directory} holds the orders of {', '.join(active)}; "
            "name one of them in params.yaml"
        )
    if method not in (None, *active):
        raise InputError(
            f"annotate.method {method!r} has no order in {directory}; "
            f"set it to {' or '.join(active)} in params.yaml"
        )
    return method or active[0]
