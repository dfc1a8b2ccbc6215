"""First steps on 2 and 4 ranks beside the same on one process, and beside float64.

Each number of ranks is started once for all of them; the tests look at what was found.
"""

import functools

import numpy as np
import pytest
import torch
from torch.nn import functional

from first_steps import (
    BATCH,
    BOUNDS,
    CLASSIFIERS,
    METHODS,
    assert_equal_weights,
    assert_same_first_step,
    classifiers,
    distance,
    first_classifier_step,
    gradient_of,
    make,
    make_classifier_params,
    methods,
    norms_step,
    precise,
)
from on_ranks import on_ranks
from tiny_training import noise, tinted
from zeroshot_al.base.ranks import ALONE
from zeroshot_al.classifier.augment_supervised import SupervisedViews
from zeroshot_al.classifier.classifier_models import make_model
from zeroshot_al.embedding.features import write_features
from zeroshot_al.engine.batches import BatchStream
from zeroshot_al.engine.pixels import pixel_statistics
from zeroshot_al.engine.runtime import VIEWS, generator_for, initial_weights
from zeroshot_al.engine.whitening import fit_whitening
from zeroshot_al.methods.moco import Moco
from zeroshot_al.methods.simclr import nt_xent
from zeroshot_al.selfsup import pretrain as pretrain_module
from zeroshot_al.selfsup.augment_contrastive import contrastive_views
from zeroshot_al.selfsup.pretrain import make_optimizer, pretrain

N_IMAGES = (3, 22, 33)  # to embed


def queue_of(method):
    return method.queue.clone() if isinstance(method, Moco) else torch.zeros(0)


def first_steps(name, precision, directory, ranks):
    """Loss, gradient and queue of each of the first two steps of `pretrain`, one an epoch."""
    method, params = make(name, epochs=2, learning_rate=0.01)
    steps = []

    def noting_optimizer(*arguments):
        optimizer = make_optimizer(*arguments)
        optimizer.register_step_post_hook(
            lambda *_: steps.append({"gradient": gradient_of(method), "queue": queue_of(method)})
        )
        return optimizer

    with pytest.MonkeyPatch.context() as patch:
        precise(patch, pretrain_module, precision)
        patch.setattr(pretrain_module, "make_optimizer", noting_optimizer)
        history = pretrain(method, noise(BATCH), params, directory, ranks)
    return [step | {"loss": loss} for step, (_, loss, _) in zip(steps, history, strict=True)]


def write_some_features(directory, n_images, ranks):
    encoder = make("simclr")[0].encoder
    path = directory / f"{n_images}-{ranks.rank}.npy"
    encoder.batch_size = 4
    write_features(path, encoder, noise(n_images), torch.device("cpu"), ranks)
    return path.exists()


