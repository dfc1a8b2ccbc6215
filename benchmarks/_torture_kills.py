"""Kill -9: every stage at random moments, and whole process groups while files are replaced."""

import os
import signal
import sys
import time

from _torture_lab import Lab, Patient, Row, draw
from _torture_seen import leftovers, wait_for_saves

# Twenty kills: every stage, those that train more often.
KILLS = {
    "download": 1, "pretrain_moco": 3, "pretrain_simclr": 3, "embed": 1, "kcenter_order": 1,
    "annotate": 1, "labels": 1, "train_budget@140": 2, "baseline_random": 2, "baseline_coreset": 3,
    "class_histograms": 1, "learning_curves": 1,
}  # fmt: skip
TRAINS = ("pretrain_moco", "pretrain_simclr", "train_budget", "baseline_random", "baseline_coreset")


def every_stage(lab: Lab) -> None:
    patient = lab.copy("kills")
    for name, n_kills in KILLS.items():
        with lab.row(f"`{name}` killed (-9) at {n_kills} random moments, DVC not") as row:
            kill_stage(lab, patient, name, n_kills, row)


def kill_stage(lab: Lab, patient: Patient, name: str, n_kills: int, row: Row) -> None:
    stage, rng = name.partition("@")[0], draw(name)
    n_done = n_continued = 0
    while n_done < n_kills:
        patient.forget(name)
        process = patient.start("dvc", "repro", "--force", "--single-item", name)
        pid = patient.wait_for_stage(f"src/{stage}.py", process)
        if stage in TRAINS:
            # By progress, not by the clock: on a busy machine all moments would lie in imports.
            wait_for_saves(process, patient.root / ".checkpoints" / stage, rng.randrange(3))
            time.sleep(rng.uniform(0, 0.3))
        else:
            time.sleep(rng.uniform(0, lab.durations[name]))
        if pid in patient.processes():
            os.kill(pid, signal.SIGKILL)
            n_done += 1
            process.wait()
            row.seen = patient.output().splitlines()[-1].strip()
            if patient.gone_after() is None:
                row.lost = "worker processes went on"
                patient.end_all()
        process.wait()
        n_continued += "continuing at step" in patient.recover(row)
    if n_continued:
        row.seen += f"; {n_continued} of {n_kills} recoveries continued from a checkpoint"


def while_replacing(lab: Lab) -> None:
    """Kill the whole group, as a crash of the machine does, while outs take their places."""
    patient, rng = lab.copy("replacing"), draw("replacing")
    what = "all processes killed (-9) while `download` puts the new pool in place, 5 times"
    with lab.row(what) as row:
        whole, absent, left = 0, 0, 0
        pool = patient.root / "data/pool"
        for _ in range(5):
            process = patient.start(sys.executable, "src/download.py")
            while process.poll() is None and not list(pool.parent.glob(".pool.*.tmp/images.npy")):
                time.sleep(0.0005)
            time.sleep(rng.uniform(0, 0.02))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            left += bool(leftovers(patient.root))
            if pool.exists():
                files = {k: v for k, v in patient.project.outs().items() if "data/pool/" in k}
                good = files == {k: v for k, v in lab.expected.items() if "data/pool/" in k}
                whole += good
                if not good:
                    row.lost = "a pool in pieces"
            else:
                absent += 1
        row.seen = (
            f"the pool whole {whole} times, aside {absent} times; {left} times half of a new one "
            "beside it, removed by the next run"
        )
        done = patient.project.stage("download")
        row.same_bytes = done.returncode == 0
        patient.recover(row)
    names = ("class_histograms", "kcenter_order", "learning_curves")
    with lab.row(f"DVC killed (-9) while it saves the outs of {', '.join(names)}") as row:
        for name in names:
            patient.forget(name)
            process = patient.start("dvc", "repro", "--force", "--single-item", name)
            patient.wait_for_stage(f"src/{name}.py", process)
            while any(f"src/{name}.py" in words for words in patient.processes().values()):
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.3))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            patient.recover(row)
        row.seen = "nothing but the shell's word that it was killed"
