"""One optimiser step of every stage of the paper's profile: its widths, lowered counts.

A sixteenth of the images in a batch, a pool of a few dozen random ones, one step.
"""

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from pools import write_pool
from zeroshot_al.base.params import load_section
from zeroshot_al.base.pool import Pool
from zeroshot_al.classifier.classifier import ClassifierParams, train_classifier
from zeroshot_al.embedding.features import feature_batches
from zeroshot_al.engine.runtime import initial_weights, pick_device
from zeroshot_al.methods.moco import Moco, MocoParams
from zeroshot_al.methods.simclr import Simclr, SimclrParams
from zeroshot_al.selfsup.encoders import Encoder, EncoderParams
from zeroshot_al.selfsup.pretrain import PretrainParams, pretrain

N_TRAIN, N_TEST, BATCH_SIZE = 48, 16, 32


@pytest.fixture(scope="module")
def section(fresh_project):
    """Return a function that loads a section of the paper's profile."""
    project = fresh_project("paper_sections")
    project.set_params({"profile": "paper"})

    def load(name, cls):
        shared = "pretrain" if issubclass(cls, PretrainParams) else None
        return load_section(name, cls, project.root / "params.yaml", shared=shared)

    return load


@pytest.fixture(scope="module")
def images():
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, (N_TRAIN + N_TEST, 32, 32, 3), dtype=np.uint8)


def flat(module) -> torch.Tensor:
    return torch.cat([weight.detach().cpu().flatten() for weight in module.parameters()])


def test_the_recipes_are_the_published_ones(section):
    encoder = section("encoder", EncoderParams)
    assert (encoder.name, encoder.width) == ("resnet-18", 1.0)
    classifier = section("classifier", ClassifierParams)
    assert (classifier.depth, classifier.width, classifier.stem_stride) == (28, 10, 1)
    assert classifier.cutout_px == 16
    # 200 epochs of the 25,000 images of the largest budget.
    assert classifier.steps == pytest.approx(200 * 25_000 / classifier.batch_size, rel=0.01)
    for name, cls in (("moco", MocoParams), ("simclr", SimclrParams)):
        params = section(name, cls)
        assert params.epochs == 200
        views = params.views
        assert (views.min_area, views.flip_rate) == (0.08, 0.5)
        assert (views.jitter_rate, views.grayscale_rate) == (0.8, 0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cls"), [("moco", MocoParams), ("simclr", SimclrParams)])
def test_one_step_of_pretraining(section, images, tmp_path, name, cls):
    params = replace(section(name, cls), epochs=1, batch_size=BATCH_SIZE, warmup_epochs=0)
    initial_weights(params.seed)
    make = Moco if name == "moco" else Simclr
    method = make(section("encoder", EncoderParams), params)
    before = flat(method.encoder)
    ((epoch, loss, _),) = pretrain(method, images[:N_TRAIN], params, tmp_path)
    assert epoch == 1
    # At most about the logarithm of the number of candidates, that of random embeddings. Far less
    # in MoCo, whose queue begins random: an untrained network maps all images near each other.
    assert 0 < loss < 12
    after = flat(method.encoder)
    assert 11_000_000 < len(after) < 11_300_000  # a ResNet-18 with the CIFAR stem
    assert not torch.equal(before, after)
    assert torch.isfinite(after).all()


@pytest.mark.slow
def test_one_step_of_wrn_28_10(section, images, tmp_path):
    params = replace(section("classifier", ClassifierParams), steps=1, batch_size=8, warmup_steps=0)
    labels = np.arange(N_TRAIN) % 10
    done = []
    classifier = train_classifier(
        images[:N_TRAIN], labels, 10, params, seed=0, checkpoint_dir=tmp_path, on_step=done.append
    )
    assert sum(done) == 1
    assert 36_000_000 < len(flat(classifier.network)) < 37_000_000
    assert classifier.embed(images[:2]).shape == (2, 640)
    assert 0 <= classifier.accuracy(images[:4], labels[:4]) <= 1


def test_resnet_50_can_be_chosen(section, images):
    encoder = Encoder(replace(section("encoder", EncoderParams), name="resnet-50"))
    assert next(feature_batches(encoder, images[:2], pick_device())).shape == (2, 2048)


@pytest.mark.slow
def test_every_stage_takes_a_step(fresh_project, images):
    project = fresh_project("paper")
    budgets = [16, 24]
    counts = {"batch_size": BATCH_SIZE, "epochs": 1, "warmup_epochs": 0}
    changes = {f"profiles.paper.pretrain.{key}": value for key, value in counts.items()} | {
        "profiles.paper.classifier.steps": 1,
        "profiles.paper.classifier.warmup_steps": 0,
        "profiles.paper.classifier.batch_size": 8,
        "profiles.paper.embed.linear_max_iter": 5,
    }
    project.set_params(
        changes | {"profile": "paper", "budget": 24, "budgets": budgets, "seeds": [0]}
    )
    # Random images in the place of CIFAR-10, of its size: the one stage that is not run.
    write_pool(
        Pool(
            images,
            tuple(f"image-{i}" for i in range(len(images))),
            ("train",) * N_TRAIN + ("test",) * N_TEST,
            tuple(str(i % 10) for i in range(len(images))),
        ),
        project.root / "data/pool",
    )
    stages = [
        ["pretrain_moco"],
        ["pretrain_simclr"],
        ["embed"],
        ["kcenter_order"],
        ["zero_shot_order"],
        *(["train_budget", str(budget)] for budget in budgets),
        ["baseline_random"],
        ["baseline_coreset"],
        ["class_histograms"],
        ["learning_curves"],
    ]
    for stage in stages:
        done = project.stage(*stage)
        assert done.returncode == 0, done.stderr
    assert np.load(project.root / "data/embeddings/moco.npy").shape == (len(images), 512)
    names = chain.from_iterable(
        (project.root / "metrics" / directory).glob("*.json")
        for directory in ("train_budget", "baseline_random", "baseline_coreset", "by_budget")
    )
    assert {f"{budget}.json" for budget in budgets} <= {file.name for file in names}
