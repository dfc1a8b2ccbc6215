"""Kill -9: every stage at random moments, and whole process groups while files are replaced."""

import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from _torture_chain import Chain
from _torture_lab import Lab, Patient, draw
from _torture_seen import leftovers

N_KILLS = 20
STAGES = (
    "download", "pretrain_moco", "pretrain_simclr", "embed", "kcenter_order", "annotate", "labels",
    "train_budget@140", "baseline_random", "baseline_coreset", "class_histograms",
    "learning_curves",
)  # fmt: skip


def every_stage(lab: Lab) -> None:
    """Kill each stage in a chain, two stages at a time: most of their work is of one thread."""
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(kill_stage, lab, name) for name in STAGES]:
            done.result()
    lab.sort([title(name) for name in STAGES])


def title(name: str) -> str:
    return f"`{name}` killed (-9) {N_KILLS} times, each time on what the last one left"


def kill_stage(lab: Lab, name: str) -> None:
    patient = lab.copy(f"kills {name}")
    with lab.row(title(name)) as row:
        chain = Chain(patient, name, row)
        if any(lab.expected.get(key) != digest for key, digest in chain.expected.items()):
            row.lost = "without DVC it makes other bytes"
        chain.kill(N_KILLS)
        chain.clear()
        chain.n_continued += "continuing at step" in patient.recover(row)
        row.seen = chain.seen()


def while_replacing(lab: Lab) -> None:
    """Kill the whole group, as a crash of the machine does, while outs take their places."""
    patient, rng = lab.copy("replacing"), draw("replacing")
    what = "all processes killed (-9) while `download` puts the new pool in place, 5 times"
    with lab.row(what) as row:
        whole, absent, left = 0, 0, 0
        pool = patient.root / "data/pool"
        while whole + absent < 5:
            process = patient.start(sys.executable, "src/download.py")
            while process.poll() is None and not list(pool.parent.glob(".pool.*.tmp/images.npy")):
                time.sleep(0.0005)
            time.sleep(rng.uniform(0, 0.02))
            os.killpg(process.pid, signal.SIGKILL)
            if process.wait() != -signal.SIGKILL:
                continue  # it had ended before
            left += bool(leftovers(patient.root))
            if pool.exists():
                files = {k: v for k, v in patient.project.outs().items() if "data/pool/" in k}
                good = files == {k: v for k, v in lab.expected.items() if "data/pool/" in k}
                whole += 1
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
            while not killed_while_saving(patient, name, rng):
                pass
            patient.recover(row)
        row.seen = "nothing but the shell's word that it was killed"


def killed_while_saving(patient: Patient, name: str, rng: random.Random) -> bool:
    """Kill DVC after the end of its stage; false if it had ended before."""
    patient.forget(name)
    process = patient.start("dvc", "repro", "--force", "--single-item", name)
    patient.wait_for_stage(f"src/{name}.py", process)
    while any(f"src/{name}.py" in words for words in patient.processes().values()):
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.3))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL
