"""Write the results into README.md, two pages of docs/ and docs/results.png, from the metrics.

python scripts/readme_results.py            write
python scripts/readme_results.py --check    exit 1 when one of them says something else

Only what stands between the two markers of a page changes; the picture is not checked.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from first_screen import choose_encoder, first_screen, plot_first_screen, scale, spread
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import atomic_path, read_json
from zeroshot_al.base.params import read_yaml
from zeroshot_al.process.stage import run_stage
from zeroshot_al.report.curves import from_csv
from zeroshot_al.report.figures import save_figure
from zeroshot_al.report.labels_saved import Row, read_probe_rows
from zeroshot_al.report.labels_saved_views import ORDERS, POOLS, markdown_labels_saved
from zeroshot_al.report.tables import (
    FEATURES,
    markdown_linear_eval,
    markdown_results,
    markdown_table,
)

BEGIN = "<!-- results: begin, written by scripts/readme_results.py -->"
END = "<!-- results: end -->"
README, DETAILS, METHOD = "README.md", "docs/RESULTS.md", "docs/METHOD.md"
PICTURE = "docs/results.png"
SHOWN = ("zero_shot", "coverage", "kcenter"), ("pool", "tail"), (20, 50, 100, 200, 400, 1600)


def results_blocks(root: Path) -> tuple[dict[str, str], Figure]:
    """Make each page's block and the first screen's picture from `root`."""
    accuracies = from_csv(root / "plots/learning_curves.csv")
    rows = read_probe_rows(root / "plots/probe_curves.csv")
    linear_eval = read_json(root / "metrics/linear_eval.json")
    params = read_yaml((root / "params.yaml").read_text(encoding="utf-8"))
    found = accuracies, *choose_encoder(accuracies, rows)
    readme = [
        f"![Labels saved by a linear head, and accuracy from scratch]({PICTURE})",
        first_screen(*found),
        spread(rows),
        scale(params, linear_eval["simclr"]["linear"]),
    ]
    details = [
        made_with(read_json(root / "metrics/provenance.json")),
        "![Test accuracy against the number of labelled images](../plots/learning_curves.png)",
        markdown_results(accuracies),
        "How often each class is picked:",
        "![Class counts among the first picks of each method](../plots/class_histograms.png)",
        markdown_linear_eval(linear_eval),
        "![Labels saved against the number of labels](../plots/probe_curves.png)",
        markdown_labels_saved(rows),
    ]
    blocks = {README: "\n\n".join(readme), DETAILS: "\n\n".join(details)}
    return blocks | {METHOD: differences(rows)}, plot_first_screen(*found)


def differences(rows: Sequence[Row]) -> str:
    """Table of the orders' differences to random, by features and pool, of a linear head."""
    orders, pools, budgets = SHOWN
    cells = {
        (row.encoder, row.pool, row.order, row.budget): f"{100 * row.difference:+.1f}"
        for row in rows
        if row.head == "linear" and row.features == row.encoder
    }
    lines = [
        [
            f"{FEATURES.get(encoder, encoder)}, {POOLS[pool]}",
            ORDERS[order][0],
            *(cells.get((encoder, pool, order, budget), "") for budget in budgets),
        ]
        for encoder in dict.fromkeys(row.encoder for row in rows)
        for pool in pools
        for order in orders
    ]
    return markdown_table(["features, pool", "order", *(f"{n:,}" for n in budgets)], lines)


def made_with(provenance: Mapping) -> str:
    """Say on which machine each stage ran, and for how long, as scripts/provenance.py wrote it."""
    machines = provenance["machines"]
    lines = [
        [
            f"{machine['hardware']}; PyTorch {machine['torch']}",
            ", ".join(f"{stage} {spent:,.0f}" for stage, spent in machine["stage_seconds"].items()),
            f"{sum(machine['stage_seconds'].values()):,.0f}",
        ]
        for machine in machines
    ]
    total = sum(sum(machine["stage_seconds"].values()) for machine in machines)
    table = markdown_table(["made on", "seconds of each stage", "in all"], lines)
    return (
        f"Profile `{provenance['profile']}`, seeds {', '.join(map(str, provenance['seeds']))}; "
        f"{total / 60:,.0f} minutes in all:\n\n{table}"
    )


def replace_block(text: str, block: str, name: str) -> str:
    """Put `block` between the markers of the page `name`.

    Raises
    ------
    InputError
        If a marker is missing, repeated or out of order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"{name} must hold {BEGIN} and, below it, {END}, once each; add them")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--root", type=Path, default=Path())
    options = parser.parse_args()
    blocks, figure = results_blocks(options.root)
    for name, block in blocks.items():
        page = options.root / name
        if not page.exists():
            raise InputError(f"{page} does not exist; run from the repository's root")
        text = page.read_text(encoding="utf-8")
        updated = replace_block(text, block, name)
        if updated == text:
            continue
        if options.check:
            raise InputError(f"{name} is older than the metrics; run scripts/readme_results.py")
        with atomic_path(page) as temporary:
            temporary.write_text(updated, encoding="utf-8")
    if not options.check:
        save_figure(figure, options.root / PICTURE)


if __name__ == "__main__":
    run_stage(main)
