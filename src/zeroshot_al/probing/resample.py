"""One pool, ordered by each rule and probed at each budget: the unit of work of `probe_curves`."""

from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy, write_json
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.coverage import coverage_order, zero_shot_order
from zeroshot_al.engine.checkpoint import read_saved
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.probing.heads import centred, head_accuracies
from zeroshot_al.probing.pools import (
    ProbeParams,
    broken_counts,
    coarse_codes,
    draw_sample,
    draw_tail,
    seen_all_after,
)
from zeroshot_al.process.workers import n_cores, worker_pool

KINDS = ("all", "tail", "pool", "broken")
FIRST = 100  # picks among which broken images are counted

Tasks = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Labels of the drawn train images and of the test images, by the name of the pool."""


def probe_side_by_side(jobs: Sequence[tuple]) -> list[dict]:
    """Return ``[probe_resample(*job) for job in jobs]``, in processes of one thread on a CPU."""
    with tqdm(total=len(jobs), desc="probe curves", unit="pool", disable=None) as bar:
        if torch.cuda.is_available():  # one after the other
            results = []
            for job in jobs:
                results.append(probe_resample(*job))
                bar.update()
            return results
        with worker_pool(min(n_cores(), len(jobs)), torch.set_num_threads, 1) as pool:
            futures = [pool.submit(probe_resample, *job) for job in jobs]
            for future in as_completed(futures):
                future.result()  # the first error ends the others
                bar.update()
            return [future.result() for future in futures]


def probe_resample(
    kind: str,
    number: int,
    method: str,
    files: Mapping[str, Path],
    broken_file: str | None,
    pool_dir: str,
    params: ProbeParams,
    saved_at: Path,
) -> dict:
    """Draw one pool, order it by each rule, and score both heads.

    Parameters
    ----------
    kind : {"all", "tail", "pool", "broken"}
        "pool" is probed with its coarse classes, too, where there are such.
    number : int
        Of the resample, from 0.
    method : str
        Whose features choose.
    files : mapping of str to Path
        Files of features by method: of the one that chooses, and of at most one other.
    broken_file : str or None
        Features of the broken images by the one that chooses; None without.
    pool_dir : str
    params : ProbeParams
    saved_at : Path
        Where the result lies once it is there.

    Returns
    -------
    dict
        `runs`, a list of dicts of pool, order, draw, features, head, budget and accuracy; `chance`
        by pool, of a single label; `seen`, a list of dicts of pool, order and the picks until each
        class is seen, at most `limit` ("count" is None if one never was); `broken`, a list of
        dicts of order and count.
    """
    found = read_saved(saved_at)
    if found is None:
        pool = load_pool(pool_dir)
        rng = np.random.default_rng([params.pools.seed, KINDS.index(kind), number])
        with threadpool_limits(1):  # the resamples run side by side
            if kind == "broken":
                rows = read_npy(files[method], memory_map=True)
                broken = read_npy(broken_file)
                found = {"broken": _count_broken(rows, broken, pool.n_train, number, params, rng)}
            else:
                found = _probe(kind, pool, files, method, number, params, rng)
        write_json(saved_at, found)
    return found


def make_orders(
    rows: np.ndarray, n_select: int, n_random: int, seed: int, rng: np.random.Generator
) -> list[tuple[str, np.ndarray]]:
    """Order rows by each rule, and at random so many times; the names and the picks."""
    orders = [
        ("kcenter", kcenter_order(rows, n_select, seed=seed).order),
        ("coverage", coverage_order(rows, n_select).order),
        ("zero_shot", zero_shot_order(rows, n_select).order),
    ]
    return orders + [("random", rng.permutation(len(rows))[:n_select]) for _ in range(n_random)]


def _count_broken(
    rows: np.ndarray,
    broken: np.ndarray,
    n_train: int,
    number: int,
    params: ProbeParams,
    rng: np.random.Generator,
) -> list[dict]:
    n_whole, n_broken = broken_counts(n_train, params.pools)
    whole = rows[np.sort(rng.permutation(n_train)[:n_whole])]
    mixed = np.concatenate([whole, broken[number * n_broken : (number + 1) * n_broken]])
    n_first = min(FIRST, len(mixed))
    orders = make_orders(mixed, n_first, params.pools.n_random, number, rng)
    return [{"order": name, "count": int((picks >= n_whole).sum())} for name, picks in orders]


def _probe(
    kind: str,
    pool: Pool,
    files: Mapping[str, Path],
    method: str,
    number: int,
    params: ProbeParams,
    rng: np.random.Generator,
) -> dict:
    indices, tasks = _draw(kind, pool, params, rng)
    budgets = [*params.budgets.drawn, *(params.budgets.all if kind == "all" else ())]
    budgets = [budget for budget in budgets if budget < len(indices)]
    if not budgets:
        raise InputError(
            f"probe.budgets.drawn {list(params.budgets.drawn)} are not below the {len(indices)} "
            "images of a resampled pool; lower them in params.yaml"
        )
    features = {name: read_npy(file, memory_map=True) for name, file in files.items()}
    rows = {name: values[: pool.n_train][indices] for name, values in features.items()}
    orders = make_orders(rows[method], budgets[-1], params.pools.n_random, number, rng)
    runs = []
    for name, values in rows.items():
        mean = values.mean(axis=0, dtype=np.float64)
        unit, test = centred(values, mean), centred(features[name][pool.n_train :], mean)
        for task, (labels, test_labels) in tasks.items():
            for draw, (order, picks) in enumerate(orders):
                accuracies = head_accuracies(
                    unit[picks],
                    labels[picks],
                    test,
                    test_labels,
                    budgets,
                    params.linear_c,
                    balanced=task == "tail",
                )
                runs += [
                    {
                        "pool": task,
                        "order": order,
                        "draw": draw,
                        "features": name,
                        "head": head,
                        "budget": budget,
                        "accuracy": accuracy,
                    }
                    for head, by_budget in accuracies.items()
                    for budget, accuracy in zip(budgets, by_budget, strict=True)
                ]
    seen = [
        {
            "pool": task,
            "order": order,
            "count": seen_all_after(labels[picks], len(np.unique(labels))),
            "limit": len(picks),
        }
        for task, (labels, _) in tasks.items()
        for order, picks in orders
    ]
    return {"runs": runs, "seen": seen, "chance": {task: _chance(*tasks[task]) for task in tasks}}


def _draw(
    kind: str, pool: Pool, params: ProbeParams, rng: np.random.Generator
) -> tuple[np.ndarray, Tasks]:
    """Return the pool indices of the images, and what they are probed on."""
    labels, test_labels = pool.train_labels, pool.test_labels
    if kind == "all":
        return np.arange(pool.n_train), {"all": (labels, test_labels)}
    if kind == "tail":
        indices = np.sort(draw_tail(labels, params.pools, rng))
        return indices, {"tail": (labels[indices], test_labels)}
    indices = np.sort(draw_sample(pool.n_train, params.pools, rng))
    tasks = {"pool": (labels[indices], test_labels)}
    codes = coarse_codes(pool.classes)
    if codes is not None:
        tasks["coarse"] = (codes[labels[indices]], codes[test_labels])
    return indices, tasks


def _chance(labels: np.ndarray, test_labels: np.ndarray) -> float:
    """Return the accuracy with one random label, that of every image then."""
    n_classes = max(labels.max(), test_labels.max()) + 1
    shares = [
        np.bincount(codes, minlength=n_classes) / len(codes) for codes in (labels, test_labels)
    ]
    return float(shares[0] @ shares[1])
