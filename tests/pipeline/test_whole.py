"""The demo, run whole by `make demo` with fewer steps: what it leaves behind, and in what form."""

import csv
import json
import re
import signal
import subprocess
import sys
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from forked_stage import run_forked
from pipeline.stand_in import describe_stages
from zeroshot_al.base.params import read_yaml
from zeroshot_al.base.pool import load_pool
from zeroshot_al.coverage import zero_shot_order
from zeroshot_al.kcenter import kcenter_order

N_TRAIN, N_TEST, N_CLASSES = 1400, 397, 10
ENCODERS, ZERO_SHOT = ("moco", "simclr"), ("moco", "simclr", "simclr_zero_shot")
METHODS = (*ZERO_SHOT, "random", "coreset")


def read_rows(file, header: str) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        assert ",".join(reader.fieldnames) == header
        return list(reader)


def read_seeded(file) -> dict[int, list[int]]:
    """Return the indices of each seed, after a check of their ranks."""
    orders: dict[int, list[int]] = {}
    for row in read_rows(file, "seed,rank,index,id"):
        picks = orders.setdefault(int(row["seed"]), [])
        assert int(row["rank"]) == len(picks)
        picks.append(int(row["index"]))
    return orders


@pytest.fixture(scope="module")
def root(finished):
    return finished.root


@pytest.fixture(scope="module")
def params(finished):
    params = finished.params()
    return params | {"budgets": list(dict.fromkeys(params["budgets"]))}


@pytest.fixture(scope="module")
def sections(finished):
    return finished.sections("demo")


def test_the_demo_prints_its_table_and_pictures(demo, params):
    done = demo[0]
    cells = [line.split() for line in done.stdout.replace(",", "").splitlines()]
    shown = [int(words[0]) for words in cells if words and words[0].isdigit()]
    assert [budget for budget in shown if budget in params["budgets"]] == params["budgets"]
    for name in ("learning_curves.png", "class_histograms.png", "probe_curves.png"):
        line = next(line for line in done.stdout.splitlines() if line.endswith(name))
        assert Image.open(line[line.index("/") :]).size > (400, 300)
    gallery = next(line for line in done.stdout.splitlines() if line.endswith("gallery.html"))
    assert "</html>" in Path(gallery.split(maxsplit=1)[-1]).read_text(encoding="utf-8")
    assert "Traceback" not in done.stderr


def test_the_demo_leaves_the_workspace_clean(demo):
    project = demo[1]
    assert project.run("git", "status", "--porcelain") == ""
    for name in ("data", "models"):
        assert {file.name for file in (project.root / name).rglob("*.*")} == {".gitignore"}
    assert project.run("git", "log", "--oneline").count("\n") == 1


def test_the_results_can_be_shown_again(demo):
    done, project = demo
    again = project.run(sys.executable, "scripts/show_results.py", "--experiment", "demo")
    assert again.strip() in done.stdout


