"""The stages up to the labels over many images, each as `dvc repro` would run it."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml
from _machine import machine
from _measure import measure
from _million_images import SIDE_PX, make_images
from _million_page import render
from _page import FOLDER, update_page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

BUDGET = 1000  # of annotate and labels
PROBED = 20_000  # images of the forward passes that stand for all
STEPS = (
    "download",
    "bare decoding",
    "bare encoder",
    "embed",
    "kcenter_order",
    "annotate",
    "labels",
)


def run_stages(folder: Path, n_images: int, first: str) -> None:
    """Run the stages in a copy of the project; those before `first` have run there already."""
    images, project = folder / f"images-{n_images}", folder / f"project-{n_images}"
    ingest = str(Path(__file__).with_name("ingest.py"))
    million = str(Path(__file__).with_name("million.py"))
    commands = {
        "bare decoding": (ingest, "one", "bare, all cores", str(images), str(SIDE_PX)),
        "bare encoder": (million, "bare", str(project), str(n_images)),
    }
    prepare = {
        "bare encoder": lambda: save_untrained_encoder(project),
        "labels": lambda: write_labels(project),
    }
    key, part = f"stages {n_images}", {"machine": machine(), "runs": {}}
    if first == STEPS[0]:
        shutil.rmtree(project, ignore_errors=True)
    else:
        part = json.loads((FOLDER / "million.json").read_text(encoding="utf-8"))[key]
    make_images(images, n_images)
    copy_project(project, images)
    for name in STEPS[STEPS.index(first) :]:
        prepare.get(name, lambda: None)()
        command = commands.get(name, (f"src/{name}.py",))
        found = measure([sys.executable, *command], cwd=project)
        told = found.pop("output")
        if name == "bare encoder":  # a part of the images stands for all
            found |= json.loads(told)
        found["load_after"] = round(os.getloadavg()[0], 2)
        print(name, found, file=sys.stderr)
        part["runs"][name] = found
        sizes = {
            name: sum(file.stat().st_size for file in (project / name).rglob("*"))
            for name in ("data/pool", "models", "data/embeddings", "data/orders")
        }
        source = sum(file.stat().st_size for file in images.rglob("*.png"))
        part |= {"n_images": n_images, "source_bytes": source, "bytes": sizes}
        update_page("million", render, {key: part})


def copy_project(project: Path, images: Path) -> None:
    """Copy the project's tracked files, and set the profile `folder` to the images."""
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

    from zeroshot_al.base.params import load_section
    from zeroshot_al.selfsup.encoders import Encoder, EncoderParams

    torch.manual_seed(0)
    return Encoder(load_section("encoder", EncoderParams, project / "params.yaml"))


def save_untrained_encoder(project: Path) -> None:
    from zeroshot_al.selfsup.encoders import save_encoder

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
