"""A million images through the real stages, and a million embeddings ordered: time, memory, disk.

    python benchmarks/million.py stages FOLDER      1,000,000 images; they are made, and kept, there
    python benchmarks/million.py orders             1,000,000 synthetic embeddings of 128 dimensions
    python benchmarks/million.py work               what the arithmetic for larger pools rests on
    python benchmarks/million.py render             rewrite the page from the numbers

`--n-images` and `--n-samples` give other sizes, which stand beside each other on the page. Each
figure is written as soon as there is one, into `docs/benchmarks/million.json`, with `million.md`
beside it. On 2 idle cores both take about an hour; FOLDER needs 11 GB.

The encoder has random weights: embedding takes as long with them, and pretraining has a benchmark
of its own (`engine.py`).
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _kcenter_peers import product_floor
from _machine import machine
from _measure import measure
from _million_arithmetic import POOLS
from _million_page import render
from _million_stages import STEPS, bare, run_stages
from _page import update_page
from kcenter import clustered

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

N_DIMS = 128
PROBE = 2048  # centres of the product that stands for all


# --- what larger pools rest on -------------------------------------------------------------------


def measure_work(n_photos: int = 100) -> dict:
    """CPU milliseconds to decode a photo of ImageNet's usual size; operations of the encoders."""
    import ingest
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from zeroshot_al.selfsup.encoders import Encoder, EncoderParams
    from zeroshot_al.sources.decode import decode_image

    ingest.PHOTO_SIZE = (500, 375)
    decode_ms, forward = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.jpg" for i in range(n_photos)]
        for i, path in enumerate(paths):
            ingest.make_photo(path, i)
        for side in (64, 224):
            start = time.process_time()
            for path in paths:
                decode_image(path, side)
            decode_ms[str(side)] = (time.process_time() - start) / n_photos * 1000
    for _, _, side, name, _ in POOLS:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            Encoder(EncoderParams(name, 1.0)).eval()(torch.empty(1, 3, side, side))
        forward[f"{name} {side}"] = counter.get_total_flops()
    return {"machine": machine(), "decode_ms": decode_ms, "forward": forward}


# --- the orders ----------------------------------------------------------------------------------


def run_orders(n_samples: int, budgets: list[int] | None) -> None:
    """Order synthetic embeddings, each budget in a process of its own."""
    part = {"machine": machine_with_threads(), "n_samples": n_samples, "n_dims": N_DIMS, "rows": []}
    for budget in budgets or [10_000, 100_000, n_samples]:
        found = measure([sys.executable, __file__, "order", str(n_samples), str(budget)])
        seconds, product = map(float, found.pop("output").split())
        load = round(os.getloadavg()[0], 2)
        found |= {"budget": budget, "order_s": seconds, "product_s": product, "load_after": load}
        part["rows"].append(found)
        print(found, file=sys.stderr)
        update_page("million", render, {f"orders {n_samples}": part})


def run_order(n_samples: int, budget: int) -> None:
    """Child process: print the seconds of an order, and those of the product of all pairs."""
    from zeroshot_al.kcenter import kcenter_order

    points = clustered(n_samples, N_DIMS)
    start = time.perf_counter()
    order = kcenter_order(points, budget, progress=True).order
    took = time.perf_counter() - start
    if len(np.unique(order)) != budget:
        sys.exit("an image was picked twice")
    centres = min(PROBE, budget)
    start = time.perf_counter()
    product_floor(points, centres, "float32")
    print(took, (time.perf_counter() - start) * budget / centres)


def machine_with_threads() -> dict:
    import torch

    return {**machine(), "torch": torch.__version__, "threads": torch.get_num_threads()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("stages")
    mode.add_argument("folder", type=Path)
    mode.add_argument("--n-images", type=int, default=1_000_000)
    mode.add_argument(
        "--from",
        dest="first",
        choices=STEPS,
        default=STEPS[0],
        help="go on in FOLDER, where the steps before have run",
    )
    mode = modes.add_parser("orders")
    mode.add_argument("--n-samples", type=int, default=1_000_000)
    mode.add_argument("--budgets", type=int, nargs="*", help="10,000, 100,000 and all if left out")
    modes.add_parser("work")
    modes.add_parser("render")
    mode = modes.add_parser("bare", help="internal: the encoder alone")
    mode.add_argument("project", type=Path)
    mode.add_argument("n_images", type=int)
    mode = modes.add_parser("order", help="internal: one order")
    mode.add_argument("n_samples", type=int)
    mode.add_argument("budget", type=int)
    options = parser.parse_args()
    if options.mode == "stages":
        run_stages(options.folder.resolve(), options.n_images, options.first)
    elif options.mode == "orders":
        run_orders(options.n_samples, options.budgets)
    elif options.mode == "bare":
        bare(options.project, options.n_images)
    elif options.mode == "order":
        run_order(options.n_samples, options.budget)
    else:
        new = {"work": measure_work()} if options.mode == "work" else {}
        update_page("million", render, new)


if __name__ == "__main__":
    main()
