import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_json, write_csv, write_json
from zeroshot_al.report.curves import CSV_HEADER, to_rows
from zeroshot_al.report.labels_saved import CSV_HEADER as PROBE_HEADER
from zeroshot_al.report.tables import markdown_results, plain_table

SCRIPTS = Path(__file__).parents[2] / "scripts"
ACCURACIES = {
    100: {
        "moco": {0: 0.70, 1: 0.72},
        "simclr": {0: 0.71, 1: 0.75},
        "random": {0: 0.70, 1: 0.70},
        "coreset": {0: 0.7301, 1: 0.73},
    },
    120: {"moco": {0: 0.8, 1: 0.8}, "simclr": {0: 0.81, 1: 0.81}},
}
RUN = {
    100: ACCURACIES[100] | {"simclr_zero_shot": {0: 0.72, 1: 0.7201}},
    120: ACCURACIES[120],
    5000: ACCURACIES[100] | {"simclr_zero_shot": {0: 0.72, 1: 0.7201}},
}
PROVENANCE = {
    "profile": "laptop",
    "seeds": [0, 1],
    "machines": [
        {"hardware": "a GPU", "torch": "2.11.0", "stage_seconds": {"train_budget": 3612.4}},
        {"hardware": "2 cores", "torch": "2.15.0", "stage_seconds": {"download": 8, "embed": 1}},
    ],
}


def probe_rows(n_resamples=10):
    """Of k-center and the recommended order; k-center's interval holds 1 at 400 labels."""
    numbers = {"random": (0, None, None, None), "zero_shot": (0.12, 1.85, 1.75, 1.9)}
    numbers["coverage"] = numbers["zero_shot"]
    for budget in (20, 50, 100, 400):
        numbers["kcenter"] = (-0.04, 0.75, 0.7, 0.8 if budget < 400 else 1.1)
        for order, (difference, *worth) in numbers.items():
            for encoder, head, features, found in (
                ("simclr", "linear", "simclr", difference),
                ("pretrained", "linear", "pretrained", difference - 0.01),
                ("simclr", "knn", "simclr", 0.9),
                ("simclr", "linear", "pretrained", 0.9),
            ):
                key = (encoder, "pool", order, head, features, budget, n_resamples)
                yield (*key, 0.3 + found, found, *worth)


FIRST_SCREEN = (
    "(SimCLR, 20 to 400 labels): 100 labels of the recommended order do what 185 random ones do "
    "(175 to 190), and it is above Random at 4 of 4 budgets, below at 0; 100 labels of k-center do "
    "what 75 random ones do (70 to 80), and it is above Random at 0 of 4 budgets, below at 3.",
    # Over 100 and 5,000, the two budgets with random: 2.005 +- 12.706 x 0.005 points.
    "difference to Random from 100 to 5,000 labels: the recommended order is +2.0 points (+1.9 to "
    "+2.1), and above Random at 2 of 2 budgets, below at 0; k-center is +3.0 points (-22.4 to "
    "+28.4), and above Random at 0 of 2 budgets, below at 0; Core-Set, which trains between its "
    "rounds, is +3.0 points (",
    "| 20 | a linear head | 30.0 | -4.0 (like 14 to 16) | **+12.0** (like 35 to 38) |",
    "| 5,000 | a network | 70.0 | +3.0 (-22.4 to +28.4) | **+2.0** (+1.9 to +2.1) |",
    "(2 seeds, one encoder), or with a linear head of how many random labels do the same (10 pool",
    "SimCLR and Existing model, a linear head, over all budgets and pools",
    "points to Random: the recommended order +11.0 to +12.0, k-center -5.0 to -4.0.",
    # WRN-28-10 has 36.5 million parameters, ResNet-18 11.2; 39,000 steps of 128 images.
    "(profile `paper`: 36 and 5)",
    "(`paper`: 11) with 61.2% linear accuracy, where the paper reports 93.6%.",
)


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def call(root, monkeypatch):
    """Run a script's main in `root`, without the seconds that a new process takes."""
    monkeypatch.chdir(root)

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        load(name).main()

    return call


