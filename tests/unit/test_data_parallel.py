"""Trainings on 2 and 4 ranks beside the same on one process, and beside float64.

Each number of ranks is started once for all first steps, and two ranks once for whole trainings;
the tests look at what was found.
"""

import functools

import numpy as np
import pytest
import torch
import torch._dynamo  # which optimisers import late: once here, rather than in every rank
from torch import nn
from torch.nn import functional

from on_ranks import on_ranks
from tiny_training import classifier_params, moco_params, noise, simclr_params, tinted
from zeroshot_al.base.errors import InputError
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
from zeroshot_al.selfsup import pretrain as pretrain_module
from zeroshot_al.selfsup.augment_contrastive import contrastive_views
from zeroshot_al.selfsup.encoders import EncoderParams
from zeroshot_al.selfsup.pretrain import make_optimizer, pretrain

ENCODER = EncoderParams("resnet-9", 0.25)
BATCH = 32
METHODS = {"moco": (Moco, moco_params), "simclr": (Simclr, simclr_params)}
CLASSIFIERS = {"wide-resnet": {}, "vit": {"depth": 1, "stem_stride": 4, "learning_rate": 0.03}}
# The bounds that docs/RANKS.md states: of the loss, absolute, and of the gradient, relative.
BOUNDS = {"float32": (1e-4, 1e-2), "bf16": (5e-2, 0.3)}
# Of the loss of each of 4 epochs, as docs/RANKS.md states; another seed's lies 0.1 to 0.2 away.
CURVE_BOUND = 0.02
N_IMAGES = (3, 22, 33)  # to embed
methods = pytest.mark.parametrize("name", METHODS)
classifiers = pytest.mark.parametrize("model", CLASSIFIERS)


def make(name, **changes):
    changes = {"batch_size": BATCH, "head_hidden": 32, "head_dims": 16} | changes
    if name == "moco":
        changes = {"queue_size": 128, "key_splits": 4, "symmetric": True} | changes
    method, make_params = METHODS[name]
    params = make_params(**changes)
    initial_weights(params.seed)
    return method(ENCODER, params).train(), params


def make_classifier_params(model, **changes):
    return classifier_params(name=model, batch_size=16, **CLASSIFIERS[model] | changes)


def precise(patch, target, precision):
    """Let a module train in the given precision, whatever the machine has."""
    enabled = precision == "bf16"
    patch.setattr(target, "autocast", lambda _: torch.autocast("cpu", torch.bfloat16, enabled))


def gradient_of(network):
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    return torch.cat([weight.grad.flatten() for weight in trained]).double()


def queue_of(method):
    return method.queue.clone() if isinstance(method, Moco) else torch.zeros(0)


def norms_step(ranks, dtype=torch.float32):
    """Output, gradients, state and output by the running statistics, after one step."""
    torch.manual_seed(0)
    convolution, dense = nn.Conv2d(3, 8, 3), nn.Linear(8 * 36, 5)
    norms = nn.BatchNorm2d(8), nn.BatchNorm1d(5)
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, -1, 1)
    network = nn.Sequential(convolution, norms[0], nn.ReLU(), nn.Flatten(), dense, norms[1])
    images = torch.randn(16, 3, 8, 8, generator=generator_for(1)).to(dtype)
    targets = torch.arange(80.0).view(16, 5).to(dtype)
    network = averaged(synchronized(network.to(dtype), ranks), ranks)
    mine = ranks.rows_of(16)
    out = network(images[mine])
    (out - targets[mine]).square().mean().backward()
    values = {name: weight.grad.clone() for name, weight in network.named_parameters()}
    values |= {f"state {name}": value.clone() for name, value in network.state_dict().items()}
    network.eval()
    return {
        "rows": [out.detach(), network(images[mine]).detach()],
        "values": {name.replace("module.", ""): value for name, value in values.items()},
    }


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


def first_classifier_step(model, directory, on_step, ranks):
    """Loss, gradient and weights of the first step of `train_classifier`, in float32."""
    losses = []
    with pytest.MonkeyPatch.context() as patch:
        precise(patch, classifier_module, "float32")
        patch.setattr(classifier_module, "check_finite", lambda loss, *_: losses.append(loss))
        params = make_classifier_params(model, steps=1, warmup_steps=0)
        network = train_classifier(*tinted(48), 3, params, 0, directory, on_step, ranks).network
    return {
        "loss": losses[0],
        "gradient": gradient_of(network),
        "weights": dict(network.state_dict()),
        "n_ranks": ranks.n_ranks,
    }


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


def distance(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def assert_same_first_step(found, expected, precision="float32"):
    of_loss, of_gradient = BOUNDS[precision]
    assert found["loss"] == pytest.approx(expected["loss"], abs=of_loss)
    assert distance(found["gradient"], expected["gradient"]) < of_gradient


def assert_equal_weights(by_rank):
    for name, weight in by_rank[0].items():
        assert all(torch.equal(other[name], weight) for other in by_rank[1:])


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


def assert_exact(found, loss, gradient):
    assert found["loss"] == pytest.approx(loss, abs=1e-5)
    assert distance(found["gradient"], gradient) < 1e-4


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
        assert_exact(found, *expected)
    assert_equal_weights([found["weights"] for found in by_rank])


def test_features_are_the_same_bytes_and_the_first_rank_writes_them(alone, shared, tmp_path):
    assert [rank["writes"] for rank in shared] == [[rank is shared[0]] * 3 for rank in shared]
    for n_images in N_IMAGES:
        files = [found["directory"] / f"{n_images}-0.npy" for found in (alone, shared[0])]
        assert files[1].read_bytes() == files[0].read_bytes()
        np.save(tmp_path / "again.npy", np.load(files[0]))
        assert files[0].read_bytes() == (tmp_path / "again.npy").read_bytes()


def pretrained(name, directory, ranks, stop_at=None):
    """History and weights of 4 epochs; they are interrupted before the step `stop_at`."""
    images, _ = tinted(96)
    # Gently: the more a step changes, the more it amplifies rounding.
    method, params = make(name, epochs=4, learning_rate=0.002, temperature=0.5)
    compute, n_steps = method.training_loss, iter(range(1000))

    def training_loss(*views):
        if next(n_steps) == stop_at:
            raise KeyError("the interruption")
        return compute(*views)

    method.training_loss = training_loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain_module, "Checkpoint", functools.partial(Checkpoint, every_s=0.0))
        precise(patch, pretrain_module, "float32")
        history = pretrain(method, images, params, directory, ranks)
    return {"history": list(map(list, history)), "weights": dict(method.encoder.state_dict())}


def pretrained_and_cut(name, directory, ranks):
    complete = pretrained(name, directory / f"{name}-complete", ranks)
    with pytest.raises(KeyError):
        pretrained(name, directory / f"{name}-cut", ranks, stop_at=7)
    return complete


class LoneTraining:
    n_steps = 1

    def run(self, directory, on_step, ranks):
        return first_classifier_step("wide-resnet", directory, on_step, ranks)


def classified(model, directory, ranks):
    images, labels = tinted(48)
    n_done = []
    params = make_classifier_params(model, steps=30)
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
    """Whole trainings, of which those of one process are cut first and then continued here."""
    return {
        "pretrained": {name: pretrained_and_cut(name, directory, ranks) for name in METHODS},
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
    assert list((on_two[0]["directory"] / f"{name}-cut").glob("*.safetensors"))
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
