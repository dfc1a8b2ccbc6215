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
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from _kcenter_peers import product_floor
from _machine import machine
from _measure import measure
from _million_arithmetic import POOLS
from _million_images import SIDE_PX, make_images
from _million_page import render
from _page import update_page
from kcenter import clustered

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

BUDGET = 1000  # of annotate and labels
N_DIMS = 128
PROBE = 2048  # centres of the product that stands for all
PROBED = 20_000  # images of the forward passes that stand for all


# --- the stages ----------------------------------------------------------------------------------


def run_stages(folder: Path, n_images: int) -> None:
    """Run the stages up to the labels in a copy of the project, each as `dvc repro` would."""
    images, project = folder / f"images-{n_images}", folder / f"project-{n_images}"
    make_images(images, n_images)
    copy_project(project, images)
    runs: dict[str, dict] = {}
    before = machine()

    def run(name: str, *command: str) -> None:
        runs[name] = measure([sys.executable, *command], cwd=project)
        told = runs[name].pop("output")
        if name == "bare encoder":  # a part of the images stands for all
            runs[name] |= json.loads(told)
        runs[name]["load_after"] = round(os.getloadavg()[0], 2)
        print(name, runs[name], file=sys.stderr)
        files = {
            name: sum(file.stat().st_size for file in (project / name).rglob("*"))
            for name in ("data/pool", "models", "data/embeddings", "data/orders")
        }
        source = sum(file.stat().st_size for file in images.rglob("*.png"))
        part = {"machine": before, "source_bytes": source, "bytes": files, "runs": runs}
        update_page("million", render, {f"stages {n_images}": {"n_images": n_images, **part}})

    here = str(Path(__file__).resolve())
    run("download", "src/download.py")
    run(
        "bare decoding",
        here.replace("million.py", "ingest.py"),
        "one",
        "bare, all cores",
        str(images),
        str(SIDE_PX),
    )
    save_untrained_encoder(project)
    run("bare encoder", here, "bare", str(project), str(n_images))
    run("embed", "src/embed.py")
    run("kcenter_order", "src/kcenter_order.py")
    run("annotate", "src/annotate.py")
    write_labels(project)
    run("labels", "src/labels.py")


def copy_project(project: Path, images: Path) -> None:
    """Copy the project's tracked files, and set the profile `folder` to the images."""
    shutil.rmtree(project, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "src", "params.yaml"], cwd=ROOT, check=True, capture_output=True,
        text=True,
    ).stdout.splitlines()  # fmt: skip
    for path in listed:
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, project / path)
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    params |= {"profile": "folder", "budget": BUDGET}
    section = params["profiles"]["folder"]
    section["data"] |= {"root": str(images), "size_px": SIDE_PX}
    section["labels"]["file"] = "labels.csv"
    (project / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def make_encoder(project: Path):
    import torch

    from zeroshot_al.encoders import Encoder, EncoderParams
    from zeroshot_al.params import load_section

    torch.manual_seed(0)
    return Encoder(load_section("encoder", EncoderParams, project / "params.yaml"))


def save_untrained_encoder(project: Path) -> None:
    from zeroshot_al.encoders import save_encoder

    save_encoder(project / "models/simclr.safetensors", make_encoder(project))


def write_labels(project: Path) -> None:
    """Label the first picks, as an annotator would."""
    with (
        open(project / "data/orders/simclr.csv", newline="", encoding="utf-8") as order,
        open(project / "labels.csv", "w", newline="", encoding="utf-8") as labels,
    ):
        writer = csv.writer(labels)
        writer.writerow(["id", "label"])
        for rank, row in zip(range(BUDGET), csv.DictReader(order), strict=False):
            writer.writerow([row["id"], ("cat", "dog")[rank % 2]])


def bare(project: Path, n_images: int) -> None:
    """Child process: tell what the encoder alone takes, with one batch in memory all the time."""
    import torch

    encoder = make_encoder(project).eval().to(memory_format=torch.channels_last)
    batch = torch.rand(500, 3, SIDE_PX, SIDE_PX).to(memory_format=torch.channels_last)
    n_batches = min(PROBED, n_images) // len(batch)
    scale = n_images / (n_batches * len(batch))
    with torch.inference_mode():
        encoder(batch)
        start, start_cpu = time.perf_counter(), time.process_time()
        for _ in range(n_batches):
            encoder(batch)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - start_cpu
    print(json.dumps({"seconds": seconds * scale, "cpu_s": cpu_s * scale}))


# --- what larger pools rest on -------------------------------------------------------------------


def measure_work(n_photos: int = 100) -> dict:
    """CPU milliseconds to decode a photo of ImageNet's usual size; operations of the encoders."""
    import ingest
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from zeroshot_al.encoders import Encoder, EncoderParams
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
        run_stages(options.folder.resolve(), options.n_images)
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
