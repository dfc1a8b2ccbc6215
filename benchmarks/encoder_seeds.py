"""Pretrain SimCLR with other seeds: how far do the results depend on the one encoder?

    python benchmarks/encoder_seeds.py run     after `dvc repro`, whose encoder is the first row
    python benchmarks/encoder_seeds.py page    rewrite the page from the numbers

Each seed's stages run in a folder of its own below .checkpoints, so that an interrupted run goes
on where it was; a seed that is on the page is not run again.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import torch
from _machine import machine
from _page import read_page, update_page
from gpu import device_name

from zeroshot_al.base.files import read_json
from zeroshot_al.base.params import read_yaml
from zeroshot_al.report.methods import BASELINE, registered
from zeroshot_al.report.tables import markdown_table

PAGE, ROOT = "encoder_seeds", Path.cwd()
STAGES = ("pretrain_moco", "pretrain_simclr", "embed", "kcenter_order", "zero_shot_order")


def run(seeds: list[int], budget: int) -> None:
    """Run the stages up to the trainings at one budget with every seed that the page lacks."""
    update_page(PAGE, render, {"0": collect(ROOT, budget)})
    for seed in seeds:
        if str(seed) in read_page(PAGE):
            continue
        project = ROOT / ".checkpoints" / PAGE / str(seed)
        (project / "data").mkdir(parents=True, exist_ok=True)
        for shared in ("data/pool", "data/labels", "batches"):
            if not (project / shared).exists():
                (project / shared).symlink_to(ROOT / shared)
        write_params(project / "params.yaml", seed, budget)
        start = time.perf_counter()
        for script in (*STAGES, "train_budget"):
            command = [sys.executable, ROOT / f"src/{script}.py"]
            command += [str(budget)] if script == "train_budget" else []
            subprocess.run(command, cwd=project, check=True)
        minutes = round((time.perf_counter() - start) / 60, 1)
        made = {"torch": torch.__version__, "minutes": minutes, "budget": budget}
        made |= machine() | {"device": device_name()}
        update_page(PAGE, render, {str(seed): collect(project, budget) | made})


def write_params(path: Path, seed: int, budget: int) -> None:
    """Write the project's params with another seed of pretraining, and this budget alone."""
    params = read_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["budgets"] = [budget]
    sections = params["profiles"][params["profile"]]
    sections["pretrain"]["seed"] = seed
    sections["encoder"]["weights"] = None
    path.write_text(json.dumps(params), encoding="utf-8")  # which is YAML too


def collect(project: Path, budget: int) -> dict:
    """Return the encoder's linear evaluation, and each order's accuracies by seed of training."""
    trained = read_json(project / f"metrics/train_budget/{budget}.json")
    random = read_json(ROOT / f"metrics/baseline_random/{budget}.json")
    return {
        "budget": budget,
        "linear_eval": read_json(project / "metrics/linear_eval.json")["simclr"],
        "accuracies": {
            name: [run["accuracy"] for run in runs]
            for name, runs in (trained | random).items()
            if name.startswith("simclr") or name == BASELINE
        },
    }


def render(page: dict) -> str:
    """Return the page: a row an encoder, and the spread of the encoders beside that of seeds."""
    methods = [method for method in registered(page["0"]["accuracies"]) if method.name != BASELINE]
    random = mean(page["0"]["accuracies"][BASELINE])
    gains = {
        method.name: [
            100 * (mean(made["accuracies"][method.name]) - random) for made in page.values()
        ]
        for method in methods
    }
    rows = [
        [
            seed,
            *(f"{100 * made['linear_eval'][name]:.1f}" for name in ("linear", "knn")),
            *(f"{gains[method.name][place]:+.2f}" for method in methods),
        ]
        for place, (seed, made) in enumerate(page.items())
    ]
    heads = ["seed of SimCLR", "linear, %", "kNN, %", *(method.label for method in methods)]
    lines = ["# Other seeds of the encoder", ""]
    lines += ["Made by `benchmarks/encoder_seeds.py` from `encoder_seeds.json`; do not edit.", ""]
    lines += [markdown_table(heads, rows), ""]
    n_seeds = len(page["0"]["accuracies"][BASELINE])
    lines += [
        f"Of each order the difference to random in points at {page['0']['budget']:,} labels, the "
        f"mean of {n_seeds} trainings of the classifier; random, {100 * random:.1f}%, is the "
        "committed run's.",
        "",
    ]
    if len(page) > 1:
        spreads = [f"{method.label} {stdev(gains[method.name]):.2f}" for method in methods]
        within = [
            100 * stdev(made["accuracies"][method.name])
            for made in page.values()
            for method in methods
        ]
        lines += [
            f"Standard deviation of the encoders, in points: {', '.join(spreads)}. That of the "
            f"classifier's seeds with one encoder is {mean(within):.2f} in the mean, so "
            f"{mean(within) / n_seeds**0.5:.2f} of the spread above is theirs.",
            "",
        ]
    for seed, made in page.items():
        if seed != "0":
            where = made["cpu"] if made["device"] == "CPU" else made["device"]
            lines.append(f"- seed {seed}: {made['minutes']:g} minutes on {where}")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("run")
    mode.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    mode.add_argument("--budget", type=int, default=10_000)
    modes.add_parser("page")
    options = parser.parse_args()
    if options.mode == "run":
        run(options.seeds, options.budget)
    else:
        update_page(PAGE, render, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