@pytest.fixture
def root(tmp_path):
    write_csv(tmp_path / "plots/learning_curves.csv", CSV_HEADER, to_rows(RUN))
    write_csv(tmp_path / "plots/probe_curves.csv", PROBE_HEADER, probe_rows())
    shutil.copy(SCRIPTS.parent / "params.yaml", tmp_path)
    (tmp_path / "plots/learning_curves.png").write_bytes(b"curves")
    (tmp_path / "plots/class_histograms.png").write_bytes(b"histograms")
    features = {"linear": 0.612, "knn": 0.634}
    write_json(
        tmp_path / "metrics/linear_eval.json",
        {"moco": features, "simclr": features, "pixels": {"linear": 0.391, "knn": 0.454}},
    )
    write_json(tmp_path / "metrics/provenance.json", PROVENANCE)
    readme = load("readme_results")
    text = f"# Title\n\n{readme.BEGIN}\nold\n{readme.END}\n\nProse stays.\n"
    (tmp_path / "docs").mkdir()
    for page in (readme.README, readme.DETAILS, readme.METHOD):
        (tmp_path / page).write_text(text)
    return tmp_path


def test_best_as_shown_is_bold_ties_too():
    rows = markdown_results(ACCURACIES).splitlines()
    assert "| 100 | 71.0 ± 1.4 | **73.0 ± 2.8** | 70.0 ± 0.0 | **73.0 ± 0.0** |" in rows
    assert "| 120 | 80.0 ± 0.0 | **81.0 ± 0.0** | - | - |" in rows


def test_differences_to_random_stand_below():
    # Student's 97.5% quantile at 1 degree of freedom is 12.706: 1 point +- 12.7062 x 1.
    assert "- MoCo-v2 + k-center: +1.00 (-11.71 to +13.71)" in markdown_results(ACCURACIES)


def test_plain_table_is_ascii_and_aligned():
    lines = plain_table(ACCURACIES).splitlines()
    assert lines[0] == "Test accuracy in %, mean +- standard deviation of 2 seeds:"
    assert len({len(line) for line in lines[2:]}) == 1
    assert " ".join(lines[3].split()) == "100 71.0 +- 1.4 73.0 +- 2.8 70.0 +- 0.0 73.0 +- 0.0"
    assert plain_table(ACCURACIES).isascii()


def test_one_seed_has_no_spread():
    lines = plain_table({5: {"moco": {0: 0.5}}}).splitlines()
    assert lines[0] == "Test accuracy in %, 1 seed:"
    assert lines[3].split() == ["5", "50.0"]  # what no budget holds has no column
    assert "±" not in markdown_results({5: {"moco": {0: 0.5}}})


