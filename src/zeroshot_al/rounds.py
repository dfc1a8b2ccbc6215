"""Rounds of labelling: what was given out before, what is labelled, and the next batch.

Each batch of which a label came back is a file `batches/N.csv`, N from 1, of rank, id and reason.
What is labelled, in whatever batch or elsewhere, stands in `data/labels/labelled.csv`. Both hold
ids as they are, unlike the tables that people open.
"""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_rows, write_csv
from zeroshot_al.base.pool import Pool
from zeroshot_al.orders import ChosenOrder

BATCH_HEADER = ("rank", "id", "reason")
LABELLED_HEADER = ("id",)
RANDOM = "random"  # the reason of a pick that was drawn, beside those of `orders.ChosenOrder`

log = logging.getLogger(__name__)


def read_batches(directory: str | Path) -> dict[int, dict[str, str]]:
    """Read what was given out.

    Returns
    -------
    dict of int to dict of str to str
        By the batch's number, ascending: the reason of each pick by its id, in the order of ranks.
    """
    files = [path for path in Path(directory).glob("*.csv") if path.stem.isdecimal()]
    return {
        int(path.stem): {name: reason for _, name, reason in read_rows(path, BATCH_HEADER)}
        for path in sorted(files, key=lambda path: int(path.stem))
    }


def read_labelled(directory: str | Path) -> list[str]:
    """Read the ids of the pool's images that are labelled, as stage `labels` found them."""
    return [name for (name,) in read_rows(Path(directory, "labelled.csv"), LABELLED_HEADER)]


def index_of_labelled(
    pool: Pool, labelled: Collection[str], labels_dir: str | Path
) -> dict[str, int]:
    """Return the index of each train image by its id; the labelled ones must be among them.

    Raises
    ------
    InputError
        If one is not: the labels are of another pool.
    """
    index_of = {name: index for index, name in enumerate(pool.train_ids)}
    for name in labelled:
        if name not in index_of:
            raise InputError(
                f"{labels_dir} holds a label of {name!r}, which the pool lacks; run labels again"
            )
    return index_of


def known_indices(pool: Pool, labels_dir: str | Path, batches_dir: str | Path) -> np.ndarray:
    """Find the images that are labelled or were given out, which no later batch holds again.

    Returns
    -------
    ndarray of shape (n_known,), int64
        Pool indices, sorted. None of a pool that has labels of its own.

    Raises
    ------
    InputError
        If the labels are of another pool, or all that was given out is.
    """
    if pool.is_labelled:
        return np.empty(0, dtype=np.int64)
    labelled = read_labelled(labels_dir)
    index_of = index_of_labelled(pool, labelled, labels_dir)
    given = [name for batch in read_batches(batches_dir).values() for name in batch]
    gone = [name for name in given if name not in index_of]
    if gone and len(gone) == len(given):
        raise InputError(
            f"none of the {len(given)} images of {batches_dir} is in the pool, the first "
            f"{gone[0]!r}; for other images move {batches_dir}/*.csv away"
        )
    if gone:
        log.warning("%d images of %s have left the pool", len(gone), batches_dir)
    known = {index_of[name] for name in (*labelled, *given) if name in index_of}
    return np.array(sorted(known), dtype=np.int64)


def next_batch(
    chosen: ChosenOrder, known: np.ndarray, n_pool: int, budget: int, random_share: float, seed: int
) -> tuple[list[int], list[str]]:
    """Take the first picks of an order that are not known, and random ones at even intervals.

    The random picks are uniform draws from what is neither known nor picked before them: labels of
    them say how good a model is on the pool at large, which those of chosen images do not. A
    shorter batch is the beginning of a longer one.

    Parameters
    ----------
    chosen : ChosenOrder
        At least `budget` of its picks are not known.
    known : ndarray of shape (n_known,), int64
        Pool indices that are no picks, as `known_indices` finds them.
    n_pool, budget : int
    random_share : float
        Part of the batch that is drawn, from 0 to 1.
    seed : int
        Of the draw.

    Returns
    -------
    picks : list of int, length budget
    reasons : list of str, length budget

    Raises
    ------
    InputError
        If the share is out of range.
    """
    if not 0 <= random_share <= 1:
        raise InputError(f"annotate.random_share {random_share} must be from 0 to 1; change it")
    taken = set(known.tolist())
    drawn = iter(np.random.default_rng(seed).permutation(n_pool).tolist())
    ordered = iter(zip(chosen.picks, chosen.reasons, strict=True))
    picks: dict[int, str] = {}
    for rank in range(budget):
        if _n_drawn(random_share, rank + 1) > _n_drawn(random_share, rank):
            pick, reason = next(index for index in drawn if index not in taken), RANDOM
        else:
            pick, reason = next(found for found in ordered if found[0] not in taken)
        taken.add(pick)
        picks[pick] = reason
    return list(picks), list(picks.values())


def _n_drawn(share: float, n_picks: int) -> int:
    return int(share * n_picks + 1e-9)


def close_batch(
    reasons: Mapping[str, str], labelled: Collection[str], directory: str | Path
) -> Path | None:
    """Write the batch that is being labelled as given out, once a label of it came back.

    Parameters
    ----------
    reasons : mapping of str to str
        Reason of each pick by its id, in the order of ranks.
    labelled : collection of str
        Ids that are labelled.
    directory : path
        Of the batches.

    Returns
    -------
    Path or None
        The file; None if no label came back, or the batch is written already.
    """
    batches = read_batches(directory)
    before = {name for batch in batches.values() for name in batch}
    if reasons.keys().isdisjoint(labelled) or not reasons.keys().isdisjoint(before):
        return None
    path = Path(directory, f"{max(batches, default=0) + 1}.csv")
    rows = ((rank, name, reason) for rank, (name, reason) in enumerate(reasons.items()))
    write_csv(path, BATCH_HEADER, rows)
    return path
