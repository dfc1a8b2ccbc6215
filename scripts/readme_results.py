"""Write the results into README.md between its two markers, from the committed metrics.

python scripts/readme_results.py            write
python scripts/readme_results.py --check    exit 1 when README.md says something else
"""

import argparse
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import atomic_path, read_json
from zeroshot_al.process.stage import run_stage
from zeroshot_al.report.curves import from_csv
from zeroshot_al.report.tables import markdown_linear_eval, markdown_results, provenance_line

BEGIN = "<!-- results: begin, written by scripts/readme_results.py -->"
END = "<!-- results: end -->"


def results_block(root: Path) -> str:
    """Make the block from the files under `root`; provenance.json alone may be missing."""
    provenance = root / "metrics/provenance.json"
    return "\n\n".join(
        [
            "![Test accuracy against the number of labelled images](plots/learning_curves.png)",
            provenance_line(read_json(provenance) if provenance.exists() else None),
            markdown_results(from_csv(root / "plots/learning_curves.csv")),
            "<details><summary>How often each class is picked</summary>",
            "![Class counts among the first picks of each method](plots/class_histograms.png)",
            "</details>",
            markdown_linear_eval(read_json(root / "metrics/linear_eval.json")),
        ]
    )


def replace_block(text: str, block: str) -> str:
    """Put `block` between the markers.

    Raises
    ------
    InputError
        If a marker is missing, repeated or out of order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"README.md must hold {BEGIN} and, below it, {END}, once each; add them")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--root", type=Path, default=Path())
    options = parser.parse_args()
    readme = options.root / "README.md"
    if not readme.exists():
        raise InputError(f"{readme} does not exist; run from the repository's root")
    text = readme.read_text(encoding="utf-8")
    updated = replace_block(text, results_block(options.root))
    if updated == text:
        return
    if options.check:
        raise InputError("README.md is older than the metrics; run scripts/readme_results.py")
    with atomic_path(readme) as temporary:
        temporary.write_text(updated, encoding="utf-8")


if __name__ == "__main__":
    run_stage(main)
