"""Print the accuracy table and say where the pictures are.

    python scripts/show_results.py [--root DIR]
    python scripts/show_results.py --experiment NAME [--pictures DIR]

The second form reads a DVC experiment, or any git revision, out of git and writes its pictures
to DIR, so that the workspace stays as it is.
"""

import argparse
import subprocess
from pathlib import Path
from statistics import mean

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import atomic_path
from zeroshot_al.process.stage import run_stage
from zeroshot_al.report.curves import from_csv, mean_over_budgets
from zeroshot_al.report.tables import LABELS, plain_table

CURVES_CSV = "plots/learning_curves.csv"
PICTURES = {
    "learning curves": "plots/learning_curves.png",
    "class histograms": "plots/class_histograms.png",
    "labels saved": "plots/probe_curves.png",
}
GALLERY = "data/annotate/gallery.html"


def describe(root: Path) -> str:
    """Tell the results under `root`, which holds plots/ as the repository does."""
    accuracies = from_csv(root / CURVES_CSV)
    pictures = {name: (root / path).resolve() for name, path in PICTURES.items()}
    lines = [plain_table(accuracies), ""]
    if differences := mean_over_budgets(accuracies):
        # The demo's two seeds cannot carry an interval.
        lines.append(
            "Difference to Random in points, mean over the budgets, in brackets that of each seed:"
        )
        for method, by_seed in differences.items():
            each = ", ".join(f"{100 * gain:+.2f}" for gain in by_seed.values())
            lines.append(f"  {LABELS[method]}: {100 * mean(by_seed.values()):+.2f} ({each})")
        lines.append("")
    lines.append("Pictures:")
    lines += [f"  {name:18}{path}" for name, path in pictures.items() if path.exists()]
    gallery = (root / GALLERY).resolve()
    if gallery.exists():
        lines += ["What to label first, to open in a browser:", f"  {'gallery':18}{gallery}"]
    return "\n".join(lines)


def extract(experiment: str, directory: Path) -> None:
    """Write what `describe` reads, out of a git revision or a DVC experiment's commit.

    The gallery is not in git: it comes out of DVC's cache, if it is there.

    Raises
    ------
    InputError
        If there is no such revision or experiment, or it lacks a file.
    """
    commit = _git("rev-parse", "--verify", "--quiet", f"{experiment}^{{commit}}")
    if commit is None:
        # DVC keeps an experiment under refs/exps/<2 digits>/<38 digits>/<name>.
        found = _git(
            "for-each-ref",
            "--sort=-committerdate",
            "--format=%(objectname)",
            f"refs/exps/*/*/{experiment}",
        )
        commit = (found or b"").split(b"\n")[0]
    if not commit:
        raise InputError(f"experiment {experiment!r} does not exist; `dvc exp list` names them")
    for path in (CURVES_CSV, *PICTURES.values()):
        content = _git("show", f"{commit.strip().decode()}:{path}")
        if content is None and path == CURVES_CSV:
            raise InputError(f"{experiment} holds no {path}; run the pipeline to its end")
        (directory / path).unlink(missing_ok=True)  # of an earlier run
        if content is not None:
            with atomic_path(directory / path) as temporary:
                temporary.write_bytes(content)
    from dvc.api import DVCFileSystem  # takes a second that the other form need not spend
    from dvc.exceptions import DvcException

    (directory / GALLERY).unlink(missing_ok=True)  # of an earlier run
    try:
        content = DVCFileSystem(rev=commit.strip().decode()).cat_file(GALLERY)
    except (DvcException, FileNotFoundError):
        return
    with atomic_path(directory / GALLERY) as temporary:
        temporary.write_bytes(content)


def _git(*arguments: str) -> bytes | None:
    done = subprocess.run(["git", *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--experiment")
    parser.add_argument("--pictures", type=Path, default=Path("demo_results"))
    options = parser.parse_args()
    if options.experiment:
        extract(options.experiment, options.pictures)
    print(describe(options.pictures if options.experiment else options.root))


if __name__ == "__main__":
    run_stage(main)
