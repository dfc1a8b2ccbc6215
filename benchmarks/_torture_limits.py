"""Too little memory for what is asked: it has to be said before the work starts."""

import time
from pathlib import Path

import numpy as np
from _torture_lab import Lab, Patient
from _torture_seen import stage_sentence

from zeroshot_al.base.files import write_csv
from zeroshot_al.base.pool import HEADER

N_MANY, SIDE = 1_000_000, 224


def memory(lab: Lab) -> None:
    patient = lab.copy("memory")
    sparse_npy(patient.root / "data/pool/images.npy", (N_MANY, SIDE, SIDE, 3), "|u1")
    rows = ((f"{i:07}.jpg", "train", "ab"[i % 2]) for i in range(N_MANY - 1000))
    tests = ((f"{i:07}.jpg", "test", "ab"[i % 2]) for i in range(N_MANY - 1000, N_MANY))
    write_csv(patient.root / "data/pool/index.csv", HEADER, (*rows, *tests))
    size = f"{N_MANY:,} images of {SIDE} x {SIDE}"
    kept = patient.project.params()
    patient.project.set_params({"budgets": [*kept["budgets"][:-1], 900_000], "budget": 560})
    refused(lab, patient, f"a budget of 900,000 of {size}, `baseline_random`", "baseline_random")
    sparse_npy(patient.root / "data/embeddings/moco.npy", (N_MANY, 8192), "<f4")
    refused(lab, patient, f"embeddings of {N_MANY:,} x 8,192, `kcenter_order`", "kcenter_order")

    patient = lab.copy("memory")
    sparse_npy(patient.root / "data/embeddings/moco.npy", (1797, 200_000), "<f4")
    refused(
        lab, patient, "`ulimit -v` of 5 GiB and embeddings of 1,797 x 200,000, `kcenter_order`",
        "kcenter_order", "prlimit", f"--as={5 * 2**30}",
    )  # fmt: skip


def refused(lab: Lab, patient: Patient, what: str, stage: str, *limit: str) -> None:
    """Run a stage that has to refuse; nothing is recovered, because nothing began."""
    with lab.row(what) as row:
        start = time.monotonic()
        before = names(patient.root)
        done = patient.project.call(*limit, "python", f"src/{stage}.py")
        row.seen = stage_sentence(done.stderr, stage, patient.root)
        if done.returncode == 0 or "are available" not in row.seen:
            row.lost = f"not told: {row.seen}"
        elif names(patient.root) != before:
            row.lost = "files changed"
        row.seen += f" (after {time.monotonic() - start:.0f} s, imports included)"


def names(root: Path) -> dict[str, int]:
    """Return when each out was written; hashing these arrays takes minutes."""
    files = (f for top in ("data", "models", "metrics", "plots") for f in (root / top).rglob("*"))
    return {str(file): file.stat().st_mtime_ns for file in files}


def sparse_npy(path: Path, shape: tuple[int, ...], descr: str) -> None:
    """Write an array of zeros of any size that takes no space on the disk."""
    with open(path, "wb") as file:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)) * int(descr[-1]))
