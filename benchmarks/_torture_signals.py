"""SIGTERM, Ctrl-C and kill -9 to DVC in the middle of a stage, and two runs of DVC at once."""

import os
import signal
from pathlib import Path

from _torture_lab import Lab, Patient, Row
from _torture_seen import sentence, stage_sentence, wait_for_saves

CASES = (
    ("SIGTERM to DVC alone", signal.SIGTERM, False),
    ("SIGTERM to the process group", signal.SIGTERM, True),
    ("Ctrl-C, SIGINT to the process group", signal.SIGINT, True),
    ("kill -9 of DVC alone", signal.SIGKILL, False),
    ("kill -9 of the process group", signal.SIGKILL, True),
)


def signals(lab: Lab) -> None:
    patient = lab.copy("signals")
    for what, number, whole_group in CASES:
        with lab.row(f"{what}, `baseline_random` with its worker processes running") as row:
            interrupt(patient, "baseline_random", number, whole_group, row)
    for what, number, whole_group in (CASES[0], CASES[3]):
        with lab.row(f"{what} in `pretrain_simclr`") as row:
            interrupt(patient, "pretrain_simclr", number, whole_group, row)


def interrupt(patient: Patient, stage: str, number: int, whole_group: bool, row: Row) -> None:
    patient.forget(stage)
    process = patient.start("dvc", "repro", "--force", "--single-item", stage)
    pid = patient.wait_for_stage(f"src/{stage}.py", process)
    wait_for_saves(process, patient.root / ".checkpoints" / stage, 1)
    n_processes = len(patient.processes())
    if pid is None or process.poll() is not None:
        row.lost = "(the stage had ended before the signal)"
        return
    os.killpg(process.pid, number) if whole_group else os.kill(process.pid, number)
    process.wait()
    took = patient.gone_after()
    told = stage_sentence(patient.output(), stage, patient.root)
    row.seen = told if number != signal.SIGKILL or "interrupted" in told else "(killed)"
    if took is None:
        row.lost = f"processes went on: {len(patient.processes())} of {n_processes}"
        patient.end_all()
    else:
        row.seen += f"; all {n_processes} processes gone {took:.1f} s after DVC"
    if "continuing at step" in patient.recover(row):
        row.seen += "; continued from a checkpoint"


def two_at_once(lab: Lab) -> None:
    patient = lab.copy("two")
    with lab.row("a second `dvc repro` while the first runs `baseline_random`") as row:
        patient.forget("baseline_random")
        first = patient.start("dvc", "repro", "--force", "--single-item", "baseline_random")
        patient.wait_for_stage("src/baseline_random.py", first)
        second = patient.project.call("dvc", "repro", "--force", "baseline_random")
        row.seen = sentence(second.stdout + second.stderr, patient.root)
        if second.returncode == 0:
            row.lost = "the second one ran as well"
        if first.wait():
            row.lost = f"the first one failed: {sentence(patient.output(), patient.root)}"
        patient.recover(row)


def ranks(lab: Lab) -> None:
    """Kill one of two processes that share a pretraining."""
    stage, out = "pretrain_simclr", "models/simclr.safetensors"
    with lab.row(f"one of two ranks of `{stage}` killed (-9)") as row:
        patient = lab.copy("ranks")
        if "ranks" not in patient.project.params():
            row.skipped = "params.yaml has no ranks"
            return
        patient.project.set_params({"ranks": 2})
        patient.project.run("dvc", "repro", "--force", "--single-item", stage)
        undisturbed = patient.project.outs()[out]
        patient.forget(stage)
        process = patient.start("dvc", "repro", "--force", "--single-item", stage)
        wait_for_saves(process, patient.root / ".checkpoints" / stage, 1)
        pids = [pid for pid in patient.processes() if "RANK=1" in environment(pid)]
        if not pids:
            row.lost = "(the ranks had ended)"
            return
        os.kill(pids[0], signal.SIGKILL)
        process.wait()
        row.seen = stage_sentence(patient.output(), stage, patient.root)
        if patient.gone_after() is None:
            row.lost = "the other rank went on"
            patient.end_all()
        done = patient.project.call("dvc", "repro", "--single-item", stage)
        row.same_bytes = done.returncode == 0 and patient.project.outs()[out] == undisturbed
        if not row.same_bytes:
            row.lost = sentence(done.stdout + done.stderr, patient.root)
        if "continuing at step" in done.stdout + done.stderr:
            row.seen += "; continued from a checkpoint"


def environment(pid: int) -> list[str]:
    """Return a process's environment, nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []
