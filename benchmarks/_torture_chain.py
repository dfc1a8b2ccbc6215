"""Chains of kill -9: a stage is killed, started again on what the kill left, and killed again."""

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from _torture_lab import IMPORTED, Patient, Row, draw
from _torture_seen import stage_sentence

from saved import saves, wait_for_saves

# Of the moments, how many are drawn over the imports, and how many just behind a checkpoint.
SHARE_IMPORTS, SHARE_SAVED = 0.15, 0.4
# Each fifth run is DVC's, which removes the outs before and is told of the kill.
BY_DVC_EACH = 5
IN_THE_IMPORTS, IN_THE_WORK, AFTER_A_SAVE = "in the imports", "in the work", "behind a checkpoint"
TEMPORARY = re.compile(r"/\.[^/]+\.\d+\.(tmp|old)")
ASIDE = re.compile(r"/\.([^/]+)\.\d+\.old")
# Put in place as a whole; the other directories are filled file by file.
WHOLE = ("data/pool", "data/annotate", "data/labels")


class Chain:
    """One stage's kills: what they hit, and whether they left a file in pieces.

    A run that ends before its kill is counted, and its moment drawn again.
    """

    def __init__(self, patient: Patient, name: str, row: Row, n_ranks: int = 1) -> None:
        self.patient, self.name, self.row, self.n_ranks = patient, name, row, n_ranks
        self.stage = name.partition("@")[0]
        self.checkpoints = patient.root / ".checkpoints" / self.stage
        locked = patient.locked(name)
        self.command = locked["cmd"].split()
        self.outs = [out["path"] for out in locked["outs"]]
        self.rng = draw(f"{name} {n_ranks}")
        self.moments: Counter[str] = Counter()
        self.n_continued = self.n_by_dvc = self.n_ended = 0
        self.told = ""
        self.run_undisturbed()

    @property
    def n_killed(self) -> int:
        return self.moments.total()

    def run_undisturbed(self) -> None:
        """Take the seconds of the imports and of the work, and what the outs have to be."""
        self.remove_outs()
        start, self.saves_itself = time.monotonic(), False
        process = self.patient.start(*self.command)
        while process.poll() is None and not self.has_imported():
            time.sleep(0.005)
        self.imports_s = time.monotonic() - start
        wait_for_saves(process, self.checkpoints, 1)
        self.saves_itself = process.poll() is None
        while self.n_ranks > 1 and self.find_ranks(0):  # their launcher ends seconds later
            time.sleep(0.02)
        code = process.wait() if self.n_ranks == 1 else None
        self.work_s = time.monotonic() - start - self.imports_s
        assert (code or process.wait()) == 0, self.patient.output()
        self.expected = self.patient.project.outs()

    def kill(self, n_times: int) -> None:
        """Kill the stage so many times, or until something is lost."""
        while self.n_killed < n_times and self.row.lost == "nothing":
            self.kill_once()

    def kill_once(self) -> None:
        # DVC removes the outs first; without it a run may also find whole ones.
        by_dvc = self.n_ranks == 1 and self.n_killed % BY_DVC_EACH == BY_DVC_EACH - 1
        if by_dvc or self.rng.random() < 0.5:
            self.clear()
        before, known = self.patient.project.outs().keys(), saves(self.checkpoints)
        dvc = ("dvc", "repro", "--force", "--single-item", self.name)
        process = self.patient.start(*(dvc if by_dvc else self.command))
        victim, rank = self.find_victim(process, by_dvc)
        self.wait_for_moment(process)
        moment = IN_THE_WORK if self.has_imported() else IN_THE_IMPORTS
        moment = AFTER_A_SAVE if saves(self.checkpoints) - known else moment
        if victim:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        code = process.wait()
        if self.patient.gone_after() is None:
            self.row.lost = "processes went on"
            self.patient.end_all()
        output = self.patient.output()
        self.n_continued += "continuing at step" in output
        self.compare(set(before))
        if code == 0:
            self.n_ended += 1
        elif by_dvc and "exited with -9" in output:
            self.n_by_dvc += 1
            self.moments[moment] += 1
        elif rank is not None:
            self.moments[moment] += 1
            self.told = stage_sentence(output, self.stage, self.patient.root)
            if f"rank {rank} of {self.n_ranks} was killed by signal 9" not in self.told:
                self.row.lost = f"told otherwise: {self.told}"
        elif code == -signal.SIGKILL:
            self.moments[moment] += 1
        else:
            told = stage_sentence(output, self.stage, self.patient.root)
            self.row.lost = f"a run failed by itself: {told}"

    def has_imported(self) -> bool:
        """Whether the stage has begun its work: its launcher and all ranks, if there are ranks."""
        n_scripts = 1 if self.n_ranks == 1 else 1 + self.n_ranks
        return self.patient.output().count(IMPORTED) >= n_scripts

    def find_victim(self, process: subprocess.Popen, by_dvc: bool) -> tuple[int | None, int | None]:
        """Return the process to kill, None if all have ended, and its rank if it is one."""
        if by_dvc:
            return self.patient.wait_for_stage(f"src/{self.stage}.py", process), None
        if self.n_ranks == 1:
            return process.pid, None
        rank = self.rng.randrange(self.n_ranks)
        while process.poll() is None:
            if pids := self.find_ranks(rank):
                return min(pids), rank  # its workers come later
            time.sleep(0.01)
        return None, None

    def find_ranks(self, rank: int) -> list[int]:
        """Return the running processes of a rank."""
        return [pid for pid in self.patient.processes() if f"RANK={rank}" in environment(pid)]

    def wait_for_moment(self, process: subprocess.Popen) -> None:
        if self.rng.random() < SHARE_IMPORTS:
            sleep(process, self.rng, self.imports_s)
            return
        while process.poll() is None and not self.has_imported():
            time.sleep(0.005)
        if self.saves_itself and self.rng.random() < SHARE_SAVED:
            wait_for_saves(process, self.checkpoints, self.rng.randint(1, 2))
            sleep(process, self.rng, 0.05)
        else:
            sleep(process, self.rng, self.work_s)

    def compare(self, before: set[str]) -> None:
        """Find files in pieces, and those that were there `before` and are gone."""
        found = self.patient.project.outs()
        # Killed between two renames: the next run puts it back.
        aside = {ASIDE.sub(r"/\1", name) for name in found if ASIDE.search(name)}
        names = {name for name in found if not TEMPORARY.search(name)}
        for name in sorted(names | before):
            if name not in names and name not in aside and not TEMPORARY.search(name):
                self.row.lost = f"{name} is gone"
            elif name in names and found[name] != self.expected.get(name):
                self.row.lost = f"{name} in pieces"
        for out in set(self.outs) & set(WHOLE):
            n_files = sum(name.startswith(f"{out}/") for name in names)
            if n_files not in (0, sum(name.startswith(f"{out}/") for name in self.expected)):
                self.row.lost = f"{out} in pieces"

    def remove_outs(self) -> None:
        for out in self.outs:
            path = self.patient.root / out
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the outs, from DVC's cache as well: the next run has to make them."""
        self.remove_outs()
        self.patient.forget(self.name)

    def seen(self) -> str:
        """Tell what was hit."""
        parts = [f"{self.moments[moment]} {moment}" for moment in self.moments_possible()]
        text = f"{self.n_killed} kills: {', '.join(parts)}"
        if self.saves_itself:
            text += f"; {self.n_continued} starts went on from a checkpoint"
        if self.n_by_dvc:
            text += f"; {self.n_by_dvc} were DVC's runs"
        if self.n_ended:
            text += f"; {self.n_ended} more had ended before their kill"
        return text + (f"; {self.told}" if self.told else "")

    def moments_possible(self) -> list[str]:
        return [IN_THE_IMPORTS, IN_THE_WORK, *([AFTER_A_SAVE] if self.saves_itself else [])]


def sleep(process: subprocess.Popen, rng: random.Random, most_s: float) -> None:
    """Sleep for a random time, or until the process has ended."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(rng.uniform(0, most_s))


def environment(pid: int) -> list[str]:
    """Return a process's environment, nothing once it has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0")
    except OSError:
        return []