def test_all_stages_ran_with_the_profile_s_params(finished, params):
    lock = read_yaml((finished.root / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    trained = [f"train_budget@{budget}" for budget in params["budgets"]]
    before = ["download", "pretrain_moco", "pretrain_simclr", "embed", "kcenter_order", "annotate"]
    before += ["zero_shot_order", "probe_curves", "labels", "predict"]
    after = ["baseline_random", "baseline_coreset", "class_histograms", "learning_curves"]
    # The lock also keeps the stages of budgets that are not the demo's.
    for stage in before + trained + after:
        assert lock[stage]["cmd"].split()[1] == f"src/{stage.partition('@')[0]}.py"
        assert "profiles.laptop" not in str(lock[stage]["params"])
    assert finished.run("dvc", "status", "--json").strip() == "{}"


# Read where the pool has no labels of its own, test_labels.py, or by the other rule.
NOT_READ_HERE = {("zero_shot_order", path) for path in ("batches", "data/labels/labelled.csv")}
NOT_READ_HERE |= {("annotate", path) for path in ("batches", "data/orders", "data/predictions")}
NOT_READ_HERE |= {("predict", f"models/{name}") for name in ENCODERS}
NOT_READ_HERE |= {("predict", path) for path in ("batches", "data/embeddings")}


def within(path: str, directory: str) -> bool:
    return f"{path}/".startswith(f"{directory}/")


def test_each_stage_reads_the_data_that_it_lists(finished, read_logs):
    for script, stage in describe_stages(finished.root).items():
        name = Path(script).stem
        lines = set((read_logs / name).read_text(encoding="utf-8").splitlines())
        # Without what it is still writing, under a temporary name.
        read = [path for path in lines if re.match(r"(data|models|metrics)/(?!.*\B\.)", path)]
        listed = [*stage["deps"], *stage["outs"]]
        for path in read:
            # To write a file, the directories above it are listed, too.
            assert any(within(path, entry) or within(entry, path) for entry in listed), (name, path)
        unread = {dep for dep in stage["deps"] if not any(within(path, dep) for path in read)}
        assert {(name, dep) for dep in unread} == {key for key in NOT_READ_HERE if key[0] == name}


def test_pool(root):
    pool = load_pool(root / "data/pool")
    assert pool.images.shape == (N_TRAIN + N_TEST, 16, 16, 3)
    assert (pool.n_train, len(pool.classes)) == (N_TRAIN, N_CLASSES)
    rows = read_rows(root / "data/pool/index.csv", "id,split,label")
    assert [row["split"] for row in rows] == ["train"] * N_TRAIN + ["test"] * N_TEST


@pytest.mark.parametrize("method", ENCODERS)
def test_pretraining(root, sections, method):
    rows = read_rows(root / f"plots/pretrain/{method}.csv", "epoch,loss,learning_rate")
    epochs = sections[method]["epochs"]
    assert [int(row["epoch"]) for row in rows] == list(range(1, epochs + 1))
    assert all(float(row["loss"]) > 0 for row in rows)
    weights = load_file(root / f"models/{method}/{method}.safetensors")
    assert all(np.isfinite(array).all() for array in weights.values())
    assert not any(key.startswith(("head", "key_")) for key in weights)


@pytest.mark.parametrize("method", ENCODERS)
def test_embeddings_and_orders(root, params, sections, method):
    embeddings = np.load(root / f"data/embeddings/{method}.npy", allow_pickle=False)
    assert embeddings.dtype == np.float32
    assert len(embeddings) == N_TRAIN + N_TEST
    assert np.isfinite(embeddings).all()

    rows = read_rows(root / f"data/orders/{method}.csv", "rank,index,id,radius")
    order = [int(row["index"]) for row in rows]
    assert [int(row["rank"]) for row in rows] == list(range(N_TRAIN))
    assert sorted(order) == list(range(N_TRAIN))
    ids = load_pool(root / "data/pool").ids
    assert [row["id"] for row in rows] == [ids[index] for index in order]
    n_initial = sections["kcenter"]["n_initial"]
    radii = [float(row["radius"]) for row in rows][n_initial:]
    assert all(near <= far for far, near in pairwise(radii))
    # Asked for a smaller budget, k-center gives the prefix.
    kcenter = sections["kcenter"]
    for budget in params["budgets"][:3]:
        assert (
            kcenter_order(embeddings[:N_TRAIN], budget, **kcenter).order.tolist() == order[:budget]
        )
    rows = read_rows(root / f"data/zero_shot_orders/{method}.csv", "rank,index,id,reason")
    found = zero_shot_order(embeddings[:N_TRAIN], 50)
    assert [int(row["rank"]) for row in rows] == list(range(N_TRAIN))
    assert [int(row["index"]) for row in rows[:50]] == found.order.tolist()
    assert [row["reason"] for row in rows[:50]] == list(found.reasons)
    assert sorted(int(row["index"]) for row in rows) == list(range(N_TRAIN))
    assert [row["id"] for row in rows] == [ids[int(row["index"])] for row in rows]


def test_baseline_orders(root, params):
    random, coreset = (read_seeded(root / f"data/baselines/{m}.csv") for m in ("random", "coreset"))
    assert list(random) == list(coreset) == params["seeds"]
    for seed in params["seeds"]:
        assert sorted(random[seed]) == list(range(N_TRAIN))
        assert len(set(coreset[seed])) == len(coreset[seed]) == max(params["budgets"])
        first = params["budgets"][0]
        assert coreset[seed][:first] == random[seed][:first]
    assert len({tuple(order) for order in random.values()}) == len(random)


def test_metrics(root, params):
    probe = json.loads((root / "metrics/linear_eval.json").read_text())
    assert list(probe) == ["moco", "simclr", "pixels"]
    for accuracies in probe.values():
        assert list(accuracies) == ["linear", "knn"]
        assert all(2 / N_CLASSES < accuracy <= 1 for accuracy in accuracies.values())

    by_stage = {
        "train_budget": ZERO_SHOT,
        "baseline_random": ["random"],
        "baseline_coreset": ["coreset"],
    }
    names = {f"{budget}.json" for budget in params["budgets"]}
    for stage, methods in by_stage.items():
        for budget in params["budgets"]:
            runs = json.loads((root / f"metrics/{stage}/{budget}.json").read_text())
            means = json.loads((root / f"metrics/by_budget/{budget}.json").read_text())
            assert list(runs) == list(methods)
            assert list(means) == list(METHODS)
            for method in methods:
                assert [run["seed"] for run in runs[method]] == params["seeds"]
                mean = np.mean([run["accuracy"] for run in runs[method]])
                assert means[method] == pytest.approx(mean, abs=1e-6)
    assert {file.name for file in (root / "metrics/by_budget").iterdir()} == names
    imbalance = json.loads((root / "metrics/class_imbalance.json").read_text())
    assert list(imbalance) == list(METHODS)


def test_plots(root, params):
    rows = read_rows(root / "plots/learning_curves.csv", "budget,method,seed,accuracy")
    assert [(int(row["budget"]), row["method"], int(row["seed"])) for row in rows] == [
        (budget, method, seed)
        for budget in params["budgets"]
        for method in METHODS
        for seed in params["seeds"]
    ]
    rows = read_rows(root / "plots/class_histograms.csv", "method,class,count,min,max")
    for method in METHODS:
        counts = [float(row["count"]) for row in rows if row["method"] == method]
        assert len(counts) == N_CLASSES
        assert sum(counts) == pytest.approx(params["budget"], abs=0.01)


def test_probe_curves(root, sections):
    header = "encoder,pool,order,head,features,budget,n_resamples,accuracy,difference,labels_saved"
    rows = read_rows(root / "plots/probe_curves.csv", f"{header},low,high")
    probe, rules = sections["probe"], ("kcenter", "coverage", "zero_shot", "random")
    keys = ("encoder", "pool", "order", "head", "features", "budget")
    assert {tuple(row[key] for key in keys) for row in rows} == {
        (encoder, pool, order, head, features, str(budget))
        for encoder, features in product(ENCODERS, ENCODERS)
        for pool, order in product(("pool", "tail"), rules)
        for head in ("linear", "nearest")
        for budget in probe["budgets"]["drawn"]
    }
    assert {int(row["n_resamples"]) for row in rows} == {probe["pools"]["n_resamples"]}
    judged = json.loads((root / "metrics/probe/orders.json").read_text())
    for encoder in ENCODERS:
        assert tuple(judged[encoder]) == rules
        for verdict in judged[encoder].values():
            assert 0 <= verdict["broken_of_100"] <= 50
            assert min(verdict["all_classes_after"].values()) >= N_CLASSES


@pytest.mark.parametrize("name", ["learning_curves", "class_histograms", "probe_curves"])
def test_pictures_show_something(root, name):
    with Image.open(root / f"plots/{name}.png") as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        assert min(image.size) >= 400
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    assert len(colours) > 50
    assert counts.max() < 0.98 * len(pixels)
    for colour in ((0xE6, 0x9F, 0x00), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)):  # the methods'
        assert (colours == colour).all(axis=1).any()


def test_another_budget_draws_new_histograms(finished, params, tmp_path):
    project = finished.copy(tmp_path / "project")
    before = project.outs()
    output = project.run("dvc", "exp", "run", "-S", f"budget={params['budgets'][0]}")
    assert output.count("Running stage") == 3
    changed = {path for path, digest in project.outs().items() if digest != before.get(path)}
    assert {path for path in changed if not path.startswith("data/annotate/")} == {
        "plots/class_histograms.csv",
        "plots/class_histograms.png",
        "metrics/class_imbalance.json",
    }


# Runs a stage's script, saves a checkpoint at the first chance rather than every ten seconds, and
# then kills the stage, though it may be a worker process that saved.
KILL_AT_THE_FIRST_CHECKPOINT = """
import os, runpy, signal, sys
sys.path.insert(0, "src")
from zeroshot_al.engine.checkpoint import Checkpoint
save, stage = Checkpoint.save, os.getpid()

def save_and_kill(self, step, modules, optimizer, *, force=False):
    save(self, step, modules, optimizer, force=True)
    os.kill(stage, signal.SIGKILL)

Checkpoint.save = save_and_kill
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("stage", "arguments", "out"),
    [
        ("pretrain_moco", [], "models/moco/moco.safetensors"),
        ("train_budget", ["140"], "metrics/train_budget/140.json"),
        pytest.param(
            "pretrain_simclr", [], "models/simclr/simclr.safetensors", marks=pytest.mark.slow
        ),
        pytest.param("baseline_coreset", [], "data/baselines/coreset.csv", marks=pytest.mark.slow),
    ],
)
def test_a_killed_stage_continues_to_the_same_bytes(finished, tmp_path, stage, arguments, out):
    project = finished.copy(tmp_path / "project")
    whole = project.outs()
    (project.root / "kill.py").write_text(KILL_AT_THE_FIRST_CHECKPOINT)
    # As DVC does before it runs a stage.
    (project.root / out).unlink()
    without = project.outs()
    killed = run_forked(project.root, "kill.py", (f"src/{stage}.py", *arguments), project.env)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert project.outs() == without
    assert list((project.root / ".checkpoints" / stage).rglob("state.safetensors"))

    done = project.stage(stage, *arguments)
    assert done.returncode == 0, done.stderr
    if stage.startswith("pretrain"):
        assert "continuing at step 2" in done.stderr
    assert project.outs() == whole
    assert not list((project.root / ".checkpoints").rglob("*.safetensors"))


@pytest.mark.slow
def test_two_runs_from_scratch_write_the_same_bytes(fresh_project, finished, params):
    project = fresh_project("second")
    project.set_params(params)
    project.run("dvc", "repro")
    assert project.outs() == finished.outs()
    assert (project.root / "dvc.lock").read_bytes() == (finished.root / "dvc.lock").read_bytes()


@pytest.mark.slow
def test_a_second_demo_works_as_the_first(make_demo, demo):
    run, project = make_demo
    done: subprocess.CompletedProcess = run()
    assert done.returncode == 0, done.stderr
    assert project.run("git", "status", "--porcelain") == ""
    tail = [text.stdout[text.stdout.index("show_results") :] for text in (demo[0], done)]
    assert tail[0] == tail[1]
