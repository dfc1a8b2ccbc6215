"""Write the results into README.md and docs/RESULTS.md, from the committed metrics.

python scripts/readme_results.py            write
python scripts/readme_results.py --check    exit 1 when one of them says something else

Only what stands between the two markers changes.
"""

import argparse
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import atomic_path, read_json
from zeroshot_al.process.stage import run_stage
from zeroshot_al.report.curves import from_csv
from zeroshot_al.report.labels_saved import read_probe_rows
from zeroshot_al.report.labels_saved_views import markdown_labels_saved
from zeroshot_al.report.tables import markdown_linear_eval, markdown_results, provenance_line

BEGIN = "<!-- results: begin, written by scripts/readme_results.py -->"
END = "<!-- results: end -->"
README, DETAILS = "README.md", "docs/RESULTS.md"


def results_blocks(root: Path) -> dict[str, str]:
    """Make each page's block from `root`; provenance and labels saved may be missing."""
    provenance = root / "metrics/provenance.json"
    made_with = provenance_line(read_json(provenance) if provenance.exists() else None)
    tables = markdown_results(from_csv(root / "plots/learning_curves.csv"))
    summary = tables.partition("<details>")[0].rstrip()
    curves = "![Test accuracy against the number of labelled images]({}plots/learning_curves.png)"
    rest = [
        "How often each class is picked:",
        "![Class counts among the first picks of each method](../plots/class_histograms.png)",
        markdown_linear_eval(read_json(root / "metrics/linear_eval.json")),
    ]
    probe = root / "plots/probe_curves.csv"
    if probe.exists():
        picture = "![Labels saved against the number of labels](../plots/probe_curves.png)"
        rest += [picture, markdown_labels_saved(read_probe_rows(probe))]
    return {
        README: "\n\n".join([curves.format(""), summary]),
        DETAILS: "\n\n".join([curves.format("../"), made_with, tables, *rest]),
    }


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
    for name, block in results_blocks(options.root).items():
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


if __name__ == "__main__":
    run_stage(main)
