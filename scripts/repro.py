"""Reproduce what is stale, several stages at once.

    python scripts/repro.py --jobs N [TARGET ...]        `make repro JOBS=N`

Each stage runs in a DVC of its own, `dvc --wait-for-lock repro --single-item STAGE`, as soon as
the stages that it depends on are done. DVC decides, locks, caches and records as ever; this script
only says when. The results and dvc.lock are those of `dvc repro`, byte for byte.

When a stage fails, those that run are let finish, as by `make -j`, and no other starts. Ctrl-C
(or SIGTERM, SIGHUP) interrupts all of them; a second one kills them. What is finished is kept, and
the same command goes on.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
from dvc.utils.serialize import load_yaml, modify_yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import write_json
from zeroshot_al.process.stage import run_stage

GRACE_S = 60.0  # from the interrupt to the kill
# DVC ends each run with advice, the same after every stage; it begins so.
ADVICE = "To track the changes with git"


def plan(repo: Repo, targets: Sequence[str]) -> tuple[list[str], dict[str, set[str]]]:
    """Ask DVC which stages `dvc repro` would look at.

    Returns
    -------
    order : list of str
        All stages of the targets, as `dvc repro` takes them when it takes the whole pipeline. (Of
        a few targets it takes them in an order that differs from run to run.)
    needs : dict of str to set of str
        Those that may be stale, each with the ones among them that must be done before it.
    """
    with repo.lock:
        graph = get_active_graph(repo.index.graph)
        wanted = set(plan_repro(graph, collect_stages(repo, targets or ["dvc.yaml"])))
        stages = [stage for stage in plan_repro(graph) if stage in wanted]
    stale = repo.status()
    needs: dict[str, set[str]] = {}
    for stage in stages:
        before = {dependency.addressing for dependency in graph.successors(stage)} & needs.keys()
        if before or stage.addressing in stale:
            needs[stage.addressing] = before
    return [stage.addressing for stage in stages], needs


class LockEntries:
    """The order of dvc.lock's entries, which stages that end at any time would leave to chance.

    DVC appends a stage that is new to dvc.lock when it is done. `tidy` puts the new ones into the
    order of `dvc repro`. Which ones are new is remembered beside DVC's temporary files until a run
    is whole, so that one which goes on after an interrupt ends with the same bytes.
    """

    def __init__(self, repo: Repo, order: Sequence[str]) -> None:
        self._repo, self._order = repo, order
        self._memory = Path(repo.tmp_dir) / "entries-before-repro.json"
        self._before = names = self._names()
        with suppress(FileNotFoundError):
            before = json.loads(self._memory.read_text(encoding="utf-8"))
            # Else the file has been replaced since, by git for instance.
            if set(before) <= set(names) <= {*before, *order}:
                self._before = before
        write_json(self._memory, self._before)

    def _names(self) -> list[str]:
        with suppress(FileNotFoundError):
            return list(load_yaml("dvc.lock").get("stages", {}))
        return []

    def tidy(self) -> None:
        """Put the entries into the order that one stage after the other would have given."""
        with self._repo.lock:
            names = self._names()
            tidy = [name for name in dict.fromkeys([*self._before, *self._order]) if name in names]
            if tidy == names:
                return
            with modify_yaml("dvc.lock") as lock:
                for name in tidy:
                    lock["stages"][name] = lock["stages"].pop(name)

    def forget(self) -> None:
        """Let the next run begin with what dvc.lock then holds: this one is whole."""
        self._memory.unlink()


class Crew:
    """At most `n_jobs` DVC processes at a time, each the leader of its own process group.

    A signal to the group reaches the stage's script and its workers as well; DVC, told alone,
    would leave them running.
    """

    def __init__(self, n_jobs: int, needs: dict[str, set[str]]) -> None:
        self.failed: list[str] = []
        self.stopped_by: signal.Signals | None = None
        self._needs = needs
        self._slots = asyncio.Semaphore(n_jobs)
        self._done: list[str] = []
        self._groups: set[int] = set()
        self._margin = max(map(len, needs), default=0)

    async def run_stages(self) -> None:
        """Run every stage after those that it needs, until one fails or `stop` is called."""
        ended = {name: asyncio.Event() for name in self._needs}

        async def run_stage(name: str) -> None:
            for needed in self._needs[name]:
                await ended[needed].wait()
            async with self._slots:
                # Nothing more is started, which is why an end need not mean success.
                if not self.failed and not self.stopped_by:
                    await self._run_stage(name)
            ended[name].set()

        await asyncio.gather(*map(run_stage, self._needs))

    async def _run_stage(self, name: str) -> None:
        code = await self.run("--single-item", name, prefix=name)
        if code == 0:
            self._done.append(name)
            self._say(name, f"done, {len(self._done)} of {len(self._needs)}")
        elif not self.stopped_by:
            self.failed.append(name)
            running = f"; waiting for {len(self._groups)} more" if self._groups else ""
            self._say(name, f"FAILED with exit code {code}{running}")

    async def run(self, *arguments: str, prefix: str = "") -> int:
        """Run `dvc repro` with the arguments and return its exit code when all of it has ended."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *arguments,
            process_group=0, limit=2**24,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        self._groups.add(child.pid)
        if self.stopped_by:  # while it started
            self._signal(child.pid, signal.SIGINT)
        advice = False
        # To the end of the output, which the stage's workers hold open too.
        async for line in child.stdout:
            text = line.decode(errors="replace").rstrip()
            advice = advice or text.startswith(ADVICE)
            if text and not advice:
                self._say(prefix, text)
        code = await child.wait()
        self._groups.discard(child.pid)
        return code

    def _say(self, name: str, text: str) -> None:
        print(f"{name:{self._margin}} | {text}" if name else text, flush=True)

    def stop(self, signum: signal.Signals) -> None:
        """Interrupt every process, as Ctrl-C does; kill what is left a while or a call later."""
        if self.stopped_by:
            self._kill()
            return
        self.stopped_by = signum
        for group in self._groups:
            self._signal(group, signal.SIGINT)
        asyncio.get_running_loop().call_later(GRACE_S, self._kill)

    def _kill(self) -> None:
        for group in self._groups:
            self._signal(group, signal.SIGKILL)

    def _signal(self, group: int, signum: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, signum)


