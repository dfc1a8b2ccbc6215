"""Run stages on a machine that has a GPU and no DVC, within a time limit, and bring the outs home.

On that machine, in a checkout with the params to run (docs/GPU.md):

    python scripts/gpu_run.py run --minutes 9 download pretrain_moco pretrain_simclr embed
    python scripts/gpu_run.py pack --into OUT pretrain_moco pretrain_simclr embed

`run` skips what is finished, and exits with 75 when the time is up: run it again to continue. At
home, in a checkout of the same commit:

    python scripts/gpu_run.py unpack OUT
    dvc commit --force pretrain_moco pretrain_simclr embed

An unfinished stage is packed as its checkpoints, so that another machine continues it. Stages are
named as in dvc.yaml, `train_budget` for all its budgets; none are all.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from _parts import read_parts, write_parts
from _stages import Stage, files_of, read_stages

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_json, read_npy, write_json, write_npy
from zeroshot_al.process.stage import run_stage

RUNS = Path("metrics/runs.json")
CHECKPOINTS = Path(".checkpoints")
TIME_IS_UP = 75  # EX_TEMPFAIL of sysexits.h
GRACE_S = 60.0  # for a stage to end after Ctrl-C
MINUTE_S = 60.0


def choose(names: Sequence[str]) -> list[Stage]:
    """Return the stages of these names in the order of dvc.yaml; of no name, all."""
    stages = read_stages(Path())
    for name in names:
        if not any(name in (stage, stage.partition("@")[0]) for stage in stages):
            raise InputError(f"stage {name!r} is none of dvc.yaml's; give {', '.join(stages)}")
    return [
        stage
        for name, stage in stages.items()
        if not names or name in names or name.partition("@")[0] in names
    ]


def read_runs() -> list[dict]:
    """Return the record of every run so far, the oldest first."""
    return read_json(RUNS)["runs"] if RUNS.exists() else []


def is_finished(stage: Stage) -> bool:
    """Whether the stage's outs are there, made by this command from these inputs."""
    last = [run for run in read_runs() if run["stage"] == stage.name and run["finished"]][-1:]
    if not last or not all(Path(out).exists() for out in stage.outs):
        return False
    return last[0]["key"] == stage.key(Path())


def run(stages: Sequence[Stage], minutes: float) -> None:
    """Run what is not finished, one stage after the other, until the time is up."""
    deadline = time.monotonic() + MINUTE_S * minutes
    for stage in stages:
        if is_finished(stage):
            print(f"{stage.name}: finished already", flush=True)
            continue
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            sys.exit(time_is_up(stage))
        key, started = stage.key(Path()), time.monotonic()
        print(f"{stage.name}: {left_s / MINUTE_S:.1f} minutes left", flush=True)
        code = run_within(stage.command, left_s)
        if code == 0 and stage.name == "embed":
            round_embeddings(Path("data/embeddings"))
        record(stage, key, time.monotonic() - started, finished=code == 0)
        if code is None:
            sys.exit(time_is_up(stage))
        if code:
            sys.exit(f"{stage.name}: failed with exit code {code}; see above")


def time_is_up(stage: Stage) -> int:
    """Tell it, and return the exit code."""
    print(f"{stage.name}: the time is up; run the same command again to continue", file=sys.stderr)
    return TIME_IS_UP


def run_within(command: str, limit_s: float) -> int | None:
    """Run a stage's command, and return its exit code; None if it was stopped at the limit."""
    words = [sys.executable if word == "python" else word for word in command.split()]
    process = subprocess.Popen(words, start_new_session=True)
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also when this script itself is interrupted
        for number in (signal.SIGINT, signal.SIGKILL):
            if process.poll() is None:
                os.killpg(process.pid, number)
                try:
                    process.wait(GRACE_S)
                except subprocess.TimeoutExpired:
                    continue


def record(stage: Stage, key: str, seconds: float, *, finished: bool) -> None:
    """Add to metrics/runs.json what ran, where and for how long."""
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    entry = {
        "stage": stage.name,
        "key": key,
        "finished": finished,
        "seconds": round(seconds, 1),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "torch": torch.__version__,
        "commit": head or None,
    }
    write_json(RUNS, {"runs": [*read_runs(), entry]})


def round_embeddings(directory: Path) -> None:
    """Round embeddings to what float16 holds, in float32 files.

    Half of the bytes travel. Rounded right after the stage, they are what is ordered there as well.
    """
    for file in sorted(directory.glob("*.npy")):
        write_npy(file, halved(file).astype(np.float32))


def halved(file: Path) -> np.ndarray:
    """Return embeddings as float16.

    Raises
    ------
    InputError
        If a value is beyond float16's range.
    """
    rows = read_npy(file)
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError(f"{file} holds values beyond 65504, the largest of float16; normalise it")
    return half


def pack(stages: Sequence[Stage], into: Path, part_mib: float, first: int, count: int) -> None:
    """Write outs of finished stages and checkpoints of others as parts."""
    files = [RUNS] if RUNS.exists() else []
    for stage in stages:
        if is_finished(stage):
            files += [file for out in stage.outs for file in files_of(Path(out))]
        elif (directory := CHECKPOINTS / stage.name.partition("@")[0]).exists():
            files += files_of(directory)
    files = [packable(file) for file in dict.fromkeys(files)]
    n_parts = write_parts(Path(), files, into, int(part_mib * 2**20), first, count)
    last = min(first + count, n_parts)
    rest = f"; {n_parts - last} more with --first {last}" if last < n_parts else ""
    print(f"{len(files)} files as {n_parts} parts, {max(0, last - first)} written to {into}{rest}")


def packable(file: Path) -> Path:
    """Return the file, or of embeddings their float16 copy."""
    if file.parent != Path("data/embeddings"):
        return file
    half = CHECKPOINTS / "halves" / file.name
    write_npy(half, halved(file))
    return half


def unpack(directories: Sequence[Path]) -> None:
    """Put outs, checkpoints and records where they belong, beside what is there."""
    before = read_runs()
    paths = read_parts(directories, Path())
    for path in map(Path, paths):
        if path.parent == CHECKPOINTS / "halves":
            write_npy(Path("data/embeddings") / path.name, read_npy(path).astype(np.float32))
            path.unlink()
    brought = [entry for entry in read_runs() if entry not in before]
    write_json(RUNS, {"runs": [*before, *brought]})
    finished = [entry["stage"] for entry in brought if entry["finished"]]
    print(f"{len(paths)} files unpacked")
    if finished:
        print(f"dvc commit --force {' '.join(dict.fromkeys(finished))}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--minutes", type=float, required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("--into", type=Path, required=True)
    packing.add_argument("--part-mib", type=float, default=15)
    packing.add_argument("--first", type=int, default=0)
    packing.add_argument("--count", type=int, default=10**6)
    for parts in (running, packing):
        parts.add_argument("stages", nargs="*")
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("directories", type=Path, nargs="+")
    options = parser.parse_args()
    if options.command == "run":
        run(choose(options.stages), options.minutes)
    elif options.command == "pack":
        stages = choose(options.stages)
        pack(stages, options.into, options.part_mib, options.first, options.count)
    else:
        unpack(options.directories)


if __name__ == "__main__":
    run_stage(main)
