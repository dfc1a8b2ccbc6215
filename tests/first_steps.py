"""The first step of a training on ranks and on one process, and whether two are the same."""

import pytest
import torch
import torch._dynamo  # which optimisers import late: once here, rather than in every rank
from torch import nn

from tiny_training import classifier_params, moco_params, simclr_params, tinted
from zeroshot_al.classifier import classifier as classifier_module
from zeroshot_al.classifier.classifier import train_classifier
from zeroshot_al.engine.data_parallel import averaged, synchronized
from zeroshot_al.engine.runtime import generator_for, initial_weights
from zeroshot_al.methods.moco import Moco
from zeroshot_al.methods.simclr import Simclr
from zeroshot_al.selfsup.encoders import EncoderParams

ENCODER = EncoderParams("resnet-9", 0.25)
BATCH = 32
METHODS = {"moco": (Moco, moco_params), "simclr": (Simclr, simclr_params)}
CLASSIFIERS = {
    "wide-resnet": {},
    "airbench": {"depth": 8, "crop_px": 12, "label_smoothing": 0.2},
    "vit": {"depth": 1, "stem_stride": 4, "learning_rate": 0.03},
}
# The bounds that docs/RANKS.md states: of the loss, absolute, and of the gradient, relative.
BOUNDS = {"float32": (1e-4, 1e-2), "bf16": (5e-2, 0.3)}
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


def first_classifier_step(model, directory, on_step, ranks):
    """Loss, gradient and weights of the first step of `train_classifier`, in float32."""
    losses = []
    with pytest.MonkeyPatch.context() as patch:
        precise(patch, classifier_module, "float32")
        patch.setattr(classifier_module, "check_finite", lambda loss, *_: losses.append(loss))
        params = make_classifier_params(model, steps=1, warmup_steps=0)
        images, labels = tinted(48, side=params.crop_px)
        network = train_classifier(images, labels, 3, params, 0, directory, on_step, ranks).network
    return {
        "loss": losses[0],
        "gradient": gradient_of(network),
        "weights": dict(network.state_dict()),
        "n_ranks": ranks.n_ranks,
    }


def distance(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


def assert_same_first_step(found, expected, precision="float32"):
    of_loss, of_gradient = BOUNDS[precision]
    assert found["loss"] == pytest.approx(expected["loss"], abs=of_loss)
    assert distance(found["gradient"], expected["gradient"]) < of_gradient


def assert_equal_weights(by_rank):
    for name, weight in by_rank[0].items():
        assert all(torch.equal(other[name], weight) for other in by_rank[1:])
