"""Pretrain SimCLR with several seeds: how far do the results depend on the one encoder?

    python benchmarks/encoder_seeds.py     after `dvc repro labels` with the profile laptop

The stages run in a folder a seed below .checkpoints; what is finished there is not run again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

import torch
from _machine import machine
from _page import update_page
from gpu import device_name

from zeroshot_al.base.files import read_json, read_npy
from zeroshot_al.base.params import load_section, read_yaml
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.classifier.training import random_order
from zeroshot_al.orders import OrderParams, read_orders
from zeroshot_al.probing.heads import centred, head_accuracies
from zeroshot_al.probing.pools import ProbeParams
from zeroshot_al.report.methods import BASELINE, registered
from zeroshot_al.report.tables import markdown_table

PAGE, ROOT = "encoder_seeds", Path.cwd()
N_FROZEN, N_RANDOM = 100, 10  # labels of the head on frozen features, and random draws of them


def run_stages(seed: int, epochs: int, budget: int, *, with_random: bool) -> Path:
    """Run every stage that has not ended, up to the trainings at one budget; return the folder."""
    folder = ROOT / ".checkpoints" / PAGE / f"{epochs}-{budget}-{seed}"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for shared in ("data/pool", "data/labels", "batches"):
        if not (folder / shared).exists():
            (folder / shared).symlink_to(ROOT / shared)
    params = read_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"budgets": [budget], "seeds": params["seeds"][:3]}
    sections = params["profiles"][params["profile"]]
    sections["pretrain"]["seed"], sections["simclr"]["epochs"] = seed, epochs
    sections["encoder"]["weights"] = None
    (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")  # which is YAML too
    ends = {  # each is there once its stage has ended, and not before
        "pretrain_moco": "models/moco",
        "pretrain_simclr": "models/simclr",
        "embed": "metrics/linear_eval.json",
        "kcenter_order": "data/orders",
        "zero_shot_order": "data/zero_shot_orders",
        "train_budget": f"metrics/train_budget/{budget}.json",
    }
    if with_random:
        ends["baseline_random"] = f"metrics/baseline_random/{budget}.json"
    for stage, end in ends.items():
        if not (folder / end).exists():
            argument = [str(budget)] if stage == "train_budget" else []
            command = [sys.executable, str(ROOT / f"src/{stage}.py"), *argument]
            subprocess.run(command, cwd=folder, check=True)
    return folder


def collect(folder: Path, pool: Pool, budget: int) -> dict:
    """Return the encoder's linear evaluation, and the accuracies of each order's first picks."""
    trained = read_json(folder / f"metrics/train_budget/{budget}.json")
    return {
        "linear_eval": read_json(folder / "metrics/linear_eval.json")["simclr"],
        "scratch": {name: [run["accuracy"] for run in runs] for name, runs in trained.items()},
        "frozen": frozen_accuracies(folder, pool),
    }


def frozen_accuracies(folder: Path, pool: Pool) -> dict[str, float]:
    """Return the test accuracy of a linear layer with each order's first labels, and random's."""
    features = read_npy(folder / "data/embeddings/simclr.npy")
    centre = features[: pool.n_train].mean(axis=0)
    rows = centred(features[: pool.n_train], centre)
    test_rows = centred(features[pool.n_train :], centre)
    linear_c = load_section("probe", ProbeParams).linear_c

    def accuracy(picks: list[int]) -> float:
        first = picks[:N_FROZEN]
        chosen = (rows[first], pool.train_labels[first], test_rows, pool.test_labels)
        return head_accuracies(*chosen, [N_FROZEN], linear_c)["linear"][0]

    method = load_section("order", OrderParams).method
    files = (folder / "data/zero_shot_orders", folder / "data/orders")
    orders = read_orders(method, *files, pool.train_ids)
    found = {name: accuracy(picks) for name, (_, picks) in orders.items()}
    draws = [accuracy(random_order(pool.n_train, seed).tolist()) for seed in range(N_RANDOM)]
    return found | {BASELINE: mean(draws)}


def render(page: dict) -> str:
    """Return the page: a row an encoder, then their mean and spread."""
    encoders, budget, random = page["encoders"], page["budget"], 100 * mean(page["random"])
    made = list(encoders.values())
    methods = registered(made[0]["scratch"])
    columns = {  # by head, the format and a value an encoder
        head: ("{:.1f}", [100 * each["linear_eval"][name] for each in made])
        for head, name in (("linear, %", "linear"), ("kNN, %", "knn"))
    }
    for method in methods:
        gains = [each["frozen"][method.name] - each["frozen"][BASELINE] for each in made]
        columns[f"{method.label}, {N_FROZEN}"] = ("{:+.1f}", [100 * gain for gain in gains])
    for method in methods:
        gains = [100 * mean(each["scratch"][method.name]) - random for each in made]
        columns[f"{method.label}, {budget:,}"] = ("{:+.2f}", gains)
    rows = [
        [seed, *(text.format(values[place]) for text, values in columns.values())]
        for place, seed in enumerate(encoders)
    ]
    rows.append(["mean", *(text.format(mean(values)) for text, values in columns.values())])
    spreads = [text.replace("+", "").format(stdev(values)) for text, values in columns.values()]
    rows.append(["standard deviation", *spreads])
    within = mean(100 * stdev(each["scratch"][method.name]) for each in made for method in methods)
    n_seeds = len(page["random"])
    where = page["cpu"] if page["device"] == "CPU" else page["device"]
    lines = ["# Other seeds of the encoder", ""]
    lines += ["Made by `benchmarks/encoder_seeds.py` from `encoder_seeds.json`; do not edit.", ""]
    lines += [
        f"Profile `{page['profile']}` with {page['epochs']} epochs of SimCLR, and orders of each "
        "encoder:",
        "",
        markdown_table(["seed of SimCLR", *columns], rows),
        "",
        f"Of each order the difference to random in points. With {N_FROZEN} labels: a linear layer "
        f"on the encoder's features, random the mean of {N_RANDOM} draws. With {budget:,}: the "
        f"classifier from scratch, the mean of {n_seeds} trainings, random {random:.1f}%; the "
        f"trainings of one encoder have a standard deviation of {within:.2f}, their mean one of "
        f"{within / n_seeds**0.5:.2f}, which is what the encoders would seem to differ by if they "
        "did not.",
        "",
        f"On {where}, PyTorch {page['torch']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="two at least")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--budget", type=int, default=10_000)
    options = parser.parse_args()
    epochs, budget = options.epochs, options.budget
    pool = load_pool("data/pool", needs_labels=True)
    folders = {
        seed: run_stages(seed, epochs, budget, with_random=seed == options.seeds[0])
        for seed in options.seeds
    }
    random = read_json(folders[options.seeds[0]] / f"metrics/baseline_random/{budget}.json")
    made = {
        "profile": read_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))["profile"],
        "epochs": epochs,
        "budget": budget,
        **machine(),
        "device": device_name(),
        "torch": torch.__version__,
        "random": [run["accuracy"] for run in random[BASELINE]],
        "encoders": {str(seed): collect(folder, pool, budget) for seed, folder in folders.items()},
    }
    update_page(PAGE, render, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
