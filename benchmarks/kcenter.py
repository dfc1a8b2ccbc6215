"""Time the exact k-center engine beside its bounds and its peers; verify a whole sequence.

    python benchmarks/kcenter.py speed             ours, naive, matrix-product floor, peers
    python benchmarks/kcenter.py growth            ours from 50,000 to 1,000,000 points, with memory
    python benchmarks/kcenter.py verify            every pick against an independent float64 pass
    python benchmarks/kcenter.py render            rewrite the page from the numbers

Each run replaces its own part of `docs/benchmarks/kcenter.json` and renders `kcenter.md` beside it.
The peers need an environment of their own, since they pin other versions of our dependencies;
`make bench` builds it and runs all of this:

    python benchmarks/kcenter.py speed --peers-python .venv-peers/bin/python
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _kcenter_page import PEERS, render
from _kcenter_peers import extrapolate, naive, product_floor, time_peer
from _machine import cpu_flags, machine
from _page import update_page

ROOT = Path(__file__).resolve().parent.parent


def clustered(n_samples: int, n_dims: int, seed: int = 0) -> np.ndarray:
    """200 clusters of different width, made in chunks; float32 (n_samples, n_dims)."""
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((200, n_dims), dtype=np.float32)
    widths = rng.gamma(3, 0.25, size=(200, 1)).astype(np.float32)
    points = np.empty((n_samples, n_dims), dtype=np.float32)
    for chunk in np.split(points, range(50_000, n_samples, 50_000)):
        cluster = rng.integers(200, size=len(chunk))
        rng.standard_normal(out=chunk, dtype=np.float32)
        chunk *= widths[cluster]
        chunk += means[cluster]
    return points


def load(options: argparse.Namespace) -> np.ndarray:
    if options.embeddings:
        return np.load(options.embeddings, allow_pickle=False)[: options.n_samples]
    return clustered(options.n_samples, options.n_dims)


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# --- the modes ----------------------------------------------------------------------------------


def speed(options: argparse.Namespace) -> dict:
    """Median seconds of each contender; the rounds are interleaved, so drift hits all alike."""
    from zeroshot_al.kcenter import kcenter_order
    from zeroshot_al.kcenter.input import canonical_rows

    embeddings, budget = load(options), options.budget
    points = canonical_rows(embeddings)
    reference = kcenter_order(embeddings, budget).order
    slow = (options.naive_picks // 4, options.naive_picks)
    contenders = {
        "ours, float32": lambda: seconds(
            lambda: kcenter_order(embeddings, budget, precision="float32")
        ),
        "ours, bf16": lambda: seconds(lambda: kcenter_order(embeddings, budget, precision="bf16")),
        "naive float32 matvec": lambda: extrapolate(
            slow, tuple(seconds(lambda k=k: naive(points, k)) for k in slow), budget
        ),
        "float32 product, N x B": lambda: seconds(lambda: product_floor(points, budget, "float32")),
        "bf16 product, N x B": lambda: seconds(lambda: product_floor(points, budget, "bfloat16")),
    }
    rows = {name: {"runs_s": [], "note": ""} for name in contenders}
    rows["naive float32 matvec"]["note"] = f"extrapolated from {slow[1]} picks"
    rows |= {name: {"runs_s": [], "note": kind} for name, kind in PEERS.items()}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "points.npy"
        np.save(data, points, allow_pickle=False)
        for _ in range(options.repeats):
            for name, contender in contenders.items():
                rows[name]["runs_s"].append(contender())
                print(name, rows[name]["runs_s"][-1], file=sys.stderr)
            for name in PEERS:
                time_peer(rows[name], name, data, reference, options)
                print(name, rows[name], file=sys.stderr)
    for row in rows.values():
        row["median_s"] = statistics.median(row["runs_s"]) if row["runs_s"] else None
    shape = {"n_samples": len(points), "n_dims": points.shape[1], "budget": budget}
    return {**shape, "data": data_name(options), "repeats": options.repeats, "rows": rows}


def growth(options: argparse.Namespace) -> dict:
    """Seconds and peak memory by the number of points, each run in a process of its own."""
    rows = []
    for n_samples in options.sizes:
        runs = []
        for _ in range(options.repeats):
            command = [
                sys.executable,
                __file__,
                "one",
                str(n_samples),
                str(options.n_dims),
                str(options.budget),
                options.precision,
            ]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(n_samples, runs[-1], file=sys.stderr)
        medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        rows.append({"n_samples": n_samples, **medians, "runs_s": [run["seconds"] for run in runs]})
    return {
        "n_dims": options.n_dims,
        "budget": options.budget,
        "precision": options.precision,
        "repeats": options.repeats,
        "rows": rows,
    }


def run_one(options: argparse.Namespace) -> None:
    """Child process of `growth`: one order, as JSON on the last line."""
    from zeroshot_al.kcenter import kcenter_order

    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # noqa: E731
    imports = peak()
    points = clustered(options.n_samples, options.n_dims)
    before = peak()
    took = seconds(lambda: kcenter_order(points, options.budget, precision=options.precision))
    memory = {"imports_gib": imports, "data_gib": points.nbytes / 2**30, "peak_gib": peak()}
    print(json.dumps({"seconds": took, **memory, "added_gib": memory["peak_gib"] - before}))


def verify(options: argparse.Namespace) -> dict:
    """Check each pick and radius of a whole order by NumPy in float64, with nothing left out.

    Before each pick the distances of all points to all earlier centres are known: the pick must be
    the first maximum, and its radius the root of it.
    """
    from zeroshot_al.kcenter import kcenter_order
    from zeroshot_al.kcenter.input import canonical_rows

    embeddings = load(options)
    orders = {
        p: kcenter_order(embeddings, options.budget, precision=p) for p in ("float32", "bf16")
    }
    points = canonical_rows(embeddings).astype(np.float64)
    squared = (points * points).sum(axis=1)
    nearest = np.full(len(points), np.inf)
    wrong = dict.fromkeys(orders, 0)
    order = orders["float32"].order
    for start in range(0, len(order), 256):
        block = order[start : start + 256]
        distances = squared[block, None] + squared - 2 * (points[block] @ points.T)
        for step, row in enumerate(distances, start):
            expected = int(nearest.argmax()) if step else int(order[0])
            for name, result in orders.items():
                wrong[name] += int(
                    result.order[step] != expected
                    or result.radius[step] != np.sqrt(nearest[expected])
                )
            np.minimum(nearest, row, out=nearest)
            nearest[order[step]] = -1
    shape = {"n_samples": len(points), "n_dims": points.shape[1], "budget": options.budget}
    print(f"wrong picks of {options.budget}: {wrong}", file=sys.stderr)
    return {**shape, "data": data_name(options), "wrong": wrong}


def data_name(options: argparse.Namespace) -> str:
    return Path(options.embeddings).name if options.embeddings else "200 synthetic clusters"


def machine_with_torch() -> dict:
    """The hardware and software that the figures belong to."""
    import torch

    flags = cpu_flags()
    return {
        **machine(),
        "bf16": next((flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags), "none"),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--repeats", type=int, default=3)
    pool = argparse.ArgumentParser(add_help=False)
    pool.add_argument("--embeddings", help=".npy file; synthetic clusters without it")
    pool.add_argument("--n-samples", type=int, default=50_000)
    pool.add_argument("--n-dims", type=int, default=512)
    pool.add_argument("--budget", type=int, default=25_000)
    mode = modes.add_parser("speed", parents=[common, pool])
    mode.add_argument("--peers-python", help="python of the peers' environment")
    mode.add_argument("--peer-picks", type=int, default=200)
    mode.add_argument("--naive-picks", type=int, default=1000)
    mode = modes.add_parser("growth", parents=[common])
    mode.add_argument("--sizes", type=int, nargs="+", default=[50_000, 200_000, 500_000, 1_000_000])
    mode.add_argument("--n-dims", type=int, default=128)
    mode.add_argument("--budget", type=int, default=10_000)
    mode.add_argument("--precision", default="auto")
    modes.add_parser("verify", parents=[pool])
    modes.add_parser("render")
    mode = modes.add_parser("one", help="internal: one run of growth")
    for name in ("n_samples", "n_dims", "budget"):
        mode.add_argument(name, type=int)
    mode.add_argument("precision")
    options = parser.parse_args()
    if options.mode == "one":
        run_one(options)
        return
    new = {}
    if options.mode != "render":
        before = machine_with_torch()
        part = {"speed": speed, "growth": growth, "verify": verify}[options.mode](options)
        new = {options.mode: {"machine": before, **part}}
    update_page("kcenter", render, new)


if __name__ == "__main__":
    main()
