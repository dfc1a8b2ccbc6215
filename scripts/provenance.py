"""Record what the run in the workspace was made with, in metrics/provenance.json.

python scripts/provenance.py        after `dvc repro`, on the machine that ran it

A stage's minutes are those between the last file that was written before its outs and its outs:
wall clock, so that their sum is the time of the run also when stages ran side by side. Stages
restored from a cache, or run on another day, have no such time: run this after a whole run. Where
scripts/gpu_run.py ran the stages, its records tell the minutes and the GPU.
"""

import itertools
import os
import platform
import sys
from pathlib import Path

import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from zeroshot_al.base.files import read_json, write_json
from zeroshot_al.base.params import load_experiment
from zeroshot_al.process.cores import n_cores
from zeroshot_al.process.stage import run_stage

RUNS = Path("metrics/runs.json")


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


def minutes_by_files() -> dict[str, float]:
    """Return each stage's minutes by the times at which its files were written."""
    stages = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))["stages"]
    ends = sorted((written_at(stage["outs"]), name) for name, stage in stages.items())
    minutes: dict[str, float] = {}
    for (before, _), (end, name) in itertools.pairwise(ends):
        stage = name.partition("@")[0]
        minutes[stage] = minutes.get(stage, 0) + (end - before) / 60
    return minutes


def minutes_by_records(runs: list[dict]) -> dict[str, float]:
    """Return each stage's minutes by its records, those of stopped runs included."""
    minutes: dict[str, float] = {}
    for run in runs:
        stage = run["stage"].partition("@")[0]
        minutes[stage] = minutes.get(stage, 0) + run["seconds"] / 60
    return minutes


def main() -> None:
    experiment = load_experiment()
    runs = read_json(RUNS)["runs"] if RUNS.exists() else []
    minutes = minutes_by_records(runs) if runs else minutes_by_files()
    versions = {run["torch"].partition("+")[0] for run in runs}
    write_json(
        "metrics/provenance.json",
        {
            "profile": experiment.profile,
            "seeds": list(experiment.seeds),
            "hardware": " and ".join(sorted({run["device"] for run in runs})) or hardware(),
            "torch": " and ".join(sorted(versions)) or torch.__version__.partition("+")[0],
            "stage_minutes": {stage: round(spent, 1) for stage, spent in minutes.items()},
        },
    )


if __name__ == "__main__":
    run_stage(main)
