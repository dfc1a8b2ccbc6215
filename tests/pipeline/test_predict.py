"""A model of the labels that came back, through the real stage scripts, and on another folder."""

import csv
import json
import sys

import pytest
import torch
from safetensors.torch import load_file

from pipeline.test_labels import N_IMAGES, SIDE, make_photos, next_batch, picks, save, stage
from zeroshot_al.selfsup.encoders import Encoder, EncoderParams, save_encoder

BUDGET = 30
CLASSES = {"blue", "red"}
MODEL = "data/predictions/model.json"
HEADER = ["id", "predicted", "probability", "margin", "labelled"]


def write_encoder(project, seed):
    """Save an encoder that was not trained: colours are told apart by its features all the same."""
    torch.manual_seed(seed)
    save_encoder(
        project.root / "models/simclr/simclr.safetensors", Encoder(EncoderParams("resnet-9", 0.125))
    )


@pytest.fixture(scope="module")
def labelled(fresh_project, tmp_path_factory):
    """Run a folder up to the labels of its first batch."""
    project, folder = fresh_project("predict"), tmp_path_factory.mktemp("predict")
    class_of = make_photos(folder / "photos", N_IMAGES, seed=0)
    settings = {
        "data.root": str(folder / "photos"),
        "data.size_px": SIDE,
        "encoder.width": 0.125,
        "annotate.n_random": 2,
        "annotate.n_clusters": 2,
        "annotate.map_points": 60,
        "annotate.random_share": 0.7,
        "labels.finetune.steps": 8,
        "labels.finetune.warmup_steps": 1,
        "classifier.steps": 30,
        "classifier.width": 1,
        "classifier.warmup_steps": 2,
        "classifier.batch_size": 16,
        "classifier.crop_px": SIDE,
        "classifier.pad_px": 1,
        "classifier.cutout_px": 4,
    }
    project.set_params(
        {"profile": "folder", "budget": BUDGET, "seeds": [0]}
        | {f"profiles.folder.{key}": value for key, value in settings.items()}
    )
    write_encoder(project, 0)
    for name in ("download", "embed", "kcenter_order"):
        stage(project, name)
    next_batch(project)
    label_batch(project, class_of, folder / "labels.csv")
    return project, folder, class_of


@pytest.fixture
def project(labelled, tmp_path):
    return labelled[0].copy(tmp_path / "project")


def label_batch(project, class_of, path, labels=()):
    """Add the labels of the batch in data/annotate to a file, and join them."""
    labels = [*labels, *({"id": row["id"], "label": class_of[row["id"]]} for row in picks(project))]
    save(path, labels)
    project.set_params({"profiles.folder.labels.file": str(path)})
    stage(project, "labels")
    project.run(sys.executable, "scripts/close_batch.py")
    return labels


