"""Time the same work on one process and on ranks, and count what the ranks exchange.

    python benchmarks/ranks.py kcenter             k-center, at two shapes
    python benchmarks/ranks.py kcenter --quick     a tenth of the points and picks, on no page
    python benchmarks/ranks.py render              rewrite the page from the numbers

Each run replaces its own part of `docs/benchmarks/ranks.json` and renders `ranks.md` beside it.
Every contender of a round runs in processes of its own, and the rounds are interleaved, so that
drift hits all alike. Ranks are processes of one machine, connected by gloo: a network adds its
latency and, with a bandwidth, the time for the bytes that are counted here.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from _machine import machine
from _page import update_page
from _ranks_page import render
from kcenter import clustered

ROOT = Path(__file__).resolve().parent.parent
KCENTER = (  # n_samples, n_dims, budget, precision
    (50_000, 512, 25_000, "float32"),
    (50_000, 512, 25_000, "bf16"),
    (1_000_000, 128, 10_000, "float32"),
)


def contenders() -> dict[str, tuple[int, int]]:
    """Ranks and threads of each, on all cores but for the one-thread process."""
    from zeroshot_al.process.workers import n_cores

    alone = {
        f"1 process, {threads} thread{'s'[: threads - 1]}": (1, threads)
        for threads in sorted({n_cores(), 1}, reverse=True)
    }
    shared = (n_ranks for n_ranks in (2, 4, 8, 16, 32, 64) if n_ranks <= n_cores())
    return alone | {f"{n_ranks} ranks, 1 thread each": (n_ranks, 1) for n_ranks in shared}


def run_ranks(mode: str, n_ranks: int, *arguments: object) -> list[dict]:
    """Answers of all ranks, each a child process in the mode `mode`, by rank."""
    with tempfile.TemporaryDirectory() as folder:
        place = [str(n_ranks), str(Path(folder) / "store"), *map(str, arguments)]
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, mode, str(rank), *place],
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(n_ranks)
        ]
        outputs = [process.communicate()[0] for process in processes]
        failed = [process.returncode for process in processes if process.returncode]
        if failed:
            sys.exit(f"a rank of {mode} ended with exit code {failed[0]}")
        return [json.loads(output.strip().splitlines()[-1]) for output in outputs]


# --- k-center -----------------------------------------------------------------------------------


def kcenter(options: argparse.Namespace) -> dict:
    """Seconds of each contender, and what the ranks exchange."""
    before, cases = machine(), []
    for n_samples, n_dims, budget, precision in KCENTER:
        if options.quick:
            n_samples, budget = n_samples // 10, budget // 10
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "points.npy"
            np.save(data, clustered(n_samples, n_dims), allow_pickle=False)
            rows = {name: {"runs_s": []} for name in contenders()}
            hashes = set()
            for _ in range(options.repeats):
                for name, (n_ranks, n_threads) in contenders().items():
                    answers = run_ranks("kcenter_rank", n_ranks, data, budget, precision, n_threads)
                    hashes |= {answer["sha256"] for answer in answers}
                    largest = {key: max(answer[key] for answer in answers) for key in EXCHANGED}
                    rows[name] |= {"n_ranks": n_ranks, **largest}
                    rows[name]["runs_s"].append(max(answer["seconds"] for answer in answers))
                    print(precision, name, rows[name]["runs_s"][-1], file=sys.stderr)
        for row in rows.values():
            row["median_s"] = statistics.median(row["runs_s"])
        shape = {"n_samples": n_samples, "n_dims": n_dims, "budget": budget}
        cases.append({**shape, "precision": precision, "same": len(hashes) == 1, "rows": rows})
    import torch

    return {
        "machine": before,
        "torch": torch.__version__,
        "repeats": options.repeats,
        "cases": cases,
    }


EXCHANGED = ("n_exchanges", "n_blocks", "sent_bytes", "added_gib")


def kcenter_rank(options: argparse.Namespace) -> None:
    """Child process: one rank of one order, as JSON on the last line."""
    import torch
    import torch.distributed as dist

    from zeroshot_al.base.ranks import Ranks
    from zeroshot_al.kcenter import kcenter_order

    @dataclass(frozen=True)
    class CountingRanks(Ranks):
        exchanges: list = field(default_factory=list)

        def gather(self, tensor):
            if self.n_ranks > 1:
                self.exchanges.append((tensor.dtype, tensor.nbytes))
            return super().gather(tensor)

    torch.set_num_threads(options.n_threads)
    if options.n_ranks > 1:
        dist.init_process_group(
            "gloo",
            store=dist.FileStore(options.store, options.n_ranks),
            rank=options.rank,
            world_size=options.n_ranks,
        )
    points = np.load(options.data, mmap_mode="r", allow_pickle=False)
    ranks = CountingRanks(options.rank, options.n_ranks)
    kcenter_order(points[:2000], 200, precision=options.precision, ranks=ranks)  # warms up
    ranks.exchanges.clear()
    before, start = peak_gib(), time.perf_counter()
    found = kcenter_order(points, options.budget, precision=options.precision, ranks=ranks)
    took = time.perf_counter() - start
    print(
        json.dumps(
            {
                "seconds": took,
                "n_exchanges": len(ranks.exchanges),
                "n_blocks": sum(dtype == torch.uint8 for dtype, _ in ranks.exchanges),
                "sent_bytes": sum(n_bytes for _, n_bytes in ranks.exchanges),
                "added_gib": peak_gib() - before,
                "sha256": hashlib.sha256(
                    found.order.tobytes() + found.radius.tobytes()
                ).hexdigest(),
            }
        )
    )


def peak_gib() -> float:
    """Largest memory so far without the pages of files, which ranks share; 0 but on Linux."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0.0
    lines = (line.split() for line in status.read_text(encoding="utf-8").splitlines())
    found = {words[0]: int(words[1]) for words in lines if words[-1] == "kB"}
    return (found["VmHWM:"] - found["RssFile:"]) / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("kcenter")
    mode.add_argument("--repeats", type=int, default=3)
    mode.add_argument("--quick", action="store_true")
    modes.add_parser("render")
    mode = modes.add_parser("kcenter_rank", help="internal: one rank of kcenter")
    for name, kind in (
        ("rank", int),
        ("n_ranks", int),
        ("store", str),
        ("data", str),
        ("budget", int),
        ("precision", str),
        ("n_threads", int),
    ):
        mode.add_argument(name, type=kind)
    options = parser.parse_args()
    if options.mode == "kcenter_rank":
        kcenter_rank(options)
        return
    new = {} if options.mode == "render" else {options.mode: kcenter(options)}
    if new and options.quick:
        print(render(new))
    else:
        update_page("ranks", render, new)


if __name__ == "__main__":
    main()
