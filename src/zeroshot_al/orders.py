"""Orders of the pool: the files that the stages write, and how they are read back."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_rows, write_csv
from zeroshot_al.base.params import Rule

HEADER = ("rank", "index", "id", "radius")
REASON_HEADER = ("rank", "index", "id", "reason")
SEEDED_HEADER = ("seed", "rank", "index", "id")


@dataclass(frozen=True)
class OrderParams:
    """Params section `order`.

    Parameters
    ----------
    method : str or None
        Of several encoders, whose order is annotated and labelled, and whose recommended order is
        trained on; None if there is only one.
    n_select : int
        Picks of a recommended order, at most.
    n_targets : int
        Images that they cover, at most; of a larger pool a random sample.
    seed : int
        Of that sample.
    """

    method: str | None
    n_select: int
    n_targets: int
    seed: int


@dataclass(frozen=True, eq=False)
class ChosenOrder:
    """The order that is annotated.

    Parameters
    ----------
    method : str
        Of the encoder.
    name : str
        Of the order, as reports know it.
    path : Path
    picks : list of int, length n_ordered
        Pool indices by rank.
    reasons : list of str, length n_ordered
        Why each was picked: "representative" or "far"; "start" is the random start of k-center.
    """

    method: str
    name: str
    path: Path
    picks: list[int]
    reasons: list[str]


def write_order(
    path: str | Path, order: Iterable[int], radius: Iterable[float], pool_ids: Sequence[str]
) -> None:
    """Write a k-center order: the pool index, id and radius of each pick."""
    _write_picks(
        path, HEADER, order, (f"{distance:.9g}" for distance in _numbers(radius)), pool_ids
    )


def write_reasoned_order(
    path: str | Path, order: Iterable[int], reasons: Iterable[str], pool_ids: Sequence[str]
) -> None:
    """Write a recommended order: the pool index and id of each pick, and why it was made."""
    _write_picks(path, REASON_HEADER, order, reasons, pool_ids)


def _write_picks(
    path: str | Path,
    header: Sequence[str],
    order: Iterable[int],
    column: Iterable[str],
    pool_ids: Sequence[str],
) -> None:
    picks = zip(_numbers(order), column, strict=True)
    rows = ((rank, index, pool_ids[index], text) for rank, (index, text) in enumerate(picks))
    write_csv(path, header, rows)


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


def _read_order(path: Path, rule: Rule, pool_ids: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the picks by rank, and the last column: a radius or a reason."""
    picks, column = [], []
    for *pick, last in read_rows(path, HEADER if rule == "kcenter" else REASON_HEADER):
        picks.append(_checked_index(path, len(picks), *pick, pool_ids))
        column.append(last)
    if not picks:
        raise InputError(f"{path} holds no order; run the stage that writes it")
    return picks, column


def _order_files(directory: str | Path, rule: Rule) -> dict[str, Path]:
    """Return the files of the methods that are active, which are those that are there."""
    files = {path.stem: path for path in sorted(Path(directory).glob("*.csv"))}
    if not files:
        raise InputError(f"{directory} holds no order; run {rule}_order")
    return files


def _name(rule: Rule, method: str) -> str:
    return method if rule == "kcenter" else f"{method}_{rule}"


def choose_method(
    method: str | None, directory: str | Path, files: Mapping[str, Path]
) -> tuple[str, Path]:
    """Return the only method and its file, or those of the method given, of files by method.

    Raises
    ------
    InputError
        If there are several, and the method given is none of them.
    """
    if len(files) > 1 and method is None:
        raise InputError(
            f"order.method is null, and {directory} holds those of {', '.join(files)}; "
            "name one of them in params.yaml"
        )
    if len(files) > 1 and method not in files:
        raise InputError(
            f"order.method {method!r} has no file in {directory}; "
            f"set it to {' or '.join(files)} in params.yaml"
        )
    chosen = method if len(files) > 1 else next(iter(files))
    return chosen, files[chosen]


def read_orders(
    method: str | None, zero_shot: str | Path, kcenter: str | Path, pool_ids: Sequence[str]
) -> dict[str, tuple[Path, list[int]]]:
    """Read the orders to compare: k-center's of every encoder, the recommended one of one encoder.

    Parameters
    ----------
    method : str or None
        As `OrderParams.method`.
    zero_shot, kcenter : str or Path
        Directories of the recommended orders, and of k-center's.
    pool_ids : sequence of str, length n_pool

    Returns
    -------
    dict of str to tuple of Path and list of int
        The file and the pool indices by rank, of METHOD by k-center and of METHOD_zero_shot.

    Raises
    ------
    InputError
        As `choose_order`.
    """
    found = {
        name: (path, _read_order(path, "kcenter", pool_ids)[0])
        for name, path in _order_files(kcenter, "kcenter").items()
    }
    chosen, path = choose_method(method, zero_shot, _order_files(zero_shot, "zero_shot"))
    return found | {_name("zero_shot", chosen): (path, _read_order(path, "zero_shot", pool_ids)[0])}


def choose_order(
    rule: Rule,
    method: str | None,
    zero_shot: str | Path,
    kcenter: str | Path,
    pool_ids: Sequence[str],
) -> ChosenOrder:
    """Read the order of one rule and encoder; arguments as of `read_orders`.

    Raises
    ------
    InputError
        If there is no order, or a file is damaged or of another pool; if there are several, and
        the method given is none of them.
    """
    directory = kcenter if rule == "kcenter" else zero_shot
    chosen, path = choose_method(method, directory, _order_files(directory, rule))
    picks, column = _read_order(path, rule, pool_ids)
    if rule == "kcenter":
        column = ["far" if math.isfinite(float(radius)) else "start" for radius in column]
    return ChosenOrder(chosen, _name(rule, chosen), path, picks, column)
