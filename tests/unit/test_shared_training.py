"""Trainings on 2 and 4 ranks beside the same on one process, and beside float64."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from on_ranks import on_ranks
from tiny_training import (
    classifier_params,
    moco_params,
    noise,
    simclr_params,
    tinted,
)
from zeroshot_al import pretrain as module
from zeroshot_al.augment_contrastive import contrastive_views
from zeroshot_al.checkpoint import Checkpoint
from zeroshot_al.classifier import train_classifier
from zeroshot_al.encoders import EncoderParams
from zeroshot_al.errors import InputError
from zeroshot_al.features import write_features
from zeroshot_al.files import read_json
from zeroshot_al.moco import Moco
from zeroshot_al.pretrain import pretrain
from zeroshot_al.ranks import ALONE, Ranks
from zeroshot_al.runtime import VIEWS, generator_for, initial_weights
from zeroshot_al.shared_training import averaged, synchronized
from zeroshot_al.simclr import Simclr

ENCODER = EncoderParams("resnet-9", 0.25)
BATCH = 32
N_RANKS = pytest.mark.parametrize("n_ranks", [2, 4])
methods = pytest.mark.parametrize("name", ["moco", "simclr"])


def make(name, seed=0, **changes):
    changes = {"batch_size": BATCH, "head_hidden": 32, "head_dims": 16} | changes
    if name == "moco":
        changes = {"queue_size": 128, "key_splits": 4, "symmetric": True} | changes
    params = {"moco": moco_params, "simclr": simclr_params}[name](**changes)
    initial_weights(seed)
    return {"moco": Moco, "simclr": Simclr}[name](ENCODER, params).train(), params


def make_norms():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                            nn.Linear(8 * 36, 5), nn.BatchNorm1d(5))  # fmt: skip
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


def steps(name, precision, n_steps, ranks=ALONE):
    """Loss, gradient and queue of each of the first steps, as `pretrain` takes them."""
    method, params = make(name)
    if ranks.n_ranks > 1:
        method.share(ranks)
    method.to(memory_format=torch.channels_last)
    rows = torch.arange(2 * BATCH).view(2, -1)[:, ranks.rows_of(BATCH)].flatten()
    trained = [weight for weight in method.parameters() if weight.requires_grad]
    images, taken = torch.from_numpy(noise(BATCH)), []
    loss_of = averaged(module._Loss(method), ranks)
    for step in range(n_steps):
        generator = generator_for(0, VIEWS, step)
        views = contrastive_views(images.repeat(2, 1, 1, 1), params.views, generator, rows)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = loss_of(*views.chunk(2), generator)
        for weight in trained:
            weight.grad = None
        loss.backward()
        gradient = torch.cat([weight.grad.flatten() for weight in trained]).double()
        taken.append((ranks.mean(loss.detach()).item(), gradient, queue_of(method)))
        with torch.no_grad():
            for weight in trained:
                weight -= 0.01 * weight.grad
    return taken


def queue_of(method):
    return method._loss.memory_bank.bank.clone()


def all_steps(ranks):
    return {
        (name, precision): steps(name, precision, 2, ranks)
        for name in ("moco", "simclr")
        for precision in ("float32", "bf16")
    }


def distance(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


# The bounds that docs/RANKS.md states: of the loss, absolute, and of the gradient, relative.
BOUNDS = {"float32": (1e-4, 1e-2), "bf16": (5e-2, 0.3)}


@pytest.fixture(scope="module")
def alone():
    return all_steps(ALONE)


@pytest.fixture(scope="module", params=[2, 4])
def shared(request):
    return on_ranks(request.param, all_steps)


@methods
@pytest.mark.parametrize("precision", BOUNDS)
def test_the_first_step_is_that_of_one_process(alone, shared, name, precision):
    of_loss, of_gradient = BOUNDS[precision]
    loss, gradient, _ = alone[name, precision][0]
    for rank in shared:
        its_loss, its_gradient, _ = rank[name, precision][0]
        assert its_loss == pytest.approx(loss, abs=of_loss)
        assert distance(its_gradient, gradient) < of_gradient


@methods
def test_every_rank_has_the_same_gradient_and_queue(shared, name):
    for precision in BOUNDS:
        for step, (loss, gradient, queue) in enumerate(shared[0][name, precision]):
            for rank in shared[1:]:
                its_loss, its_gradient, its_queue = rank[name, precision][step]
                assert its_loss == loss
                assert torch.equal(its_gradient, gradient)
                assert torch.equal(its_queue, queue)


def test_the_queue_holds_the_keys_in_the_order_of_one_process(alone, shared):
    for step in range(2):
        queue, its_queue = alone["moco", "float32"][step][2], shared[0]["moco", "float32"][step][2]
        # Other keys lie much farther apart.
        assert (its_queue - queue).abs().max() < 0.02
        assert (queue[1:] - queue[:-1]).abs().amax(dim=1).min() > 0.1


def in_float64(name):
    """Loss and gradient of the first step on one process, in float64 throughout."""
    method, params = make(name)
    method.double()
    rows = torch.from_numpy(noise(BATCH)).repeat(2, 1, 1, 1)
    views = contrastive_views(rows, params.views, generator_for(0, VIEWS, 0)).double()
    out = method.head(method.encoder(views)).chunk(2)
    loss = method._loss(*out)
    trained = [weight for weight in method.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, trained)
    return loss.item(), torch.cat([gradient.flatten() for gradient in gradients])


def test_simclr_on_ranks_is_exact_where_float64_is_the_judge(shared):
    loss, gradient = in_float64("simclr")
    its_loss, its_gradient, _ = shared[0]["simclr", "float32"][0]
    assert its_loss == pytest.approx(loss, abs=1e-5)
    assert distance(its_gradient, gradient) < 1e-4


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
        assert losses[0] == pytest.approx(expected_losses[0], abs=0.05)
        assert losses == pytest.approx(expected_losses, abs=0.5)
        for other in by_rank[1:]:
            assert all(torch.equal(other[name][1][key], value) for key, value in weights.items())
        # Six steps on two ranks, the others here: two epochs of the history are theirs, to the bit.
        continued, _ = pretrained(name, tmp_path / f"{name}-cut", 4, ALONE)
        assert continued[:2] == history[:2]
        assert [loss for _, loss, _ in continued] == pytest.approx(losses, abs=0.5)
        (state,) = (tmp_path / f"{name}-cut").glob("*.safetensors")
        assert state.exists()


def test_pretraining_of_one_process_continues_on_ranks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Checkpoint", Checkpoint)
    for name in ("moco", "simclr"):
        with pytest.raises(KeyError):
            pretrained(name, tmp_path / name, 4, ALONE, stop_at=7)
        started = read_json(tmp_path / name / "history.json")["rows"]
        (history, weights), (_, others) = on_ranks(2, pretrained, name, tmp_path / name, 4)
        assert [list(row) for row in history[:2]] == started[:2]
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


def classified(model, directory, ranks):
    images, labels = tinted(48)
    changes = {"vit": {"depth": 1, "stem_stride": 4, "learning_rate": 0.03}}.get(model, {})
    params = classifier_params(name=model, steps=30, batch_size=16, **changes)
    n_done = []
    classifier = train_classifier(
        images, labels, 3, params, 0, directory / model, n_done.append, ranks
    )
    # An odd number: the ranks' parts differ.
    return (
        classifier.accuracy(images[:47], labels[:47]), classifier.embed(images[:7]),
        classifier.embed(images[:1]), sum(n_done),
    )  # fmt: skip


def all_classified(directory, ranks):
    return [classified(model, directory, ranks) for model in ("wide-resnet", "vit")]


def test_a_classifier_learns_on_ranks_as_on_one_process(tmp_path):
    by_rank = on_ranks(2, all_classified, tmp_path / "shared")
    expected = all_classified(tmp_path / "alone", ALONE)
    for found in by_rank:
        for mine, first, reference in zip(found, by_rank[0], expected, strict=True):
            assert mine[0] == first[0] == pytest.approx(reference[0], abs=0.15)
            assert np.array_equal(mine[1], first[1])
            assert mine[1].shape == reference[1].shape
            np.testing.assert_allclose(mine[2], mine[1][:1], atol=1e-4)
            assert mine[3] == 30
    assert min(accuracy for accuracy, *_ in expected) > 0.6


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
