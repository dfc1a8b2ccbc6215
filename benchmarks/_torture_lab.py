"""Where the torture happens: copies of a finished demo, and what every row does with them."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from project_copies import (  # noqa: E402
    FEWER_STEPS,
    IDENTITY,
    Project,
    clean_environment,
    fresh_copy,
)
from zeroshot_al.files import read_json, write_json  # noqa: E402

MARK = "ZEROSHOT_AL_TORTURE"  # in the environment of all that a row starts, and of its children
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d ")
SEED = 0
# Threads that wait for each other take minutes for seconds of work on a busy machine.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
# Seconds of training in each stage that trains.
SETTINGS = FEWER_STEPS | {
    "profile": "demo",
    "budget": 560,
    "budgets": [140, 210, 280, 350, 420, 490, 560, 630, 700],
    "seeds": [0, 1],
    "profiles.demo.moco.epochs": 4,
    "profiles.demo.moco.batch_size": 256,
    "profiles.demo.moco.queue_size": 512,
    "profiles.demo.simclr.epochs": 4,
    "profiles.demo.simclr.batch_size": 256,
}


@dataclass
class Row:
    """One thing done, and what came of it."""

    what: str
    seen: str = ""
    lost: str = "nothing"
    same_bytes: bool | None = None
    seconds: float = 0.0
    skipped: str = ""


@dataclass
class Lab:
    """A finished project, what its files were, and copies of it to torture."""

    base: Project
    folder: Path
    durations: dict[str, float]  # of each stage, in seconds
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.expected = state(self.base)

    def copy(self, name: str) -> "Patient":
        """Copy the finished project."""
        directory = self.folder / name
        shutil.rmtree(directory, ignore_errors=True)
        mark = uuid.uuid4().hex
        project = self.base.copy(directory)
        return Patient(Project(project.root, project.env | {MARK: mark}), self, mark)

    @contextmanager
    def row(self, what: str) -> Iterator[Row]:
        """Record one row, with its seconds."""
        row, start = Row(what), time.monotonic()
        yield row
        row.seconds = round(time.monotonic() - start, 1)
        self.rows.append(row)
        print(f"{what}\n    saw: {row.seen}\n    lost: {row.lost}; same bytes: {row.same_bytes} "
              f"{row.skipped} ({row.seconds} s)", flush=True)  # fmt: skip


@dataclass
class Patient:
    """A copy under torture."""

    project: Project
    lab: Lab
    mark: str

    @property
    def root(self) -> Path:
        return self.project.root

    def start(self, *command: str, **env: str) -> subprocess.Popen:
        """Start a command in a session of its own; its output goes to a file."""
        with open(self.root.parent / f"{self.root.name}.log", "w") as log:
            return subprocess.Popen(
                command, cwd=self.root, env=self.project.env | env, stdout=log,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def output(self) -> str:
        """Return what the command started last has said."""
        return (self.root.parent / f"{self.root.name}.log").read_text(encoding="utf-8")

    def processes(self) -> dict[int, str]:
        """Return the command line of every process that a command of ours left running."""
        found = {}
        for directory in Path("/proc").iterdir():
            if not directory.name.isdigit():
                continue
            with suppress(OSError):
                if f"{MARK}={self.mark}".encode() in (directory / "environ").read_bytes():
                    words = (directory / "cmdline").read_text().replace("\0", " ").strip()
                    if words and "daemon" not in words:  # DVC's look for a newer version
                        found[int(directory.name)] = words
        return found

    def wait_for_stage(self, script: str, process: subprocess.Popen) -> int | None:
        """Return the process id of a stage's script once it runs; None if DVC ends before."""
        while process.poll() is None:
            pids = [pid for pid, words in self.processes().items() if is_stage(words, script)]
            if pids:
                return min(pids)  # its workers come later
            time.sleep(0.01)
        return None

    def gone_after(self) -> float | None:
        """Return the seconds until no process is left, None after half a minute."""
        start = time.monotonic()
        while time.monotonic() < start + 30:
            if not self.processes():
                return time.monotonic() - start
            time.sleep(0.02)
        return None

    def end_all(self) -> None:
        """Kill what is left, so that a row that lost does not disturb the next."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def forget(self, stage: str) -> None:
        """Remove a stage's outs from DVC's cache: else they come from there, without a run."""
        cache = self.root / ".dvc/cache"
        shutil.rmtree(cache / "runs", ignore_errors=True)
        lock = yaml.safe_load((self.root / "dvc.lock").read_text(encoding="utf-8"))
        for digest in [out["md5"] for out in lock["stages"][stage]["outs"]]:
            file = cache / "files/md5" / digest[:2] / digest[2:]
            if digest.endswith(".dir") and file.exists():
                for entry in json.loads(file.read_text(encoding="utf-8")):
                    part = entry["md5"]
                    (cache / "files/md5" / part[:2] / part[2:]).unlink(missing_ok=True)
            file.unlink(missing_ok=True)

    def recover(self, row: Row) -> str:
        """Run `dvc repro`, compare all files with the undisturbed run's, and return its output."""
        done = self.project.call("dvc", "repro")
        if done.returncode:
            row.same_bytes, row.lost = False, f"dvc repro fails: {sentence(done.stderr)}"
        else:
            changed = difference(self.lab.expected, state(self.project))
            same = not changed
            row.same_bytes = same if row.same_bytes is None else row.same_bytes and same
            if not same:
                row.lost = f"{len(changed)} files differ, such as {changed[0]}"
        left = leftovers(self.root)
        if left:
            row.lost = f"left behind: {', '.join(left)}"
        return done.stdout + done.stderr


