"""The user's folder of images changes while it is read."""

import csv
import os
import signal
import time

import numpy as np
from _torture_lab import Lab, Patient, Row
from _torture_seen import leftovers, stage_sentence
from PIL import Image

N_IMAGES, SIDE = 1500, 160


def sources_that_change(lab: Lab) -> None:
    patient, photos = lab.copy("ingestion"), lab.folder / "photos"
    draw = np.random.default_rng(0)
    photos.mkdir()
    for i in range(N_IMAGES):
        pixels = draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{i:04}.png", compress_level=1)
    patient.project.set_params(
        {
            "profile": "folder",
            "profiles.folder.data.root": str(photos),
            "profiles.folder.data.size_px": 32,
        }
    )
    download(patient)
    whole = pool(patient)
    victim, other = photos / f"{N_IMAGES - 1:04}.png", photos / "0007.png"
    kept = victim.read_bytes()
    for what, act in (
        ("deleted", victim.unlink),
        ("replaced by another", lambda: victim.write_bytes(other.read_bytes())),
        ("half overwritten", lambda: victim.write_bytes(kept[: len(kept) // 2])),
    ):
        with lab.row(f"an image of the folder {what} while `download` reads them") as row:
            process = patient.start("dvc", "repro", "--force", "--single-item", "download")
            wait_until_reading(patient, process)
            act()
            code, disturbed = process.wait(), pool(patient)
            row.seen = reports(patient, victim.name) or "nothing"
            if not code and row.seen == "nothing":
                row.missed = "the image had been read before"
            if code:
                row.seen = stage_sentence(patient.output(), "download", patient.root)
            # The pool must be what the folder is now, and afterwards what it was.
            download(patient)
            if code == 0 and images(pool(patient)) != images(disturbed):
                row.lost = "the pool is not what the folder holds"
            victim.write_bytes(kept)
            download(patient)
            row.same_bytes = pool(patient) == whole
    with lab.row("SIGTERM to DVC alone while `download` decodes in worker processes") as row:
        stop(patient, row)
        download(patient)
        row.same_bytes = pool(patient) == whole


def download(patient: Patient) -> None:
    patient.project.run("dvc", "repro", "--force", "--single-item", "download")


def pool(patient: Patient) -> dict[str, str]:
    return {k: v for k, v in patient.project.outs().items() if k.startswith("data/pool/")}


def images(files: dict[str, str]) -> list[str]:
    """Return the hashes of the images and the index; the reports tell of the moment."""
    return [files[f"data/pool/{name}"] for name in ("images.npy", "index.csv")]


def wait_until_reading(patient: Patient, process) -> None:
    folder = patient.root / "data"
    while process.poll() is None and not list(folder.glob(".pool.*.tmp/images.npy")):
        time.sleep(0.002)
    assert process.poll() is None, patient.output()


def reports(patient: Patient, name: str) -> str:
    """Return what the pool's reports say of an image."""
    for file, columns in (("rejected", ("reason",)), ("duplicates", ("kind", "duplicate_of"))):
        with open(patient.root / f"data/pool/{file}.csv", newline="", encoding="utf-8") as lines:
            for line in csv.DictReader(lines):
                if line["id"] == name:
                    return f"{file}.csv: {', '.join((name, *(line[c] for c in columns)))}"
    return ""


def stop(patient: Patient, row: Row) -> None:
    process = patient.start("dvc", "repro", "--force", "--single-item", "download")
    wait_until_reading(patient, process)
    n_processes = len(patient.processes())
    os.kill(process.pid, signal.SIGTERM)
    process.wait()
    took = patient.gone_after()
    row.seen = stage_sentence(patient.output(), "download", patient.root)
    if "interrupted" not in row.seen:
        row.missed = "no interrupt was told"
    if took is None:
        row.lost = f"processes went on: {len(patient.processes())} of {n_processes}"
        patient.end_all()
    elif leftovers(patient.root):
        row.lost = f"left behind: {leftovers(patient.root)}"
    else:
        row.seen += f"; all {n_processes} processes gone {took:.1f} s after DVC"
