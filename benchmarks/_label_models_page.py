"""The page of `benchmarks/label_models.py`: the numbers as Markdown."""

from statistics import mean, stdev

from zeroshot_al.report.tables import markdown_table

MODEL_NAMES = ("head", "finetune", "network", "head on an existing model")


def render(page: dict) -> str:
    """Return the page: accuracies and seconds of each profile."""
    lines = ["# Head, fine-tuning and network on the same labels", ""]
    lines += ["Made by `benchmarks/label_models.py` from `label_models.json`; do not edit.", ""]
    for profile, found in page.items():
        made = found["about"]
        encoder, finetune, classifier = (made[key] for key in ("encoder", "finetune", "classifier"))
        runs: dict[tuple[str, int], list[dict]] = {}
        for key, row in found.items():
            if key != "about":
                model, n_labels, _ = key.split(", ")
                runs.setdefault((model, int(n_labels)), []).append(row)
        n_seeds = max(map(len, runs.values()))
        lines += [
            f"## Profile `{profile}`, {made['n_train']:,} images",
            "",
            f"- head and finetune: SimCLR's {encoder['name']} of width {encoder['width']:g}, "
            f"{made['epochs']} epochs on the pool; finetune trains it for {finetune['steps']:,} "
            f"steps of {classifier['batch_size']} images",
            f"- network: {classifier['name']}, depth {classifier['depth']}, width "
            f"{classifier['width']}, {classifier['steps']:,} steps",
        ]
        if made["existing"]:
            lines.append(f"- the existing model: {made['existing']}")
        lines += [
            "",
            f"Accuracy on {made['n_test']:,} test images in percent, mean and standard deviation "
            f"of {n_seeds} seeds; each draws its labels at random, the same for all models.",
            "",
            table(runs, "accuracy", "{:.1f}", 100),
            "",
            "Mean seconds: of a head with its cross-validation and its guesses for the pool, of "
            "the others for one training, of which `make train` does six. Several shared a device.",
            "",
            table(runs, "seconds", "{:.0f}", 1, spread=False),
            "",
            *(f"- {model}: {', '.join(names)}" for model, names in devices(runs).items()),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def devices(runs: dict[tuple[str, int], list[dict]]) -> dict[str, list[str]]:
    """Return the devices that each model was made on."""
    made: dict[str, set[str]] = {}
    for (model, _), rows in runs.items():
        made.setdefault(model, set()).update(row["device"] for row in rows)
    return {model: sorted(names) for model, names in made.items()}


def table(
    runs: dict[tuple[str, int], list[dict]],
    figure: str,
    form: str,
    factor: float,
    *,
    spread: bool = True,
) -> str:
    """Lay out a table, a row a number of labels and a column a model."""
    models = [name for name in MODEL_NAMES if any(model == name for model, _ in runs)]
    rows = []
    for n_labels in sorted({n for _, n in runs}):
        cells = []
        for model in models:
            values = [factor * row[figure] for row in runs.get((model, n_labels), [])]
            cell = form.format(mean(values)) if values else ""
            cells.append(cell + (f" ± {stdev(values):.1f}" if spread and len(values) > 1 else ""))
        rows.append([f"{n_labels:,}", *cells])
    return markdown_table(["labels", *models], rows)