def test_check_fails_until_written_and_when_a_metric_changes(root, call):
    stale = r"README.md is older than the metrics; run scripts/readme_results.py"
    with pytest.raises(InputError, match=stale):
        call("readme_results", "--check")
    assert "\nold\n" in (root / "README.md").read_text()

    call("readme_results")
    text = (root / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Title\n")
    assert text.endswith("\n\nProse stays.\n")
    assert "\nold\n" not in text
    assert "(docs/results.png)" in text
    assert (root / "docs/results.png").read_bytes().startswith(b"\x89PNG")
    for line in FIRST_SCREEN:
        assert line in text
    method = (root / "docs/METHOD.md").read_text(encoding="utf-8")
    assert "| SimCLR, as it is | k-center | -4.0 | -4.0 | -4.0 |  | -4.0 |  |" in method
    assert "| Existing model, a long tail of it, balanced accuracy | coverage |" in method
    details = (root / "docs/RESULTS.md").read_text(encoding="utf-8")
    assert "(../plots/class_histograms.png)" in details
    assert "(../plots/learning_curves.png)" in details
    assert "(../plots/probe_curves.png)" in details
    assert "| 120 | 80.0 ± 0.0 | **81.0 ± 0.0** | - | - | - |" in details
    assert details.count("MoCo-v2 + k-center: +1.00") == 1
    assert "| 100 | +1.00 (-11.71 to +13.71) |" in details
    assert "Profile `laptop`, seeds 0, 1; 60 minutes in all:" in details
    assert "| a GPU; PyTorch 2.11.0 | train_budget 3,612 | 3,612 |" in details
    assert "| 2 cores; PyTorch 2.15.0 | download 8, embed 1 | 9 |" in details
    assert "| raw pixels | 39.1 | 45.4 |" in details
    call("readme_results", "--check")
    call("readme_results")
    assert (root / "README.md").read_text(encoding="utf-8") == text

    write_json(root / "metrics/provenance.json", PROVENANCE | {"seeds": [0, 2]})
    with pytest.raises(InputError, match=r"docs/RESULTS.md is older than the metrics"):
        call("readme_results", "--check")


@pytest.mark.parametrize(
    ("accuracies", "rows"),
    [
        (ACCURACIES, probe_rows()),
        ({5000: {method: {0: runs[0]} for method, runs in RUN[5000].items()}}, probe_rows()),
        (RUN, probe_rows(n_resamples=1)),
        (RUN, (row for row in probe_rows() if row[5] != 50)),
    ],
    ids=["no recommended order", "one seed", "one pool", "no 50 labels"],
)
def test_first_screen_says_what_the_results_lack(root, call, accuracies, rows):
    write_csv(root / "plots/learning_curves.csv", CSV_HEADER, to_rows(accuracies))
    write_csv(root / "plots/probe_curves.csv", PROBE_HEADER, rows)
    with pytest.raises(InputError, match=r"README shows .* the results lack some of it: run"):
        call("readme_results")


def test_provenance_tells_machines_apart(root, call, tmp_path):
    stages = {"download": 100, "train_budget@100": 110, "train_budget@120": 125, "embed": 145}
    for stage, written in stages.items():
        (root / stage).mkdir()
        (root / stage / "out").touch()
        for path in (root / stage / "out", root / stage):
            os.utime(path, (written, written))
    write_json(root / "dvc.lock", {"stages": {s: {"outs": [{"path": s}]} for s in stages}})
    gpu = {"hardware": "a GPU", "torch": "2.11.0", "stage_seconds": {"train_budget": 7.04}}
    write_json(root / "gpu.json", gpu)
    write_json(root / "here.json", {"stage_seconds": {"download": 3}})

    def machines(*files):
        call("provenance", *files)
        found = read_json(root / "metrics/provenance.json")["machines"]
        return [(machine["hardware"], machine["stage_seconds"]) for machine in found]

    here = load("provenance").hardware()
    assert machines() == [(here, {"download": 0, "train_budget": 25, "embed": 20})]
    assert machines("gpu.json", "here.json") == [
        ("a GPU", {"train_budget": 7.0}),
        (here, {"download": 3, "embed": 20}),
    ]
    with pytest.raises(InputError, match=r"'train_budget' is not in dvc.lock, or in two files"):
        call("provenance", "gpu.json", "gpu.json")
    shutil.rmtree(root / "embed")
    with pytest.raises(InputError, match=r"embed does not exist; run `dvc repro` to its end"):
        call("provenance")


def test_check_exits_with_one_sentence(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["readme_results", "--check"])
    monkeypatch.setattr("zeroshot_al.process.stage.prepare_process", lambda: None)
    with pytest.raises(SystemExit, match=r"^readme_results: README.md is older than the metrics"):
        runpy.run_path(str(SCRIPTS / "readme_results.py"), run_name="__main__")


@pytest.mark.parametrize("text", ["none", "{END} {BEGIN}", "{BEGIN} {END} {END}", "{BEGIN}"])
def test_markers_must_stand_once_and_in_order(text):
    readme = load("readme_results")
    with pytest.raises(InputError, match=r"README.md must hold .* once each; add them"):
        readme.replace_block(text.format(BEGIN=readme.BEGIN, END=readme.END), "new", "README.md")


def test_show_results_of_a_directory(root):
    shown = load("show_results").describe(root)
    assert "73.0 +- 2.8" in shown
    assert "MoCo-v2 + k-center: +1.00 (+0.00, +2.00)" in shown
    assert str(root / "plots/class_histograms.png") in shown
    (root / "plots/class_histograms.png").unlink()
    assert "class_histograms" not in load("show_results").describe(root)


def test_show_results_of_an_experiment_out_of_git(root, call, capsys):
    pytest.importorskip("dvc")

    def git(*arguments):
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "run")
    # Where DVC puts the commit of an experiment; the workspace then goes its own way.
    git("update-ref", f"refs/exps/ab/{'c' * 38}/demo", "HEAD")
    git("rm", "-qr", "plots")
    git("commit", "-qm", "later")

    call("show_results", "--experiment", "demo", "--pictures", "out")
    shown = capsys.readouterr().out
    assert "73.0 +- 2.8" in shown
    assert (root / "out/plots/learning_curves.png").read_bytes() == b"curves"
    assert str(root / "out/plots/learning_curves.png") in shown
    assert not (root / "plots").exists()

    with pytest.raises(InputError, match="experiment 'nope' does not exist"):
        call("show_results", "--experiment", "nope")
    with pytest.raises(InputError, match=r"HEAD holds no plots/learning_curves.csv"):
        call("show_results", "--experiment", "HEAD")
