"""Where the torture happens: copies of a finished demo, and what every row does with them."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from threading import Lock

import yaml
from _torture_seen import difference, is_stage, leftovers, sentence, state

from project_copies import FEWER_STEPS, IDENTITY, Project, clean_environment, fresh_copy
from zeroshot_al.base.files import read_json, write_json

MARK = "ZEROSHOT_AL_TORTURE"  # in the environment of all that a row starts, and of its children
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
IMPORTED = "the imports are done"
CHANGES = (
    # At every chance rather than every ten seconds: these trainings take seconds.
    ("engine/checkpoint.py", "every_s: float = 10.0", "every_s: float = 0.0"),
    # So that a moment can be drawn from the work and not from the imports, which take longer.
    (
        "process/stage.py",
        "    logging.captureWarnings(True)\n",
        f'    logging.captureWarnings(True)\n    logging.info("{IMPORTED}")\n',
    ),
)


@dataclass
class Row:
    """One thing done, and what came of it."""

    what: str
    seen: str = ""
    lost: str = "nothing"
    missed: str = ""  # why what was to be done did not happen
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
    save: Callable[[list[Row]], None] = lambda rows: None
    one_writes: Lock = field(default_factory=Lock)  # of the rows done side by side

    def __post_init__(self) -> None:
        self.expected = state(self.base)

    def start(self, save: Callable[[list[Row]], None]) -> None:
        """Begin a group of rows; `save` gets those that there are after each."""
        self.rows, self.save = [], save

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
        with self.one_writes:
            self.rows.append(row)
            self.save(self.rows)
        print(f"{what}\n    saw: {row.seen}\n    lost: {row.lost}; same bytes: {row.same_bytes} "
              f"{row.missed} {row.skipped} ({row.seconds} s)", flush=True)  # fmt: skip

    def sort(self, titles: list[str]) -> None:
        """Put the rows in the order of what they did."""
        self.rows.sort(key=lambda row: titles.index(row.what))
        self.save(self.rows)


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

    def locked(self, stage: str) -> dict:
        """Return what dvc.lock holds of a stage."""
        lock = yaml.safe_load((self.root / "dvc.lock").read_text(encoding="utf-8"))
        return lock["stages"][stage]

    def forget(self, stage: str) -> None:
        """Remove a stage's outs from DVC's cache: else they come from there, without a run."""
        cache = self.root / ".dvc/cache"
        shutil.rmtree(cache / "runs", ignore_errors=True)
        for digest in [out["md5"] for out in self.locked(stage)["outs"]]:
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
    for name, text, other in CHANGES:
        file = project.root / "src/zeroshot_al" / name
        content = file.read_text(encoding="utf-8")
        assert content.count(text) == 1, f"{name} no longer holds {text!r}"
        file.write_text(content.replace(text, other), "utf-8")
    project.set_params(SETTINGS)
    project.commit()
    durations = {}
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=project.root, env=project.env | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    stage = start = None
    for line in chain(process.stdout, [""]):
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
