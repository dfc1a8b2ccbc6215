"""Time kernel coverage beside the n x n way, alone, and by a sample of targets.

    python benchmarks/coverage.py naive            ours and n x n: picks, coverage, seconds, memory
    python benchmarks/coverage.py sizes            ours at the sizes that are promised
    python benchmarks/coverage.py render           rewrite the page from the numbers

Each run replaces its own part of `docs/benchmarks/coverage.json` and renders `coverage.md` beside
it. Every row is a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _machine import machine
from _page import update_page
from kcenter import clustered

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

# (points, picks, targets; 0: all of them)
SIZES = [(50_000, 2_500, 0), (50_000, 25_000, 0), (50_000, 25_000, 10_000), (10**6, 10_000, 20_000)]
HEAD = "| points | picks | targets | | seconds | memory added, GiB | coverage | picks as ours |"


def naive(embeddings: np.ndarray, n_select: int) -> np.ndarray:
    """The definition with one n x n float32 matrix and all gains anew for every pick."""
    import torch

    from zeroshot_al.coverage.rows import centred_rows

    rows = torch.from_numpy(centred_rows(embeddings))
    squared = (rows @ rows.T).mul_(-2).add_(2).clamp_(min=0)
    nearest, width = torch.full((len(rows),), torch.inf), 1.0
    order: list[int] = []
    for step in range(1, n_select + 1):
        covered = torch.exp(nearest / -(width**2))
        gains = torch.cat(
            [
                torch.exp(part / -(width**2)).sub_(covered).relu_().sum(1)
                for part in squared.split(1000)
            ]
        )
        gains[order] = -1
        order.append(int(gains.argmax()))
        nearest = torch.minimum(nearest, squared[order[-1]])
        if step > 1 and step & (step - 1) == 0:
            width = min(width, float(np.median(nearest.sqrt().numpy())))
    return np.array(order)


def coverage(embeddings: np.ndarray, order: np.ndarray) -> float:
    """Mean kernel value, sigma 1, of 10,000 points and the nearest pick to each."""
    from zeroshot_al.coverage.rows import centred_rows

    rows = centred_rows(embeddings)
    sample = rows[:: -(-len(rows) // 10_000)]
    nearest = np.concatenate([(part @ rows[order].T).max(1) for part in np.array_split(sample, 10)])
    return float(np.exp(2 * nearest - 2).mean())


def run_one(options: argparse.Namespace) -> None:
    """Child process: one order, as JSON on the last line."""
    from zeroshot_al.coverage import coverage_order

    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # noqa: E731
    embeddings = clustered(options.n_samples, options.n_dims)
    before, start = peak(), time.perf_counter()
    if options.way == "naive":
        order = naive(embeddings, options.n_select)
    else:
        n_targets = options.n_targets or None
        order = coverage_order(embeddings, options.n_select, n_targets=n_targets).order
    row = {"seconds": time.perf_counter() - start, "added_gib": peak() - before}
    row |= {"coverage": coverage(embeddings, order), "order": order.tolist()}
    print(json.dumps(row))


def measure(way: str, n_samples: int, n_select: int, n_targets: int, n_dims: int) -> dict:
    """One row, made by a child process."""
    sizes = map(str, (n_samples, n_select, n_targets, n_dims))
    command = [sys.executable, __file__, "one", way, *sizes]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row = json.loads(done.stdout.strip().splitlines()[-1])
    row |= {"way": way, "n_samples": n_samples, "n_select": n_select, "n_targets": n_targets}
    print({key: value for key, value in row.items() if key != "order"}, file=sys.stderr)
    return row


def render(page: dict) -> str:
    """The page: one table a part."""
    lines = ["# Kernel coverage: exactness, speed and memory", ""]
    lines += ["Made by `benchmarks/coverage.py` from `coverage.json`; do not edit.", ""]
    for part in page.values():
        m = part["machine"]
        lines += [f"{m['cpu']}, {m['cores']} cores, load before {m['load_before']}; 200 synthetic"]
        lines += [f"clusters, {part['n_dims']} dimensions.", "", HEAD, "|---:" * 8 + "|"]
        for row in part["rows"]:
            lines.append(
                f"| {row['n_samples']:,} | {row['n_select']:,} | {row['n_targets'] or 'all'} | "
                f"{row['way']} | {row['seconds']:.1f} | {row['added_gib']:.2f} | "
                f"{row['coverage']:.4f} | {row.get('same', '')} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("naive")
    mode.add_argument("--n-samples", type=int, default=10_000)
    mode.add_argument("--n-select", type=int, default=500)
    mode.add_argument("--n-dims", type=int, default=128)
    mode = modes.add_parser("sizes")
    mode.add_argument("--n-dims", type=int, default=128)
    modes.add_parser("render")
    mode = modes.add_parser("one", help="internal: one row")
    mode.add_argument("way")
    for name in ("n_samples", "n_select", "n_targets", "n_dims"):
        mode.add_argument(name, type=int)
    options = parser.parse_args()
    if options.mode == "one":
        run_one(options)
        return
    new = {}
    if options.mode != "render":
        before = machine()
        if options.mode == "naive":
            size = (options.n_samples, options.n_select, 0)
            rows = [measure(way, *size, options.n_dims) for way in ("ours", "naive")]
            same = [ours == other for ours, other in zip(*(r["order"] for r in rows), strict=True)]
            rows[1]["same"] = f"{sum(same)} of {len(same)}"
        else:
            rows = [measure("ours", *size, options.n_dims) for size in SIZES]
        for row in rows:
            del row["order"]
        new = {options.mode: {"machine": before, "n_dims": options.n_dims, "rows": rows}}
    update_page("coverage", render, new)


if __name__ == "__main__":
    main()
