"""Time kernel coverage beside its peers, alone, and by a sample of targets.

    python benchmarks/coverage.py peers            ours, the definition, packages: picks, seconds
    python benchmarks/coverage.py sizes            ours at the sizes that are promised
    python benchmarks/coverage.py render           rewrite the page from the numbers

Each run replaces its own part of `docs/benchmarks/coverage.json` and renders `coverage.md` beside
it. Every row is a process of its own. The peers are the packages of `requirements.txt`, in an
environment of their own:

    python benchmarks/coverage.py peers --peers-python .venv-peers/bin/python
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from _coverage_peers import PEERS, timed
from _machine import cpu_flags, machine
from _page import update_page
from kcenter import clustered

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

# (points, picks, targets; 0: all of them)
SIZES = ["50000,2500,0", "50000,25000,0", "50000,2500,20000", "1000000,10000,20000"]
HEAD = (
    "| | points | picks | targets | seconds | processor seconds | memory added, GiB | coverage "
    "| picks as ours |"
)


def coverage(rows: np.ndarray, order: list[int]) -> float:
    """Mean kernel value, sigma 1, of 10,000 points and the nearest pick to each."""
    sample = rows[:: -(-len(rows) // 10_000)]
    nearest = np.concatenate([(part @ rows[order].T).max(1) for part in np.array_split(sample, 10)])
    return float(np.exp(2 * nearest - 2).mean())


def run_one(options: argparse.Namespace) -> None:
    """Child process: one order of ours, as JSON on the last line."""
    from zeroshot_al.coverage import coverage_order, zero_shot_order

    embeddings = np.load(options.data, allow_pickle=False)
    make = {"coverage_order": coverage_order, "zero_shot_order": zero_shot_order}[options.rule]
    targets = {"n_targets": options.n_targets or None}
    row = timed(lambda rows, n: make(rows, n, **targets).order, embeddings, options.n_select)
    print(json.dumps(row))


def measure(size: str, n_dims: int, ways: list[str], peers_python: str | None) -> list[dict]:
    """One row a way, each made by a child process."""
    from zeroshot_al.coverage.rows import centred_rows

    n_samples, n_select, n_targets = map(int, size.split(","))
    made = []
    with tempfile.TemporaryDirectory() as folder:
        embeddings, centred = Path(folder) / "embeddings.npy", Path(folder) / "rows.npy"
        np.save(embeddings, clustered(n_samples, n_dims), allow_pickle=False)
        rows = centred_rows(np.load(embeddings, allow_pickle=False))
        np.save(centred, rows, allow_pickle=False)  # peers neither centre nor normalise
        for way in ways:
            python = peers_python if way in PEERS else sys.executable
            # -P: numba would take our coverage.py for the package of that name.
            peer = [python, "-P", HERE / "_coverage_peers.py", way, centred, n_select]
            ours = [python, __file__, "one", way, embeddings, n_select, n_targets]
            command = list(map(str, ours if way.endswith("_order") else peer))
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            row = json.loads(done.stdout.strip().splitlines()[-1])
            order = row.pop("order")
            if not made:
                first = order
            same = sum(ours == other for ours, other in zip(first, order, strict=True))
            row |= {"way": way, "n_samples": n_samples, "n_select": n_select, "same": same}
            row |= {"n_targets": n_targets, "coverage": coverage(rows, order)}
            print(row, file=sys.stderr)
            made.append(row)
    return made


def render(page: dict) -> str:
    """The page: one table a part."""
    lines = ["# Kernel coverage: picks, speed and memory", ""]
    lines += ["Made by `benchmarks/coverage.py` from `coverage.json`; do not edit.", ""]
    for name, part in page.items():
        m = part["machine"]
        lines += [
            f"## {'Beside its peers' if name == 'peers' else 'Larger pools'}",
            "",
            f"{m['cpu']}, {m['cores']} cores, {m['simd']}, load before {m['load_before']}; "
            f"200 synthetic clusters, {part['n_dims']} dimensions. Where others use the machine, "
            "compare processor seconds, and rows of one table with each other. Coverage: the mean "
            "kernel value, of width 1, of a point and the nearest pick to it.",
            "",
            HEAD,
            "|---" + "|---:" * 8 + "|",
        ]
        for row in part["rows"]:
            lines.append(
                f"| {row['way']} | {row['n_samples']:,} | {row['n_select']:,} | "
                f"{row['n_targets'] or 'all'} | {row['seconds']:.1f} | {row['cpu_s']:.1f} | "
                f"{row['added_gib']:.2f} | {row['coverage']:.4f} | {row['same']:,} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--n-dims", type=int, default=128)
    mode = modes.add_parser("peers", parents=[common])
    mode.add_argument("--peers-python", help="python of the peers' environment")
    # Up to 100 picks of these pools our kernel has the width 1, as the peers have.
    mode.add_argument("--sizes", nargs="+", default=["5000,100,0", "10000,100,0", "20000,100,0"])
    mode = modes.add_parser("sizes", parents=[common])
    mode.add_argument("--sizes", nargs="+", default=SIZES, help="POINTS,PICKS,TARGETS; 0: all")
    modes.add_parser("render")
    mode = modes.add_parser("one", help="internal: one row")
    mode.add_argument("rule")
    mode.add_argument("data")
    mode.add_argument("n_select", type=int)
    mode.add_argument("n_targets", type=int)
    options = parser.parse_args()
    if options.mode == "one":
        run_one(options)
        return
    new = {}
    if options.mode != "render":
        simd = next((flag for flag in ("avx512f", "avx2") if flag in cpu_flags()), "no AVX2")
        before = {**machine(), "simd": simd}
        ways, python = ["coverage_order", "zero_shot_order"], None
        if options.mode == "peers":
            python = options.peers_python
            ways = ["coverage_order", "definition", *(PEERS if python else ())]
        rows = [row for s in options.sizes for row in measure(s, options.n_dims, ways, python)]
        new = {options.mode: {"machine": before, "n_dims": options.n_dims, "rows": rows}}
    update_page("coverage", render, new)


if __name__ == "__main__":
    main()
