"""The page of `benchmarks/gpu.py`: the numbers as Markdown."""

from math import sqrt
from statistics import mean, stdev

BUDGETS, METHODS = (5_000, 10_000, 25_000), ("random", "k-center", "coverage", "zero-shot")
N_SEEDS, T_95 = 3, 4.303  # Student's t of three paired differences, two-sided

DEVIATIONS = """
- SimCLR for 123 epochs, what four minutes allow, where the paper's 93.6% matches 1,000.
- Batches of 1,024, a learning rate of 0.48 with 5 epochs of warm-up, temperature 0.2. The
  temperature is the better of two (0.5: 65.9%, 0.2: 67.8% kNN) after 12 epochs at 512 on 20,000
  train images of five classes, judged on 5,000 other train images, one seed. No test image was
  looked at.
- The linear evaluation is logistic regression on cached features, by L-BFGS, at most 200 steps.
- The classifier is WRN-16-4 for 2,000 steps of 128 images at every budget, in place of WRN-28-10.
  It still gains from steps: 83% with 25,000 labels is what 2,000 steps reach, not what the labels
  are worth.
- No MoCo-v2, no iterative Core-Set, three of the nine budgets, one encoder.
- Five trainings share the GPU: their seconds are not those of one alone.
"""


def render(page: dict) -> str:
    machine = page["speed"]["machine"]
    probe, pretraining = page["linear_eval"]["all"]["simclr"], page["pretraining"]["simclr"]
    lines = [
        "# The paper's scale on one GPU",
        "",
        "Made by `benchmarks/gpu.py` from `gpu.json`; do not edit. Profile `gpu`, CIFAR-10, one",
        f"{machine['gpu']}, {machine['cores']} cores, torch {machine['torch']}, one run of each.",
        "",
        f"**SimCLR, ResNet-18: {probe['linear']:.1%} linear, {probe['knn']:.1%} kNN** after "
        f"{pretraining['epochs']} epochs in {pretraining['seconds']} s, start included. The paper "
        "reports 93.6%.",
        "",
        "## Labels spent on a classifier from scratch",
        "",
        f"Test accuracy in percent, mean and standard deviation of {N_SEEDS} seeds; below, "
        "the paired difference to random with its 95% interval.",
        "",
        f"| labels | {' | '.join(METHODS)} |",
        f"|---:|{'---:|' * len(METHODS)}",
    ]
    for budget in BUDGETS:
        runs = {name: accuracies(page, name, budget) for name in METHODS}
        cells = [f"{mean(found):.1f} ± {stdev(found):.1f}" for found in runs.values()]
        lines.append(f"| {budget:,} | {' | '.join(cells)} |")
        cells = [difference(runs[name], runs["random"]) for name in METHODS[1:]]
        lines.append(f"| | | {' | '.join(cells)} |")
    lines += few_labels(page["few_labels"])
    lines += ["", "## Speed", "", "| | |", "|---|---|"]
    rows = {name: row for name, row in page["speed"].items() if name != "machine"}
    lines += [f"| {name} | {speed_text(row)} |" for name, row in rows.items()]
    lines += [
        "",
        "The first 1,000 picks of both k-center orders are those of the CPU, by their hash.",
        "",
        "## Deviations from the paper",
        DEVIATIONS.rstrip(),
    ]
    return "\n".join(lines) + "\n"


def accuracies(page: dict, name: str, budget: int) -> list[float]:
    """Return the percentages of each seed."""
    seeds = range(N_SEEDS)
    return [100 * page["curves"][f"{name}, {budget}, seed {seed}"]["accuracy"] for seed in seeds]


def difference(runs: list[float], baseline: list[float]) -> str:
    paired = [run - other for run, other in zip(runs, baseline, strict=True)]
    half = T_95 * stdev(paired) / sqrt(len(paired))
    return f"{mean(paired):+.1f} ± {half:.1f}"


def few_labels(found: dict) -> list[str]:
    """Tables of a linear head on the frozen features."""
    budgets = list(found["random"]["accuracies"])
    n_draws = len(found["random"]["all_classes_after"])
    lines = [
        "",
        "## Few labels spent on a linear head",
        "",
        "Logistic regression (C 10) on the frozen features, test accuracy in percent; random is",
        f"the mean and standard deviation of {n_draws} draws, each order is one.",
        "",
        f"| | {' | '.join(f'{int(b):,}' for b in budgets)} | every class is seen after |",
        f"|---|{'---:|' * (len(budgets) + 1)}",
    ]
    for name, row in found.items():
        cells = []
        for runs in row["accuracies"].values():
            spread = f" ± {100 * stdev(runs):.1f}" if len(runs) > 1 else ""
            cells.append(f"{100 * mean(runs):.1f}{spread}")
        lines.append(f"| {name} | {' | '.join(cells)} | {mean(row['all_classes_after']):.0f} |")
    return lines


def speed_text(row: dict) -> str:
    if "n_select" in row:
        return (
            f"{row['n_select']:,} of {row['n_samples']:,} x 512 in {row['seconds']} s, "
            f"{row['gpu_gib']} GiB of GPU memory"
        )
    epoch = f", {row['s_an_epoch']} s an epoch of 50,000" if "s_an_epoch" in row else ""
    return f"{row['ms_a_step']} ms a step{epoch}"
