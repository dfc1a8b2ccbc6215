"""Trainings on 2 and 4 ranks beside the same on one process, and beside float64."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from on_ranks import on_ranks
from tiny_training import classifier_params, moco_params, noise, simclr_params, tinted
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_json
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier import classifier as classifier_module
from zeroshot_al.classifier.augment_supervised import SupervisedViews
from zeroshot_al.classifier.classifier import train_classifier
from zeroshot_al.classifier.classifier_models import make_model
from zeroshot_al.classifier.side_by_side import side_by_side
from zeroshot_al.embedding.features import write_features
from zeroshot_al.engine.batches import BatchStream
from zeroshot_al.engine.checkpoint import Checkpoint
from zeroshot_al.engine.data_parallel import averaged, synchronized
from zeroshot_al.engine.pixels import pixel_statistics
from zeroshot_al.engine.runtime import VIEWS, generator_for, initial_weights
from zeroshot_al.methods.moco import Moco
from zeroshot_al.methods.simclr import Simclr, nt_xent
from zeroshot_al.selfsup import pretrain as module
from zeroshot_al.selfsup.augment_contrastive import contrastive_views
from zeroshot_al.selfsup.encoders import EncoderParams
from zeroshot_al.selfsup.pretrain import make_optimizer, pretrain

ENCODER = EncoderParams("resnet-9", 0.25)
BATCH = 32
N_RANKS = pytest.mark.parametrize("n_ranks", [2, 4])
methods = pytest.mark.parametrize("name", ["moco", "simclr"])


def make(name, **changes):
    changes = {"batch_size": BATCH, "head_hidden": 32, "head_dims": 16} | changes
    if name == "moco":
        changes = {"queue_size": 128, "key_splits": 4, "symmetric": True} | changes
    params = {"moco": moco_params, "simclr": simclr_params}[name](**changes)
    initial_weights(params.seed)
    return {"moco": Moco, "simclr": Simclr}[name](ENCODER, params).train(), params


def make_norms():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 36, 5),
        nn.BatchNorm1d(5),
    )
    with torch.no_grad():
        for norm in (network[1], network[5]):
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
    return network


def norms_step(network, images, targets):
    out = network(images)
    (out - targets).square().mean().backward()
    gradients = {name: weight.grad.clone() for name, weight in network.named_parameters()}
    state = {
        name.removeprefix("module."): value.clone() for name, value in network.state_dict().items()
    }
    network.eval()
    return out.detach(), gradients, state, network(images).detach()


def norms_on(ranks):
    images, targets = (
        torch.randn(16, 3, 8, 8, generator=generator_for(1)),
        torch.arange(80.0).view(16, 5),
    )
    network = averaged(synchronized(make_norms(), ranks), ranks)
    mine = ranks.rows_of(16)
    return norms_step(network, images[mine], targets[mine])


@N_RANKS
def test_batch_norm_is_that_of_the_whole_batch(n_ranks):
    images, targets = (
        torch.randn(16, 3, 8, 8, generator=generator_for(1)),
        torch.arange(80.0).view(16, 5),
    )
    out, gradients, state, after = norms_step(
        make_norms().double(), images.double(), targets.double()
    )
    by_rank = on_ranks(n_ranks, norms_on)
    close = functools.partial(torch.testing.assert_close, atol=1e-4, rtol=1e-5, check_dtype=False)
    close(torch.cat([part[0] for part in by_rank]), out)
    close(torch.cat([part[3] for part in by_rank]), after)  # by the running statistics
    for _, its_gradients, its_state, _ in by_rank:
        for name, gradient in gradients.items():
            close(its_gradients[f"module.{name}"], gradient)
        assert its_state.keys() == state.keys()
        for name, value in state.items():
            close(its_state[name], value)


def precise(patch, target, precision):
    """Let a module train in the given precision, whatever the machine has."""
    enabled = precision == "bf16"
    patch.setattr(target, "autocast", lambda _: torch.autocast("cpu", torch.bfloat16, enabled))


def first_steps(name, precision, directory, ranks=ALONE):
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
        precise(patch, module, precision)
        patch.setattr(module, "make_optimizer", noting_optimizer)
        history = pretrain(method, noise(BATCH), params, directory, ranks)
    return [step | {"loss": loss} for step, (_, loss, _) in zip(steps, history, strict=True)]


def gradient_of(network):
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    return torch.cat([weight.grad.flatten() for weight in trained]).double()


def queue_of(method):
    return method.queue.clone() if isinstance(method, Moco) else torch.zeros(0)


def all_first_steps(directory, ranks):
    return {
        name: {
            precision: first_steps(name, precision, directory / name / precision, ranks)
            for precision in BOUNDS
        }
        for name in ("moco", "simclr")
    }


def distance(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


# The bounds that docs/RANKS.md states: of the loss, absolute, and of the gradient, relative.
BOUNDS = {"float32": (1e-4, 1e-2), "bf16": (5e-2, 0.3)}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return all_first_steps(tmp_path_factory.mktemp("alone"), ALONE)


@pytest.fixture(scope="module", params=[2, 4])
def shared(request, tmp_path_factory):
    return on_ranks(request.param, all_first_steps, tmp_path_factory.mktemp("shared"))


@methods
@pytest.mark.parametrize("precision", BOUNDS)
def test_the_first_step_is_that_of_one_process(alone, shared, name, precision):
    of_loss, of_gradient = BOUNDS[precision]
    expected = alone[name][precision][0]
    for rank in shared:
        found = rank[name][precision][0]
        assert found["loss"] == pytest.approx(expected["loss"], abs=of_loss)
        assert distance(found["gradient"], expected["gradient"]) < of_gradient


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


@methods
def test_on_ranks_is_exact_where_float64_is_the_judge(shared, name):
    loss, gradient = in_float64(name)
    for rank in shared:
        found = rank[name]["float32"][0]
        assert found["loss"] == pytest.approx(loss, abs=1e-5)
        assert distance(found["gradient"], gradient) < 1e-4


# Of the loss of each of 4 epochs, as docs/RANKS.md states; another seed's lies 0.1 to 0.2 away.
CURVE_BOUND = 0.02


def pretrained(name, directory, epochs, ranks, stop_at=None):
    """History and weights of a pretraining; it is interrupted before the step `stop_at`."""
    module.Checkpoint = functools.partial(Checkpoint, every_s=0.0)
    images, _ = tinted(96)
    # Gently: the more a step changes, the more it amplifies rounding.
    method, params = make(name, epochs=epochs, learning_rate=0.002, temperature=0.5)
    compute, n_steps = method.training_loss, iter(range(1000))

    def training_loss(*views):
        if next(n_steps) == stop_at:
            raise KeyError("the interruption")
        return compute(*views)

    method.training_loss = training_loss
    with pytest.MonkeyPatch.context() as patch:
        precise(patch, module, "float32")
        history = pretrain(method, images, params, directory, ranks)
    return history, {key: value.clone() for key, value in method.encoder.state_dict().items()}


def pretrained_twice(directory, ranks):
    found = {}
    for name in ("moco", "simclr"):
        whole = pretrained(name, directory / f"{name}-whole", 4, ranks)
        with pytest.raises(KeyError):
            pretrained(name, directory / f"{name}-cut", 4, ranks, stop_at=7)
        found[name] = whole
    return found


def test_pretraining_runs_and_continues_with_another_number_of_ranks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Checkpoint", Checkpoint)  # put back what `pretrained` changes
    by_rank = on_ranks(2, pretrained_twice, tmp_path)
    for name in ("moco", "simclr"):
        history, weights = by_rank[0][name]
        expected, _ = pretrained(name, tmp_path / f"{name}-alone", 4, ALONE)
        losses, expected_losses = ([loss for _, loss, _ in rows] for rows in (history, expected))
        assert losses == pytest.approx(expected_losses, abs=CURVE_BOUND)
        for other in by_rank[1:]:
            assert all(torch.equal(other[name][1][key], value) for key, value in weights.items())
        # Six steps on two ranks, the others here: two epochs of the history are theirs, to the bit.
        continued, _ = pretrained(name, tmp_path / f"{name}-cut", 4, ALONE)
        assert [list(row) for row in continued[:2]] == history[:2]
        assert [loss for _, loss, _ in continued] == pytest.approx(losses, abs=CURVE_BOUND)
        (state,) = (tmp_path / f"{name}-cut").glob("*.safetensors")
        assert state.exists()


def test_pretraining_of_one_process_continues_on_ranks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Checkpoint", Checkpoint)
    for name in ("moco", "simclr"):
        with pytest.raises(KeyError):
            pretrained(name, tmp_path / name, 4, ALONE, stop_at=7)
        started = read_json(tmp_path / name / "history.json")["rows"]
        (history, weights), (_, others) = on_ranks(2, pretrained, name, tmp_path / name, 4)
        assert history[:2] == started[:2]
        assert len(history) == 4
        assert all(torch.equal(others[key], value) for key, value in weights.items())


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


CLASSIFIERS = {"wide-resnet": {}, "vit": {"depth": 1, "stem_stride": 4, "learning_rate": 0.03}}
classifiers = pytest.mark.parametrize("model", CLASSIFIERS)


def make_classifier_params(model, **changes):
    return classifier_params(name=model, batch_size=16, **CLASSIFIERS[model] | changes)


def first_classifier_step(model, directory, on_step, ranks=ALONE):
    """Loss, gradient and weights of the first step of `train_classifier`, in float32."""
    losses = []
    with pytest.MonkeyPatch.context() as patch:
        precise(patch, classifier_module, "float32")
        patch.setattr(classifier_module, "check_finite", lambda loss, *_: losses.append(loss))
        params = make_classifier_params(model, steps=1, warmup_steps=0)
        network = train_classifier(
            *tinted(48), 3, params, 0, directory / model, on_step, ranks
        ).network
    return {
        "loss": losses[0],
        "gradient": gradient_of(network),
        "weights": dict(network.state_dict()),
        "n_ranks": ranks.n_ranks,
    }


def classifier_in_float64(model):
    """Loss and gradient of the first step on one process, in float64 throughout."""
    images, labels = map(torch.from_numpy, tinted(48))
    params = make_classifier_params(model)
    initial_weights(0)
    network = make_model(
        model, params.depth, params.width, params.stem_stride, 3, params.crop_px
    ).double()
    views = SupervisedViews(
        images,
        params.crop_px,
        params.pad_px,
        params.flip_rate,
        params.cutout_px,
        *pixel_statistics(images.numpy()),
    )
    batch = BatchStream(48, 16, 0).indices(0)
    out = network(views(batch, generator_for(0, VIEWS, 0)).double())
    loss = functional.cross_entropy(out, labels[batch])
    loss.backward()
    return loss.item(), gradient_of(network)


def first_classifier_steps(directory, ranks):
    return {
        model: first_classifier_step(model, directory, lambda n: None, ranks)
        for model in CLASSIFIERS
    }


@pytest.fixture(scope="module")
def shared_classifiers(shared, tmp_path_factory):
    return on_ranks(len(shared), first_classifier_steps, tmp_path_factory.mktemp("classifiers"))


@classifiers
def test_a_classifiers_first_step_is_that_of_one_process(shared_classifiers, model, tmp_path):
    alone = first_classifier_step(model, tmp_path, lambda n: None)
    for rank in shared_classifiers:
        assert_same_first_step(rank[model], alone)


def assert_same_first_step(found, expected):
    of_loss, of_gradient = BOUNDS["float32"]
    assert found["loss"] == pytest.approx(expected["loss"], abs=of_loss)
    assert distance(found["gradient"], expected["gradient"]) < of_gradient


@classifiers
def test_a_classifier_on_ranks_is_exact_where_float64_is_the_judge(shared_classifiers, model):
    loss, gradient = classifier_in_float64(model)
    for rank in shared_classifiers:
        assert rank[model]["loss"] == pytest.approx(loss, abs=1e-5)
        assert distance(rank[model]["gradient"], gradient) < 1e-4


@classifiers
def test_every_rank_has_the_same_classifier(shared_classifiers, model):
    assert_equal_weights([rank[model]["weights"] for rank in shared_classifiers])


def assert_equal_weights(by_rank):
    for name, weight in by_rank[0].items():
        assert all(torch.equal(other[name], weight) for other in by_rank[1:])


class LoneJob:
    n_steps = 1

    def run(self, directory, on_step, ranks):
        return first_classifier_step("wide-resnet", directory, on_step, ranks)


def lone_job(directory, ranks):
    (result,) = side_by_side([LoneJob()], directory, "one", ranks)
    return result


def test_fewer_trainings_than_ranks_are_shared(tmp_path):
    alone = lone_job(tmp_path / "alone", ALONE)
    shared = on_ranks(2, lone_job, tmp_path / "shared")
    assert alone["n_ranks"] == 1
    for rank in shared:
        assert rank["n_ranks"] == 2
        assert_same_first_step(rank, alone)
    assert_equal_weights([rank["weights"] for rank in shared])


def classified(model, directory, ranks):
    images, labels = tinted(48)
    n_done = []
    params = make_classifier_params(model, steps=30)
    classifier = train_classifier(
        images, labels, 3, params, 0, directory / model, n_done.append, ranks
    )
    return {
        # An odd number: the ranks' parts differ.
        "accuracy": classifier.accuracy(images[:47], labels[:47]),
        "features": classifier.embed(images[:7]),
        "of one image": classifier.embed(images[:1]),
        "n_done": sum(n_done),
        "weights": dict(classifier.network.state_dict()),
    }


def all_classified(directory, ranks):
    return {model: classified(model, directory, ranks) for model in CLASSIFIERS}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    directory = tmp_path_factory.mktemp("learnt")
    by_rank = on_ranks(2, all_classified, directory / "shared")
    return by_rank, all_classified(directory / "alone", ALONE)


@classifiers
def test_a_classifier_learns_on_ranks_as_on_one_process(learnt, model):
    by_rank, alone = [found[model] for found in learnt[0]], learnt[1][model]
    assert_equal_weights([found["weights"] for found in by_rank])
    assert alone["accuracy"] > 0.6
    for found in by_rank:
        assert found["accuracy"] == by_rank[0]["accuracy"]
        assert found["accuracy"] == pytest.approx(alone["accuracy"], abs=0.15)
        assert np.array_equal(found["features"], by_rank[0]["features"])
        assert found["features"].shape == alone["features"].shape
        np.testing.assert_allclose(found["of one image"], found["features"][:1], atol=1e-4)
        assert found["n_done"] == 30


def written(directory, n_images, ranks):
    encoder = make("simclr")[0].encoder
    path = directory / f"{n_images}-{ranks.n_ranks}-{ranks.rank}.npy"
    encoder.batch_size = 4
    write_features(path, encoder, noise(n_images), torch.device("cpu"), ranks)
    return path.exists()


@N_RANKS
def test_features_are_the_same_bytes_and_the_first_rank_writes_them(tmp_path, n_ranks):
    for n_images in (3, 22, 33):
        is_there = on_ranks(n_ranks, written, tmp_path, n_images)
        assert is_there == [True] + [False] * (n_ranks - 1)
        written(tmp_path, n_images, ALONE)
        alone, shared = (tmp_path / f"{n_images}-{n}-0.npy" for n in (1, n_ranks))
        assert shared.read_bytes() == alone.read_bytes()
        np.save(tmp_path / "again.npy", np.load(alone))
        assert alone.read_bytes() == (tmp_path / "again.npy").read_bytes()
