"""SIGTERM, Ctrl-C and kill -9 to DVC in the middle of a stage, and two runs of DVC at once."""

import os
import signal

from _torture_lab import Lab, Patient, Row
from _torture_seen import sentence, stage_sentence

from saved import wait_for_saves

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
        row.missed = "the stage had ended before the signal"
        return
    os.killpg(process.pid, number) if whole_group else os.kill(process.pid, number)
    code = process.wait()
    took = patient.gone_after()
    told = stage_sentence(patient.output(), stage, patient.root)
    # What is killed as a whole can tell nothing; all else gets an interrupt, if only from its DVC.
    silent = whole_group and number == signal.SIGKILL
    row.seen = "(killed)" if silent else told
    if code == 0:
        row.missed = "DVC ended with 0, as if there had been no signal"
    elif not silent and "interrupted" not in told:
        row.missed = "no interrupt was told"
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
        elif "busy" not in row.seen:
            row.missed = "the second one failed otherwise"
        if first.wait():
            row.lost = f"the first one failed: {sentence(patient.output(), patient.root)}"
        patient.recover(row)
