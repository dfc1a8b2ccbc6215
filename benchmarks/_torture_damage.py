"""Files cut short or with NaN in them, read by the stages."""

import os
import re
import signal
from pathlib import Path

import numpy as np
from _torture_lab import Lab, Patient, Row
from _torture_seen import stage_sentence
from safetensors.numpy import load_file, save_file

from saved import wait_for_saves

# What is cut, where (a share, or behind a line), and which stages then read it.
CUTS = (
    ("data/pool/images.npy", 0.5, ("kcenter_order", "pretrain_moco", "train_budget 140")),
    ("data/pool/index.csv", 0.5, ("class_histograms", "labels", "annotate")),
    ("data/pool/index.csv", "line", ("class_histograms", "kcenter_order", "baseline_random")),
    ("data/embeddings/simclr.npy", 0.5, ("kcenter_order", "annotate")),
    ("models/simclr.safetensors", 0.5, ("embed",)),
    ("data/orders/simclr.csv", 0.02, ("class_histograms", "train_budget 140", "annotate")),
    ("data/orders/simclr.csv", "line", ("class_histograms", "train_budget 700", "annotate")),
    ("data/baselines/random.csv", "line", ("class_histograms",)),
    ("metrics/train_budget/140.json", 0.5, ("learning_curves",)),
)


def truncated(lab: Lab) -> None:
    patient = lab.copy("truncated")
    for name, where, stages in CUTS:
        place = "behind a line" if where == "line" else "in the middle"
        with lab.row(f"`{name}` cut off {place}") as row:
            cut(patient.root / name, where)
            told = []
            for command in stages:
                stage, *arguments = command.split()
                before = patient.project.outs()
                done = patient.project.stage(stage, *arguments)
                found = stage_sentence(done.stderr, stage, patient.root)
                told.append(found)
                if done.returncode == 0:
                    row.lost = f"{command} takes it for whole"
                elif not named(name, found):
                    row.lost = f"{command} names another file: {found}"
                elif patient.project.outs() != before:
                    row.lost = f"{command} changed other files"
            row.seen = max(told, key=len) if told else "nothing: no stage needs it"
            patient.recover(row)


def cut(file: Path, where: float | str) -> None:
    content = file.read_bytes()
    if where == "line":
        lines = content.splitlines(keepends=True)
        file.write_bytes(b"".join(lines[: len(lines) // 4]))
    else:
        file.write_bytes(content[: int(len(content) * where) - 1])


def named(name: str, told: str) -> bool:
    """Whether a sentence names the file, or the pool that it is a part of, and a remedy."""
    place = name in told or (name.startswith("data/pool") and "data/pool " in told)
    return place and bool(re.search(r"anew|again|run the stage|run \w+", told))


def checkpoints(lab: Lab) -> None:
    """Damage a killed training's checkpoint, then recover."""
    patient = lab.copy("checkpoints")

    def half(file: Path) -> None:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    def one_bit(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[-9] ^= 1
        file.write_bytes(content)

    def with_nan(file: Path) -> None:
        tensors = load_file(file)
        metadata = re.search(rb'"__metadata__":\{(.*?)\}', file.read_bytes())[1].decode()
        key = next(k for k in sorted(tensors) if k.endswith("conv1.weight") or "weight" in k)
        tensors[key].reshape(-1)[0] = np.nan
        save_file(tensors, file, dict(re.findall(r'"(\w+)":"(\w+)"', metadata)))

    for what, stage, name, damage in (
        ("cut in half", "pretrain_simclr", "state.safetensors", half),
        ("with one bit changed", "pretrain_simclr", "state.safetensors", one_bit),
        ("with NaN in a weight", "pretrain_moco", "state.safetensors", with_nan),
        ("whose history is cut in half", "pretrain_simclr", "history.json", half),
        ("whose finished rounds are cut in half", "baseline_coreset", "chain.json", half),
        ("whose accuracies are cut in half", "baseline_random", "accuracy.json", half),
    ):
        with lab.row(f"a checkpoint of `{stage}` {what}") as row:
            kill_with(patient, stage, name)
            files = list((patient.root / ".checkpoints" / stage).rglob(name))
            for file in files:
                damage(file)
            if not files:
                row.missed = f"no {name} was there"
            output = patient.recover(row)
            lines = [line for line in output.splitlines() if "discarding" in line]
            row.seen = re.sub(r"\S*(\.checkpoints/\w+/)\w+", r"\1...", lines[0]) if lines else ""
            row.seen = row.seen[9:] or "nothing"
            if not lines:
                row.lost = "the damage was not told"


def kill_with(patient: Patient, stage: str, name: str) -> None:
    """Kill a stage once it has saved a file of that name."""
    while True:
        patient.forget(stage)
        process = patient.start("dvc", "repro", "--force", "--single-item", stage)
        pid = patient.wait_for_stage(f"src/{stage}.py", process)
        wait_for_saves(process, patient.root / ".checkpoints" / stage, 1, name)
        if pid in patient.processes():
            os.kill(pid, signal.SIGKILL)
            process.wait()
            patient.gone_after()
            return
        process.wait()


def not_a_number(lab: Lab) -> None:
    def in_embeddings(root: Path) -> None:
        rows = np.load(root / "data/embeddings/moco.npy", allow_pickle=False)
        rows[7, 3] = np.nan
        np.save(root / "data/embeddings/moco.npy", rows)

    def in_weights(root: Path) -> None:
        file = root / "models/simclr.safetensors"
        tensors = load_file(file)
        next(value for key, value in sorted(tensors.items()) if value.ndim > 1)[:] = np.nan
        save_file(tensors, file)

    patient = lab.copy("nan")
    for what, damage, stage in (
        ("NaN in one embedding", in_embeddings, "kcenter_order"),
        ("NaN in the encoder's weights", in_weights, "embed"),
    ):
        with lab.row(f"{what}, `{stage}`") as row:
            damage(patient.root)
            fails(patient, row, stage)
            patient.recover(row)
    for stage, key in (
        ("pretrain_simclr", "simclr"), ("pretrain_moco", "moco"), ("baseline_random", "classifier"),
    ):  # fmt: skip
        with lab.row(f"a learning rate of 1e30, `{stage}`: NaN in its batches") as row:
            kept = (patient.root / "params.yaml").read_text(encoding="utf-8")
            patient.project.set_params({f"profiles.demo.{key}.learning_rate": 1e30})
            fails(patient, row, stage)
            (patient.root / "params.yaml").write_text(kept, encoding="utf-8")
            patient.recover(row)


def fails(patient: Patient, row: Row, stage: str) -> None:
    """Run a stage without DVC that has to fail in one sentence, and change no file."""
    before = patient.project.outs()
    done = patient.project.stage(stage)
    row.seen = stage_sentence(done.stderr, stage, patient.root)
    if done.returncode == 0 or not row.seen.startswith(f"{stage}: "):
        row.lost = "no sentence"
    elif patient.project.outs() != before:
        row.lost = "other files changed"
