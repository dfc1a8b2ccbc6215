"""Runs in which other methods than MoCo and SimCLR together are active, through the real stages."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import resolve_model_data_config
from torch.nn.functional import interpolate

from pools import write_pool
from zeroshot_al.base.files import write_csv, write_json
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.kcenter import kcenter_order

N_TRAIN, N_TEST, CLASSES = 60, 30, ("cat", "dog", "emu")
BUDGETS = [10, 20]
HEADER = ["rank", "index", "id", "radius"]


@pytest.fixture(scope="module")
def small(fresh_project):
    """A project with a small pool of random images, and the outs of the two baselines."""
    project = fresh_project("active_methods")
    project.set_params(
        {
            "profile": "demo",
            "budget": 20,
            "budgets": BUDGETS,
            "seeds": [0],
            "profiles.demo.moco.epochs": 1,
            "profiles.demo.moco.batch_size": 16,
            "profiles.demo.simclr.epochs": 1,
            "profiles.demo.simclr.batch_size": 16,
            "profiles.demo.classifier.steps": 3,
            "profiles.demo.embed.knn_k": 5,
        }
    )
    n = N_TRAIN + N_TEST
    ids = tuple(f"image-{i}" for i in range(n))
    pool = Pool(
        np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8),
        ids,
        ("train",) * N_TRAIN + ("test",) * N_TEST,
        tuple(CLASSES[i % 3] for i in range(n)),
    )
    write_pool(pool, project.root / "data/pool")
    for method in ("random", "coreset"):
        write_csv(
            project.root / f"data/baselines/{method}.csv",
            ("seed", "rank", "index", "id"),
            [(0, rank, rank, ids[rank]) for rank in range(N_TRAIN)],
        )
        for budget in BUDGETS:
            runs = {method: [{"seed": 0, "accuracy": 0.5}]}
            write_json(project.root / f"metrics/baseline_{method}/{budget}.json", runs)
    return project


@pytest.fixture
def project(small, tmp_path):
    return small.copy(tmp_path / "project")


def run(project, *stages) -> list[str]:
    """Run stages that must succeed; return what each says."""
    said = []
    for stage in stages:
        done = project.stage(*([stage] if isinstance(stage, str) else stage))
        assert done.returncode == 0, done.stderr
        said.append(done.stderr)
    return said


def read_order(project, method) -> list[dict[str, str]]:
    with open(project.root / f"data/orders/{method}.csv", newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == HEADER
        return list(reader)


def trained(project) -> list[str]:
    """Return the methods with an encoder, of two whose outs exist."""
    found = []
    for method in ("moco", "simclr"):
        history = (project.root / f"plots/pretrain/{method}.csv").read_text()
        models = names(project, f"models/{method}")
        assert models == ([] if history.count("\n") == 1 else [f"{method}.safetensors"])
        found += [Path(model).stem for model in models]
    return found


def names(project, directory) -> list[str]:
    return sorted(file.name for file in (project.root / directory).iterdir())


def test_with_weights_nothing_is_pretrained_and_one_order_comes_out(project, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=3).eval()
    file = tmp_path / "vit.safetensors"
    save_file(model.state_dict(), file)
    # What an earlier run with both encoders left behind.
    for earlier in (
        "models/moco/moco.safetensors",
        "data/embeddings/moco.npy",
        "data/orders/moco.csv",
    ):
        (project.root / earlier).parent.mkdir(parents=True)
        (project.root / earlier).write_text("old")
    project.set_params({"profiles.demo.encoder.weights": f"test_vit:{file}"})
    said = run(
        project,
        "pretrain_moco",
        "pretrain_simclr",
        "embed",
        "kcenter_order",
        "zero_shot_order",
        *(("train_budget", str(budget)) for budget in BUDGETS),
        "class_histograms",
        "learning_curves",
    )

    assert trained(project) == []
    assert "epoch" not in said[0] + said[1]
    assert not (project.root / ".checkpoints/pretrain_moco").exists()

    # Timm's own model and numbers, and this test's own resizing.
    pool = load_pool(project.root / "data/pool")
    config = resolve_model_data_config(model)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    images = torch.tensor(pool.images).permute(0, 3, 1, 2) / 255
    views = interpolate(images, config["input_size"][1:], mode="bicubic", antialias=True)
    with torch.no_grad():
        views = (views.clamp(0, 1) - mean) / std
        expected = model.forward_head(model.forward_features(views), pre_logits=True).numpy()
    features = np.load(project.root / "data/embeddings/pretrained.npy")
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)
    assert names(project, "data/embeddings") == ["pretrained.npy"]
    assert names(project, "data/orders") == ["pretrained.csv"]
    assert names(project, "data/zero_shot_orders") == ["pretrained.csv"]
    order = [int(row["index"]) for row in read_order(project, "pretrained")]
    assert order == kcenter_order(features[:N_TRAIN], N_TRAIN, n_initial=1, seed=0).order.tolist()
    probe = json.loads((project.root / "metrics/linear_eval.json").read_text())
    assert list(probe) == ["pretrained", "pixels"]
    assert list(probe["pretrained"]) == ["linear", "knn"]
    runs = json.loads((project.root / "metrics/train_budget/20.json").read_text())
    assert list(runs) == ["pretrained", "pretrained_zero_shot"]
    for name in ("class_imbalance.json", "by_budget/20.json"):
        found = json.loads((project.root / "metrics" / name).read_text())
        assert list(found) == ["pretrained", "pretrained_zero_shot", "random", "coreset"]


def test_one_of_the_two_methods_alone(project):
    project.set_params({"profiles.demo.moco.active": False})
    run(project, "pretrain_moco", "pretrain_simclr", "embed", "kcenter_order")
    assert trained(project) == ["simclr"]
    assert names(project, "data/embeddings") == ["simclr.npy"]
    assert names(project, "data/orders") == ["simclr.csv"]
    assert len(read_order(project, "simclr")) == N_TRAIN
    # Without a method embed says what to do, and leaves the embeddings.
    project.set_params({"profiles.demo.simclr.active": False})
    run(project, "pretrain_simclr")
    done = project.stage("embed")
    assert done.returncode == 1
    assert "models holds no encoder; set active of a method to true" in done.stderr
    assert names(project, "data/embeddings") == ["simclr.npy"]


def test_an_existing_model_joins_the_methods_where_its_file_is(project, tmp_path):
    torch.manual_seed(0)
    file = tmp_path / "vit.safetensors"
    project.set_params(
        {"profiles.demo.encoder.weights": f"test_vit:{file}", "profiles.demo.encoder.alone": False}
    )
    said = run(project, "pretrain_moco", "pretrain_simclr", "embed")
    assert trained(project) == ["moco", "simclr"]
    assert f"{file} is not a file" in said[2] and "going on without this model" in said[2]
    assert names(project, "data/embeddings") == ["moco.npy", "simclr.npy"]
    save_file(timm.create_model("test_vit").state_dict(), file)
    run(project, "embed")
    assert names(project, "data/embeddings") == ["moco.npy", "pretrained.npy", "simclr.npy"]


def test_ready_made_embeddings_are_the_method_pretrained(project, tmp_path):
    rows = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    (tmp_path / "ids.txt").write_text("".join(f"photo {i}\n" for i in range(40)))
    project.set_params(
        {
            "profiles.demo.data.source": "embeddings",
            "profiles.demo.data.root": str(tmp_path / "rows.npy"),
            "profiles.demo.data.ids": str(tmp_path / "ids.txt"),
        }
    )
    run(project, "download", "pretrain_moco", "pretrain_simclr", "embed", "kcenter_order")
    assert trained(project) == []
    ids = load_pool(project.root / "data/pool").ids
    through = np.load(project.root / "data/embeddings/pretrained.npy")
    place = [int(name.removeprefix("photo ")) for name in ids]
    np.testing.assert_array_equal(through, rows[place])
    assert names(project, "data/embeddings") == ["pretrained.npy"]
    assert names(project, "data/orders") == ["pretrained.csv"]
    assert json.loads((project.root / "metrics/linear_eval.json").read_text()) == {}
    assert {row["id"] for row in read_order(project, "pretrained")} == set(ids)


def test_no_embeddings_and_no_orders_are_reported(project):
    for rule in ("kcenter", "zero_shot"):
        done = project.stage(f"{rule}_order")
        assert done.returncode == 1
        assert "data/embeddings holds no embeddings; run embed" in done.stderr
    file = project.root / "data/orders/moco.csv"
    for sentence, rows in (
        ("data/orders holds no order; run kcenter_order", []),
        (
            "data/orders/moco.csv holds no order; run the stage that writes it",
            [(0, 0, "image-0", 1)],
        ),
        ("data/zero_shot_orders holds no order; run zero_shot_order", []),
    ):
        done = project.stage("train_budget", "20")
        assert done.returncode == 1
        assert sentence in done.stderr
        write_csv(file, HEADER, rows)