def is_stage(words: str, script: str) -> bool:
    """Whether a command line is that of a stage's script, and not of a shell around it."""
    return script in words and "python" in words.split()[0]


def state(project: Project) -> dict[str, str]:
    """Hash the outs, and read the lock as if it were one of them."""
    lock = (project.root / "dvc.lock").read_text(encoding="utf-8")
    return project.outs() | {"dvc.lock": lock}


def difference(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return the names that differ."""
    names = sorted(expected.keys() | found.keys())
    return [name for name in names if expected.get(name) != found.get(name)]


def leftovers(root: Path) -> list[str]:
    """Return temporary files in the places of the outs."""
    return [
        path.relative_to(root).as_posix()
        for top in ("data", "models", "metrics", "plots")
        for path in (root / top).rglob(".*")
        if ".tmp" in path.name or path.name.endswith(".old")
    ]


def sentence(text: str, root: Path | None = None) -> str:
    """Return what a user is told: the last line that is neither a log line nor a bar."""
    lines = [
        line for line in text.replace("\r", "\n").splitlines()
        if line.strip() and not LOG_LINE.match(line) and "%|" not in line
    ]  # fmt: skip
    told = [line for line in lines if re.match(r"(ERROR: |[a-z_]+: )", line)]
    found = (told or lines or ["(nothing)"])[-1].strip()
    return found.replace(f"{root}/", "") if root else found


def stage_sentence(text: str, stage: str, root: Path) -> str:
    """Return the one sentence of a stage's script, or what stands there instead."""
    for line in text.splitlines():
        if line.startswith(f"{stage}: "):
            return line.replace(f"{root}/", "")
    return "a traceback" if "Traceback" in text else sentence(text, root)


def saves(directory: Path, name: str) -> set[tuple[Path, int]]:
    """Return the files of a name and when each was written."""
    found = set()
    for file in directory.rglob(name):
        with suppress(FileNotFoundError):  # discarded in between
            found.add((file, file.stat().st_mtime_ns))
    return found


def wait_for_saves(
    process: subprocess.Popen, directory: Path, n_saves: int, name: str = "state.safetensors"
) -> None:
    """Return after so many new files of the name, or when the process has ended."""
    known, seen = saves(directory, name), set()
    while len(seen) < n_saves and process.poll() is None:
        seen |= saves(directory, name) - known
        time.sleep(0.005)


def draw(name: str) -> random.Random:
    """Return the random moments of a row, the same ones at every run."""
    return random.Random(f"{SEED} {name}")


def make_lab(folder: Path, log: Callable[[str], None]) -> Lab:
    """Run the demo once, undisturbed; if that was done in this folder, take it from there."""
    finished = folder / "durations.json"
    if finished.exists():
        env = clean_environment(folder / "home") | IDENTITY | ONE_THREAD
        return Lab(Project(folder / "base", env), folder / "copies", read_json(finished))
    (folder / "home").mkdir(parents=True)
    env = clean_environment(folder / "home") | ONE_THREAD
    project = fresh_copy(folder / "base", env)
    # At every chance rather than every ten seconds: these trainings take seconds.
    file = project.root / "src/zeroshot_al/checkpoint.py"
    text = file.read_text(encoding="utf-8")
    assert "every_s: float = 10.0" in text
    file.write_text(text.replace("every_s: float = 10.0", "every_s: float = 0.0"), "utf-8")
    project.set_params(SETTINGS)
    project.commit()
    durations = {}
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=project.root, env=project.env | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    stage = start = None
    for line in [*process.stdout, ""]:
        found = re.match(r"Running stage '(.+)'", line)
        if stage and (found or not line):
            durations[stage] = time.monotonic() - start
            log(f"{stage}: {durations[stage]:.1f} s")
        if found:
            stage, start = found[1], time.monotonic()
    assert process.wait() == 0, "the undisturbed run failed"
    project.commit()
    write_json(finished, durations)
    return Lab(project, folder / "copies", durations)
