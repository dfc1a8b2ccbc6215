"""Full and read-only file systems, mounted where nobody else sees them, and DVC's cache damaged."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _torture_lab import Lab, Patient, Row
from _torture_seen import sentence, stage_sentence, state

from project_copies import Project

KIB = 1024
VERIFY = "scripts/verify_cache.py"


@contextmanager
def mounts(patient: Patient) -> Iterator["Namespace | None"]:
    """Yield a place whose mounts nobody else sees; None without the right to mount."""
    keeper = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt && echo ready; sleep 900"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield Namespace(patient, keeper.pid) if keeper.stdout.readline() == "ready\n" else None
    finally:
        keeper.kill()
        keeper.wait()


class Namespace:
    """Runs commands among the mounts."""

    def __init__(self, patient: Patient, pid: int) -> None:
        self.patient, self.pid = patient, pid
        root = patient.root
        # What it looks like from there, for this process.
        self.seen = Project(Path(f"/proc/{pid}/root{root}"), patient.project.env)

    def call(self, *command: str) -> subprocess.CompletedProcess:
        # Not by nsenter's --wd: a directory opened out here shows no mount of in there.
        inside = ("sh", "-c", 'cd "$0" && exec "$@"', self.patient.root)
        return self.patient.project.call(
            "nsenter", f"--target={self.pid}", "--mount", *inside, *command
        )

    def must(self, *command: str) -> None:
        done = self.call(*command)
        assert done.returncode == 0, done.stderr

    def small(self, directory: str, without: str, slack: int) -> None:
        """Put `directory` on a file system that is full but for `slack` and the out `without`."""
        copy = self.patient.root / "kept"
        (self.patient.root / directory).mkdir(exist_ok=True)
        shutil.copytree(self.patient.root / directory, copy, symlinks=True)
        gone = copy / Path(without).relative_to(directory) if without else None
        if gone and gone.is_dir():
            shutil.rmtree(gone)
        elif gone:
            gone.unlink()
        pages = sum(-(-path.lstat().st_size // 4096) for path in copy.rglob("*") if path.is_file())
        size = pages * 4096 + slack
        self.must("mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory)
        self.must("cp", "-a", "kept/.", directory)
        shutil.rmtree(copy)

    def recover(self, row: Row) -> None:
        """Run `dvc repro` among the mounts, and compare."""
        done = self.call("dvc", "repro")
        row.same_bytes = done.returncode == 0 and state(self.seen) == self.patient.lab.expected
        if not row.same_bytes:
            row.lost = f"dvc repro: {sentence(done.stdout + done.stderr)}"


FULL = (
    ("the pool", "download", "data", "data/pool", 300 * KIB),
    ("a checkpoint", "pretrain_simclr", ".checkpoints", "", 64 * KIB),
    ("the embeddings", "embed", "data", "data/embeddings", 64 * KIB),
    ("DVC's cache", "embed", ".dvc/cache", "", 64 * KIB),
)


def full(lab: Lab) -> None:
    for what, stage, directory, out, slack in FULL:
        patient = lab.copy("full")
        with lab.row(f"the disk full while `{stage}` writes {what}") as row, mounts(patient) as on:
            if on is None:
                row.skipped = "no file system can be mounted here"
                continue
            patient.forget(stage)
            on.small(directory, out, slack)
            kept = state(on.seen)
            done = on.call("dvc", "repro", "--force", "--single-item", stage)
            row.seen = told(done, stage, patient.root)
            if done.returncode == 0 and "No space left" not in done.stdout + done.stderr:
                row.missed = "the disk was not full"
            elif done.returncode == 0:
                row.seen += "; DVC exits with 0 all the same"
            # DVC removes a stage's outs before it runs; everything else is as it was.
            outs = {out["path"] for out in patient.locked(stage)["outs"]}
            for name, content in state(on.seen).items():
                if not any(name.startswith(o) for o in outs) and kept.get(name) != content:
                    row.lost = f"{name} changed"
            on.must("mount", "-o", "remount,size=1g", directory)
            on.recover(row)


def read_only(lab: Lab) -> None:
    for directory, stage, by_dvc in (
        ("data", "download", False), ("data", "download", True), ("models", "pretrain_moco", True),
        ("metrics", "train_budget@140", True), (".checkpoints", "pretrain_simclr", True),
        (".dvc", "kcenter_order", True),
    ):  # fmt: skip
        patient = lab.copy("readonly")
        what = f"`{directory}` read-only, `{stage}` run " + ("by DVC" if by_dvc else "without DVC")
        with lab.row(what) as row, mounts(patient) as on:
            if on is None:
                row.skipped = "no file system can be mounted here"
                continue
            patient.forget(stage)
            (patient.root / directory).mkdir(exist_ok=True)
            on.must("mount", "--bind", directory, directory)
            on.must("mount", "-o", "remount,ro,bind", directory)
            name = stage.partition("@")[0]
            command = ("dvc", "repro", "--force", "--single-item", stage)
            done = on.call(*(command if by_dvc else (sys.executable, f"src/{name}.py")))
            row.seen = told(done, name, patient.root)
            if done.returncode == 0:
                row.missed = "it could be written"
            on.must("umount", directory)
            on.recover(row)


def told(done: subprocess.CompletedProcess, stage: str, root: Path) -> str:
    """Return the stage's sentence, else DVC's."""
    text = done.stdout + done.stderr
    found = stage_sentence(text, stage, root)
    return found if found.startswith(f"{stage}: ") else sentence(text, root)


def cache_objects(lab: Lab) -> None:
    for what, stage, out in (
        ("an encoder", "pretrain_simclr", "models/simclr.safetensors"),
        ("the list of the pool's files", "download", "data/pool"),
    ):
        for damage in ("missing", "truncated", "one bit changed"):
            patient = lab.copy("cache")
            with lab.row(f"{what} in DVC's cache {damage}, and gone from the workspace") as row:
                damage_object(patient, stage, out, damage)
                done = patient.project.call("dvc", "checkout", out)
                row.seen = "dvc checkout: "
                if done.returncode:
                    row.seen += sentence(done.stdout + done.stderr, patient.root)
                else:
                    found = state(patient.project)
                    names = [k for k, v in lab.expected.items() if k.startswith(out)]
                    same = all(found.get(name) == lab.expected[name] for name in names)
                    row.seen += "restored" if same else "restores the damaged object, in silence"
                    status = patient.project.run("dvc", "status", stage)
                    told = "up to date" not in status
                    row.seen += f"; dvc status tells {'of it' if told else 'nothing'}"
                verified = patient.project.call("python", VERIFY)
                row.seen += f"; make verify: {sentence(verified.stdout, patient.root)}"
                if damage != "missing" and verified.returncode == 0:
                    row.lost = "make verify takes the object for whole"
                patient.recover(row)


def damage_object(patient: Patient, stage: str, out: str, damage: str) -> None:
    """Damage an out's object in the cache as a disk would, its mode unchanged; remove the out."""
    root = patient.root
    digest = next(o["md5"] for o in patient.locked(stage)["outs"] if o["path"] == out)
    file = root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    content, mode = file.read_bytes(), file.stat().st_mode
    file.unlink()
    if damage != "missing":
        half = len(content) // 2
        changed = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        file.write_bytes(content[:half] if damage == "truncated" else changed)
        file.chmod(mode)
    shutil.rmtree(root / out) if (root / out).is_dir() else (root / out).unlink()
