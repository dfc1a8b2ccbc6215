"""Train other classifiers on the picks of each order: does one order serve any model?

    python benchmarks/classifiers.py run      after `dvc repro zero_shot_order` of a labelled pool
    python benchmarks/classifiers.py page     rewrite the page from the numbers

The networks are small and their trainings short, so that two cores with bf16 take an hour. A model
goes into docs/benchmarks/classifiers.json when all its trainings have ended. One that is there by
the same recipe is not made again, and an interrupted one continues from its checkpoints.
"""

import argparse
import sys
from dataclasses import asdict
from statistics import mean

import torch
from _machine import machine
from _page import read_page, update_page
from gpu import device_name

from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import check_budgets, load_pool
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.side_by_side import run_trainings
from zeroshot_al.classifier.training import Training, random_order
from zeroshot_al.methods.simclr import SimclrParams
from zeroshot_al.orders import OrderParams, read_orders
from zeroshot_al.report.methods import BASELINE, registered
from zeroshot_al.report.tables import markdown_table

POOL, PAGE = "data/pool", "classifiers"
SHARED = {
    "whitening": False,
    "batch_size": 128,
    "decay": "cosine",
    "weight_decay": 0.0005,
    "label_smoothing": 0.0,
    "crop_px": 32,
    "pad_px": 4,
    "flip_rate": 0.5,
    "cutout_px": 8,
    "test_flip": False,
}
WIDE_RESNET = {"name": "wide-resnet", "depth": 10, "width": 2, "stem_stride": 2, "steps": 1250}
RESNET = {"name": "resnet-18", "depth": 18, "width": 1, "stem_stride": 4, "steps": 640}
VIT = {"name": "vit", "depth": 6, "width": 1, "stem_stride": 4, "steps": 640}
RECIPES = {
    "Wide ResNet": WIDE_RESNET | {"learning_rate": 0.2, "warmup_steps": 125},
    "ResNet-18": RESNET | {"learning_rate": 0.01, "warmup_steps": 64},
    "ViT": VIT | {"learning_rate": 0.03, "warmup_steps": 64},
}


def run(budgets: list[int], n_seeds: int) -> None:
    """Train each model that the page lacks."""
    pool = load_pool(POOL, needs_labels=True)
    check_budgets(budgets, pool.n_train)
    method = load_section("order", OrderParams).method
    orders = read_orders(method, "data/zero_shot_orders", "data/orders", pool.train_ids)
    chosen = {name: picks for name, (_, picks) in orders.items() if name.startswith(method or "")}
    epochs = load_section("simclr", SimclrParams, shared="pretrain").epochs
    for model, own in RECIPES.items():
        params = ClassifierParams(**SHARED | own)
        recipe = {"classifier": asdict(params), "epochs": epochs}
        if recipe.items() <= read_page(PAGE).get(model, {}).items():
            continue
        trainings = {
            (order, budget, seed): Training(tuple(picks[:budget]), seed, params, POOL)
            for seed in range(n_seeds)
            for order, picks in {
                BASELINE: random_order(pool.n_train, seed).tolist(),
                **chosen,
            }.items()
            for budget in budgets
        }
        with run_trainings(PAGE, trainings, pool, model) as accuracies:
            made = {
                **machine(),
                "device": device_name(),
                "torch": torch.__version__,
                **recipe,
                "accuracies": [[*key, accuracy] for key, accuracy in accuracies.items()],
            }
            update_page(PAGE, render, {model: made})


def render(page: dict) -> str:
    """Return the page: random's accuracy, and each order's differences to it by seed."""
    lines = ["# Other classifiers on the same picks", ""]
    lines += ["Made by `benchmarks/classifiers.py` from `classifiers.json`; do not edit.", ""]
    names = {order for made in page.values() for order, *_ in made["accuracies"]}
    methods = [method for method in registered(names) if method.name != BASELINE]
    rows = []
    for model, made in page.items():
        found = {(order, budget, seed): 100 * a for order, budget, seed, a in made["accuracies"]}
        seeds = sorted({seed for *_, seed in found})
        for budget in sorted({budget for _, budget, _ in found}):
            random = [found[BASELINE, budget, seed] for seed in seeds]
            row = [model, f"{budget:,}", f"{mean(random):.1f}"]
            for method in methods:
                by_seed = [found[method.name, budget, seed] for seed in seeds]
                gains = [gain - base for gain, base in zip(by_seed, random, strict=True)]
                row.append(f"{mean(gains):+.1f} ({', '.join(f'{gain:+.1f}' for gain in gains)})")
            rows.append(row)
    heads = [method.label for method in methods]
    lines += [markdown_table(["classifier", "labels", "random, %", *heads], rows), ""]
    lines += [
        "Test accuracy in percent; of each order the difference to random in points, the mean and "
        "in brackets each seed's. The orders know nothing of the classifier.",
        "",
    ]
    for model, made in page.items():
        recipe = made["classifier"]
        sizes = ", ".join(f"{key} {recipe[key]}" for key in ("depth", "width", "stem_stride"))
        where = made["cpu"] if made["device"] == "CPU" else made["device"]
        lines.append(
            f"- {model}: {sizes}, {recipe['steps']:,} steps of {recipe['batch_size']} images, "
            f"on {where}; the orders of SimCLR after {made['epochs']} epochs"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    mode = modes.add_parser("run")
    mode.add_argument("--budgets", type=int, nargs="+", default=[5_000, 10_000])
    mode.add_argument("--seeds", type=int, default=2)
    modes.add_parser("page")
    options = parser.parse_args()
    if options.mode == "run":
        run(options.budgets, options.seeds)
    else:
        update_page(PAGE, render, {})
    return 0


if __name__ == "__main__":
    sys.exit(main())
