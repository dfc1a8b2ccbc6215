"""Complete trainings on two ranks beside the same on one process; the ranks are started once."""

import functools
import shutil

import numpy as np
import pytest

from first_steps import (
    CLASSIFIERS,
    METHODS,
    assert_equal_weights,
    assert_same_first_step,
    classifiers,
    first_classifier_step,
    make,
    make_classifier_params,
    methods,
    precise,
)
from on_ranks import on_ranks
from tiny_training import classifier_params, noise, tinted
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier.classifier import train_classifier
from zeroshot_al.classifier.side_by_side import side_by_side
from zeroshot_al.engine.checkpoint import Checkpoint
from zeroshot_al.selfsup import pretrain as pretrain_module
from zeroshot_al.selfsup.pretrain import pretrain

# Of the loss of each of 4 epochs, as docs/RANKS.md states; another seed's lies 0.1 to 0.2 away.
CURVE_BOUND = 0.02


def pretrained(name, directory, ranks):
    """History and weights of 4 epochs of 3 steps; `directory`-cut keeps the second's checkpoint."""
    images, _ = tinted(96)
    # Gently: the more a step changes, the more it amplifies rounding.
    method, params = make(name, epochs=4, learning_rate=0.002, temperature=0.5)
    compute, n_steps = method.training_loss, iter(range(12))

    def training_loss(*views):
        if next(n_steps) == 7 and ranks.is_first:
            shutil.copytree(directory, f"{directory}-cut")
        return compute(*views)

    method.training_loss = training_loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain_module, "Checkpoint", functools.partial(Checkpoint, every_s=0.0))
        precise(patch, pretrain_module, "float32")
        history = pretrain(method, images, params, directory, ranks)
    return {"history": list(map(list, history)), "weights": dict(method.encoder.state_dict())}


class LoneTraining:
    n_steps = 1

    def run(self, directory, on_step, ranks):
        return first_classifier_step("wide-resnet", directory, on_step, ranks)


def classified(model, directory, ranks):
    n_done = []
    params = make_classifier_params(model, steps=30)
    images, labels = tinted(48, side=params.crop_px)
    classifier = train_classifier(images, labels, 3, params, 0, directory, n_done.append, ranks)
    return {
        # An odd number: the ranks' parts differ.
        "accuracy": classifier.accuracy(images[:47], labels[:47]),
        "features": classifier.embed(images[:7]),
        "of one image": classifier.embed(images[:1]),
        "n_done": sum(n_done),
        "weights": dict(classifier.network.state_dict()),
    }


def complete_trainings(directory, started_alone, ranks):
    """Complete trainings; those that were begun on one process are continued too."""
    return {
        "pretrained": {name: pretrained(name, directory / name, ranks) for name in METHODS},
        "continued": {
            name: pretrained(name, started_alone / f"{name}-cut", ranks) for name in METHODS
        }
        if started_alone
        else None,
        "classified": {model: classified(model, directory / model, ranks) for model in CLASSIFIERS},
        "lone training": side_by_side([LoneTraining()], directory, "one", ranks)[0],
    }


@pytest.fixture(scope="module")
def on_one(tmp_path_factory):
    directory = tmp_path_factory.mktemp("on_one")
    return complete_trainings(directory, None, ALONE) | {"directory": directory}


@pytest.fixture(scope="module")
def on_two(on_one, tmp_path_factory):
    directory = tmp_path_factory.mktemp("on_two")
    by_rank = on_ranks(2, complete_trainings, directory, on_one["directory"])
    return [found | {"directory": directory} for found in by_rank]


def losses(found):
    return [loss for _, loss, _ in found["history"]]


@methods
def test_pretraining_runs_and_continues_with_another_number_of_ranks(on_one, on_two, name):
    for kind in ("pretrained", "continued"):
        assert_equal_weights([rank[kind][name]["weights"] for rank in on_two])
    complete = on_two[0]["pretrained"][name]
    expected = losses(on_one["pretrained"][name])
    assert losses(complete) == pytest.approx(expected, abs=CURVE_BOUND)
    # Six steps on two ranks, the others here: two epochs of the history are theirs, to the bit.
    continued = pretrained(name, on_two[0]["directory"] / f"{name}-cut", ALONE)
    assert continued["history"][:2] == complete["history"][:2]
    assert losses(continued) == pytest.approx(losses(complete), abs=CURVE_BOUND)
    # And the other way round.
    continued = on_two[0]["continued"][name]["history"]
    assert continued[:2] == on_one["pretrained"][name]["history"][:2]
    assert len(continued) == 4


def test_batches_and_keys_that_cannot_be_shared_are_refused(tmp_path):
    three = Ranks(0, 3, 3)
    method, params = make("simclr")
    with pytest.raises(InputError, match="batch_size 32 cannot be shared equally by 3 ranks"):
        pretrain(method, noise(64), params, tmp_path, three)
    method, params = make("moco", batch_size=30, queue_size=60, symmetric=False)
    with pytest.raises(InputError, match="key_splits 4 cannot be dealt equally to 3 ranks"):
        pretrain(method, noise(64), params, tmp_path, three)
    with pytest.raises(InputError, match="batch_size 8 cannot be shared equally by 3 ranks"):
        train_classifier(*tinted(9), 3, classifier_params(), 0, tmp_path, print, three)
    assert list(tmp_path.iterdir()) == []


def test_fewer_trainings_than_ranks_are_shared(on_one, on_two):
    assert on_one["lone training"]["n_ranks"] == 1
    found = [rank["lone training"] for rank in on_two]
    for rank in found:
        assert rank["n_ranks"] == 2
        assert_same_first_step(rank, on_one["lone training"])
    assert_equal_weights([rank["weights"] for rank in found])


@classifiers
def test_a_classifier_learns_on_ranks_as_on_one_process(on_one, on_two, model):
    by_rank, alone = [rank["classified"][model] for rank in on_two], on_one["classified"][model]
    assert_equal_weights([found["weights"] for found in by_rank])
    assert alone["accuracy"] > 0.6
    for found in by_rank:
        assert found["accuracy"] == by_rank[0]["accuracy"]
        assert found["accuracy"] == pytest.approx(alone["accuracy"], abs=0.15)
        assert np.array_equal(found["features"], by_rank[0]["features"])
        assert found["features"].shape == alone["features"].shape
        np.testing.assert_allclose(found["of one image"], found["features"][:1], atol=1e-4)
        assert found["n_done"] == 30