async def reproduce(n_jobs: int, targets: Sequence[str]) -> None:
    """Run the stages, `n_jobs` at a time.

    Raises
    ------
    InputError
        If a stage fails, or DVC cannot read the pipeline.
    """
    repo = Repo(_wait_for_lock=True)
    os.chdir(repo.root_dir)
    try:
        order, needs = plan(repo, targets)
    except LockError as error:  # a stage that runs holds what it reads and writes
        pids = sorted(set(re.findall(r"\(PID (\d+)\)", str(error))), key=int)
        raise InputError(
            f"another run is at work here (PID {', '.join(pids) or 'unknown'}); wait until it is "
            "done, or end it, and run again"
        ) from error
    except DvcException as error:
        raise InputError(str(error)) from error
    crew = Crew(n_jobs, needs)
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, crew.stop, signum)
    entries = LockEntries(repo, order)
    try:
        await crew.run_stages()
    finally:
        entries.tidy()
    if not crew.failed and not crew.stopped_by and await crew.run(*targets) == 0:
        entries.forget()
        return
    if crew.stopped_by:
        print(
            "repro: interrupted; run again to continue, what is finished is kept", file=sys.stderr
        )
        sys.exit(128 + crew.stopped_by)
    raise InputError(
        f"failed: {', '.join(crew.failed) or 'dvc repro'}; its message stands above, and what "
        "depends on it has not run; mend it and run again, what is finished is kept"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, required=True, help="stages at once, 1 or more")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="as of `dvc repro`")
    options = parser.parse_args()
    if options.jobs < 1:
        raise InputError(f"--jobs is {options.jobs}; it must be 1 or more")
    asyncio.run(reproduce(options.jobs, options.targets))


if __name__ == "__main__":
    run_stage(main)