def all_first_steps(directory, ranks):
    steps = {
        name: {
            precision: first_steps(name, precision, directory / name / precision, ranks)
            for precision in BOUNDS
        }
        for name in METHODS
    }
    return steps | {
        "norms": norms_step(ranks),
        "classifiers": {
            model: first_classifier_step(model, directory / model, lambda n: None, ranks)
            for model in CLASSIFIERS
        },
        "writes": [write_some_features(directory, n, ranks) for n in N_IMAGES],
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    directory = tmp_path_factory.mktemp("alone")
    return all_first_steps(directory, ALONE) | {"directory": directory}


@pytest.fixture(scope="module", params=[2, 4])
def shared(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("shared")
    by_rank = on_ranks(request.param, all_first_steps, directory)
    return [found | {"directory": directory} for found in by_rank]


def test_batch_norm_is_that_of_the_whole_batch(shared):
    expected = norms_step(ALONE, torch.float64)
    close = functools.partial(torch.testing.assert_close, atol=1e-4, rtol=1e-5, check_dtype=False)
    for number, rows in enumerate(expected["rows"]):
        close(torch.cat([rank["norms"]["rows"][number] for rank in shared]), rows)
    for rank in shared:
        assert rank["norms"]["values"].keys() == expected["values"].keys()
        for name, value in expected["values"].items():
            close(rank["norms"]["values"][name], value)


@methods
@pytest.mark.parametrize("precision", BOUNDS)
def test_the_first_step_is_that_of_one_process(alone, shared, name, precision):
    for rank in shared:
        assert_same_first_step(rank[name][precision][0], alone[name][precision][0], precision)


@methods
def test_every_rank_has_the_same_gradient_and_queue(shared, name):
    for precision in BOUNDS:
        for step, expected in enumerate(shared[0][name][precision]):
            for rank in shared[1:]:
                found = rank[name][precision][step]
                assert found["loss"] == expected["loss"]
                assert torch.equal(found["gradient"], expected["gradient"])
                assert torch.equal(found["queue"], expected["queue"])


def test_the_queue_holds_the_keys_in_the_order_of_one_process(alone, shared):
    for step in range(2):
        queue, its_queue = (found["moco"]["float32"][step]["queue"] for found in (alone, shared[0]))
        # Other keys lie much farther apart.
        assert (its_queue - queue).abs().max() < 0.02
        assert (queue[1:] - queue[:-1]).abs().amax(dim=1).min() > 0.1


def in_float64(name):
    """Loss and gradient of the first step on one process, in float64 throughout."""
    method, params = make(name)
    images = torch.from_numpy(noise(BATCH))
    method.encoder.mean, method.encoder.std = pixel_statistics(images.numpy())
    queue = queue_of(method).double()
    method.double()
    generator = generator_for(0, VIEWS, 0)
    batch = images[BatchStream(BATCH, BATCH, 0).indices(0)]
    views = contrastive_views(batch.repeat(2, 1, 1, 1), params.views, generator).double()
    if name == "simclr":
        projected = method.head(method.encoder(views)).chunk(2)
        loss = nt_xent(*projected, params.temperature)
    else:
        # He et al., algorithm 1, symmetric; the key encoder is a copy of the encoder as yet.
        method.key_encoder.mean, method.key_encoder.std = method.encoder.mean, method.encoder.std
        first, second = views.chunk(2)
        losses = []
        for query_view, key_view in ((first, second), (second, first)):
            query = functional.normalize(method.head(method.encoder(query_view)))
            key = functional.normalize(shuffled_keys(method, key_view, generator))
            positive = (query * key).sum(dim=1, keepdim=True)
            logits = torch.cat([positive, query @ queue.T], dim=1) / params.temperature
            losses.append(functional.cross_entropy(logits, torch.zeros(BATCH, dtype=torch.long)))
        loss = sum(losses) / 2
    loss.backward()
    return loss.item(), gradient_of(method)


@torch.no_grad()
def shuffled_keys(method, views, generator):
    """Keys of 4 parts of the shuffled views, each part with its own statistics."""
    order = torch.randperm(len(views), generator=generator)
    parts = [method.key_head(method.key_encoder(part)) for part in views[order].chunk(4)]
    return torch.cat(parts)[order.argsort()]


def classifier_in_float64(model):
    """Loss and gradient of the first step on one process, in float64 throughout."""
    params = make_classifier_params(model)
    images, labels = map(torch.from_numpy, tinted(48, side=params.crop_px))
    initial_weights(0)
    network = make_model(model, params.depth, params.width, params.stem_stride, 3, params.crop_px)
    statistics = pixel_statistics(images.numpy())
    fit_whitening(network, images.numpy(), *statistics)
    network = network.double()
    views = SupervisedViews(
        images, params.crop_px, params.pad_px, params.flip_rate, params.cutout_px, *statistics
    )
    batch = BatchStream(48, 16, 0).indices(0)
    out = network(views(batch, generator_for(0, VIEWS, 0)).double())
    loss = functional.cross_entropy(out, labels[batch], label_smoothing=params.label_smoothing)
    loss.backward()
    return loss.item(), gradient_of(network)


def assert_exact(found, loss, gradient, of_gradient=1e-4):
    assert found["loss"] == pytest.approx(loss, abs=1e-5)
    assert distance(found["gradient"], gradient) < of_gradient


@methods
def test_pretraining_on_ranks_is_exact_where_float64_is_the_judge(shared, name):
    expected = in_float64(name)
    for rank in shared:
        assert_exact(rank[name]["float32"][0], *expected)


@classifiers
def test_a_classifiers_first_step_is_that_of_one_process_and_exact(alone, shared, model):
    expected = classifier_in_float64(model)
    by_rank = [rank["classifiers"][model] for rank in shared]
    for found in by_rank:
        assert_same_first_step(found, alone["classifiers"][model])
        # Of two nearly equal values max-pooling may take the other one.
        assert_exact(found, *expected, of_gradient=5e-3 if model == "airbench" else 1e-4)
    assert_equal_weights([found["weights"] for found in by_rank])


def test_features_are_the_same_bytes_and_the_first_rank_writes_them(alone, shared, tmp_path):
    assert [rank["writes"] for rank in shared] == [[rank is shared[0]] * 3 for rank in shared]
    for n_images in N_IMAGES:
        files = [found["directory"] / f"{n_images}-0.npy" for found in (alone, shared[0])]
        assert files[1].read_bytes() == files[0].read_bytes()
        np.save(tmp_path / "again.npy", np.load(files[0]))
        assert files[0].read_bytes() == (tmp_path / "again.npy").read_bytes()
