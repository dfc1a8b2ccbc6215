"""Record what the run in the workspace was made with, in metrics/provenance.json.

python scripts/provenance.py [FILE ...]        after `dvc repro`, on the machine that ran it

A stage's seconds are those between the last file that was written before its outs and its outs:
wall clock, so that their sum is the time of the run also when stages ran side by side. Stages
restored from a cache, or run on another day, have no such time: run this after a whole run.

A FILE says of some stages where they ran instead and for how many seconds, as JSON of hardware,
torch and stage_seconds by stage. Without hardware and torch it was here, timed by other means.
"""

import argparse
import itertools
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import torch

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_json, write_json
from zeroshot_al.base.params import load_experiment, read_yaml
from zeroshot_al.process.stage import run_stage
from zeroshot_al.process.workers import n_cores


def written_at(outs: list[dict]) -> float:
    """Return when the newest of a stage's outs was written, in seconds since 1970."""
    paths = [Path(out["path"]) for out in outs]
    if missing := [path for path in paths if not path.exists()]:
        raise InputError(f"{missing[0]} does not exist; run `dvc repro` to its end")
    return max(file.stat().st_mtime for path in paths for file in [path, *path.rglob("*")])


def hardware() -> str:
    """Name the processor, its cores, instructions and memory, and the GPU if there is one."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    instructions = torch.backends.cpu.get_cpu_capability()
    text = f"{n_cores()} cores of {model} ({instructions}), {memory_gib:.0f} GiB"
    if torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name()}"
    return text


def stage_seconds() -> dict[str, float]:
    """Return each stage's seconds by the times at which its files were written."""
    stages = read_yaml(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
    ends = sorted((written_at(stage["outs"]), name) for name, stage in stages.items())
    # Of the first stage nothing says when it began.
    seconds = {ends[0][1].partition("@")[0]: 0.0}
    for (before, _), (end, name) in itertools.pairwise(ends):
        stage = name.partition("@")[0]
        seconds[stage] = seconds.get(stage, 0) + end - before
    return seconds


def by_machine(measured: dict[str, float], files: Iterable[Path]) -> list[dict]:
    """Lay the stages that `files` tell of over those measured here; a machine an entry."""
    here = {"hardware": hardware(), "torch": torch.__version__.partition("+")[0]}
    given = [here | read_json(file) for file in files]
    told = [stage for machine in given for stage in machine["stage_seconds"]]
    if wrong := sorted({name for name in told if name not in measured or told.count(name) > 1}):
        raise InputError(f"stage {wrong[0]!r} is not in dvc.lock, or in two files; name each once")
    rest = {stage: spent for stage, spent in measured.items() if stage not in told}
    machines: dict[tuple[str, str], dict[str, float]] = {}
    for machine in [*given, here | {"stage_seconds": rest}]:
        seconds = machines.setdefault((machine["hardware"], machine["torch"]), {})
        seconds |= {stage: round(spent, 1) for stage, spent in machine["stage_seconds"].items()}
    return [
        {"hardware": hardware, "torch": version, "stage_seconds": seconds}
        for (hardware, version), seconds in machines.items()
        if seconds
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    experiment = load_experiment()
    write_json(
        "metrics/provenance.json",
        {
            "profile": experiment.profile,
            "seeds": list(experiment.seeds),
            "machines": by_machine(stage_seconds(), parser.parse_args().files),
        },
    )


if __name__ == "__main__":
    run_stage(main)