def predictions(directory):
    with open(directory / "predictions.csv", newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        return reader.fieldnames, {row["id"]: row for row in reader}


def summary(project):
    return json.loads((project.root / "data/predictions/summary.json").read_text())


def test_two_rounds_of_labels(labelled, project, tmp_path):
    class_of = labelled[2]
    log = stage(project, "predict")
    assert "On 30 labels the model is right for " in log
    assert "On the 21 labels drawn at random alone: " in log
    assert "After the next batch this says what a batch adds" in log
    header, rows = predictions(project.root / "data/predictions")
    assert (header, rows.keys()) == (HEADER, class_of.keys())
    given = {row["id"] for row in picks(project)}
    for name, row in rows.items():
        assert row["labelled"] == (class_of[name] if name in given else "")
        assert 0.5 <= float(row["probability"]) <= 1
    right = [row["predicted"] == class_of[name] for name, row in rows.items()]
    assert sum(right) > 0.9 * N_IMAGES
    found = summary(project)
    assert found["accuracy"]["value"] > 0.8 and found["accuracy"]["n"] == 30
    assert found["classes"] == {
        name: sum(class_of[pick] == name for pick in given) for name in CLASSES
    }
    page = (project.root / "data/predictions/predictions.html").read_text(encoding="utf-8")
    assert page.count("<img") == 24 and "When to stop" not in page

    first = [{"id": name, "label": class_of[name]} for name in given]
    project.set_params({"budget": 10})
    next_batch(project)
    label_batch(project, class_of, tmp_path / "labels.csv", first)
    log = stage(project, "predict")
    assert "The last 10 labels changed the accuracy by " in log
    assert [row["labels"] for row in summary(project)["rounds"]] == [30, 40]
    page = (project.root / "data/predictions/predictions.html").read_text(encoding="utf-8")
    assert "When to stop" in page
    # The guesses go with the next batch.
    next_batch(project)
    tasks = json.loads((project.root / "data/annotate/label_studio.json").read_text())
    assert all(task["predictions"] for task in tasks)
    # The second file of labels in the place of the first, and not beside it.
    save(tmp_path / "labels.csv", first)
    stage(project, "labels")
    said = project.run(sys.executable, "scripts/close_batch.py")
    assert said.startswith("batches/2.csv: its labels are gone. LABELS takes the place of ")


def test_the_images_of_another_folder(labelled, project, tmp_path):
    stage(project, "predict")
    other = tmp_path / "other"
    class_of = make_photos(other, 12, seed=1, by_class=True)
    (other / "broken.png").write_bytes(b"no image")
    said = project.run(sys.executable, "scripts/predict_folder.py", other, "data/out")
    assert said == "data/out/predictions.csv: 12 images; data/out/rejected.csv: 1 files\n"
    header, rows = predictions(project.root / "data/out")
    assert (header, rows.keys()) == (HEADER[:-1], class_of.keys())
    assert sum(row["predicted"] == class_of[name] for name, row in rows.items()) >= 11
    assert "broken.png" in (project.root / "data/out/rejected.csv").read_text(encoding="utf-8-sig")
    # Of images that it has seen it says what predictions.csv says.
    project.run(sys.executable, "scripts/predict_folder.py", labelled[1] / "photos", "data/out")
    known = predictions(project.root / "data/predictions")[1]
    for name, row in predictions(project.root / "data/out")[1].items():
        assert row["predicted"] == known[name]["predicted"]
        before, after = (float(found["probability"]) for found in (known[name], row))
        assert after == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda project, _: write_encoder(project, 1), "was trained on the encoder "),
        (lambda project, _: (project.root / MODEL).unlink(), "run make train"),
        (lambda _, other: (other / "a.png").unlink(), "holds no image that can be opened"),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(project, tmp_path, spoil, words):
    stage(project, "predict")
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes((project.root / "docs/gallery.png").read_bytes())
    spoil(project, other)
    done = project.call(sys.executable, "scripts/predict_folder.py", other)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("predict_folder: ")]
    assert words in line
    assert not (project.root / "data/folder_predictions").exists()


@pytest.mark.parametrize("model", ["finetune", "network"])
def test_networks_in_place_of_a_head(labelled, project, tmp_path, model):
    project.set_params({"profiles.folder.labels.model": model})
    stage(project, "predict")
    rows = predictions(project.root / "data/predictions")[1]
    assert {row["predicted"] for row in rows.values()} <= CLASSES and len(rows) == N_IMAGES
    assert summary(project)["accuracy"]["value"] > 0.6
    if model == "finetune":
        before = load_file(project.root / "models/simclr/simclr.safetensors")
        after = load_file(project.root / "data/predictions/model.safetensors")
        name = next(name for name in before if name.endswith("weight"))
        assert not torch.equal(before[name], after[f"features.{name}"])
    project.run(sys.executable, "scripts/predict_folder.py", labelled[1] / "photos", "data/out")
    for name, row in predictions(project.root / "data/out")[1].items():
        assert row["predicted"] == rows[name]["predicted"]
    assert not (project.root / ".checkpoints/predict").exists() or not any(
        (project.root / ".checkpoints/predict").iterdir()
    )


def test_a_test_folder_and_a_class_with_one_label(labelled, project, tmp_path):
    tests = tmp_path / "tests"
    make_photos(tests, 20, seed=2, by_class=True)
    (tests / "green").mkdir()
    (tests / "blue/0.png").rename(tests / "green/0.png")
    rows = [{"id": row["id"], "label": labelled[2][row["id"]]} for row in picks(project)]
    rows[0]["label"] = "green"
    save(tmp_path / "labels.csv", rows)
    project.set_params(
        {
            "profiles.folder.labels.file": str(tmp_path / "labels.csv"),
            "profiles.folder.labels.test_root": str(tests),
        }
    )
    stage(project, "labels")
    log = stage(project, "predict")
    assert "On the 20 images of the test folder: " in log
    assert "Of green there is one label: it is trained on, and never tested." in log
    found = summary(project)
    assert found["accuracy_test"]["n"] == 20 and found["accuracy"]["n"] == BUDGET - 1


def test_without_labels_nothing_is_predicted(project):
    project.set_params({"profiles.folder.labels.file": None})
    stage(project, "labels")
    assert "no labels came back yet" in stage(project, "predict")
    assert list((project.root / "data/predictions").iterdir()) == []
