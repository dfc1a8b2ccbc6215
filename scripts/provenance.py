"""Record what the run in the workspace was made with, in metrics/provenance.json.

python scripts/provenance.py        after `dvc repro`, on the machine that ran it

A stage's minutes are those between the last file that was written before its outs and its outs:
wall clock, so that their sum is the time of the run also when stages ran side by side. Stages
restored from a cache, or run on another day, have no such time: run this after a whole run.
"""

import itertools
import os
import platform
from pathlib import Path

import torch

from zeroshot_al.base.files import write_json
from zeroshot_al.base.params import load_experiment, read_yaml
from zeroshot_al.process.stage import run_stage
from zeroshot_al.process.workers import n_cores


def written_at(outs: list[dict]) -> float:
    """Return when the newest of a stage's outs was written, in seconds since 1970."""
    files = [
        file
        for out in outs
        for path in [Path(out["path"])]
        for file in (path.rglob("*") if path.is_dir() else [path])
    ]
    return max(file.stat().st_mtime for file in files)


def hardware() -> str:
    """Name the processor, its cores and memory, and the GPU if there is one."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    text = f"{n_cores()} cores of {model}, {memory_gib:.0f} GiB"
    if torch.cuda.is_available():
        text += f", {torch.cuda.get_device_name()}"
    return text


def stage_minutes() -> dict[str, float]:
    """Return each stage's minutes by the times at which its files were written."""
    stages = read_yaml(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
    ends = sorted((written_at(stage["outs"]), name) for name, stage in stages.items())
    minutes: dict[str, float] = {}
    for (before, _), (end, name) in itertools.pairwise(ends):
        stage = name.partition("@")[0]
        minutes[stage] = minutes.get(stage, 0) + (end - before) / 60
    return minutes


def main() -> None:
    experiment = load_experiment()
    write_json(
        "metrics/provenance.json",
        {
            "profile": experiment.profile,
            "seeds": list(experiment.seeds),
            "hardware": hardware(),
            "torch": torch.__version__.partition("+")[0],
            "stage_minutes": {stage: round(spent, 1) for stage, spent in stage_minutes().items()},
        },
    )


if __name__ == "__main__":
    run_stage(main)
