import functools

import numpy as np
import pytest
import torch
from torch import nn

from tiny_training import Stop, classifier_params, stop_at, weights
from zeroshot_al.base.errors import InputError
from zeroshot_al.classifier import classifier as module
from zeroshot_al.classifier.augment_supervised import normalize
from zeroshot_al.classifier.classifier import train_classifier
from zeroshot_al.classifier.classifier_models import MODELS, make_model
from zeroshot_al.engine.checkpoint import Checkpoint

# Depth, width, stride of the first convolution, a learning rate, and steps that suffice.
TINY = {
    "wide-resnet": (10, 1, 1, 0.1, 20),
    "airbench": (8, 1, 1, 0.2, 20),
    "resnet-18": (18, 1, 2, 0.02, 6),
    "vgg": (11, 1, 1, 0.02, 6),
    "vit": (2, 1, 4, 0.05, 20),
}
models = pytest.mark.parametrize("name", MODELS)


def make(name, n_classes=10, size_px=16):
    depth, width, stem_stride, *_ = TINY[name]
    torch.manual_seed(0)
    return make_model(name, depth, width, stem_stride, n_classes, size_px)


def pictures(n, size_px=16):
    """Noise with one bright channel, and which."""
    labels = np.arange(n) % 3
    images = np.random.default_rng(0).integers(0, 128, (n, size_px, size_px, 3), dtype=np.uint8)
    images[np.arange(n), :, :, labels] += 100
    return images, labels


def settings(name, **changes):
    depth, width, stem_stride, rate, _ = TINY[name]
    own = {
        "name": name,
        "depth": depth,
        "width": width,
        "stem_stride": stem_stride,
        "learning_rate": rate,
        "crop_px": 16,
    }
    return classifier_params(**own | changes)


@models
@pytest.mark.parametrize("size_px", [16, 32])
def test_the_head_is_on_the_features(name, size_px):
    model = make(name, 7, size_px).eval()
    images = torch.rand(3, 3, size_px, size_px)
    with torch.no_grad():
        features, scores = model.features(images), model(images)
    assert features.shape == (3, model.n_features)
    assert scores.shape == (3, 7)
    assert isinstance(model.head, nn.Linear)
    torch.testing.assert_close(scores, model.head(features))
    # Different images, different features.
    assert not torch.allclose(features[0], features[1])


@pytest.mark.parametrize(
    ("arguments", "n_weights"),
    [
        # By hand from table 1 of He et al. with a 3x3 stem and 10 classes, as others count it.
        (("resnet-18", 18, 1, 1, 10, 32), 11_173_962),
        # Table 1 of Simonyan and Zisserman, configurations A and D: 3x3 convolutions with biases,
        # BatchNorm's two weights a channel, and 512 x 10 + 10.
        (("vgg", 11, 1, 1, 10, 32), 9_231_114),
        (("vgg", 16, 1, 1, 10, 32), 14_728_266),
    ],
)
def test_the_numbers_of_parameters(arguments, n_weights):
    with torch.device("meta"):
        model = make_model(*arguments)
    assert sum(weight.numel() for weight in model.parameters()) == n_weights


def test_a_vit_is_the_published_one_but_for_its_patches():
    with torch.device("meta"):
        model = make_model("vit", 12, 3, 4, 10, 32)
    dims, tokens = 192, 8 * 8 + 1
    block = 4 * dims * dims + 4 * dims + 8 * dims * dims + 5 * dims + 4 * dims
    total = 12 * block + dims * (tokens + 1) + dims * (3 * 16 + 1) + 2 * dims + dims * 10 + 10
    assert sum(weight.numel() for weight in model.parameters()) == total


@models
def test_the_loss_falls_and_core_set_reads_the_pre_final_layer(name, tmp_path):
    images, labels = pictures(24)
    losses = []
    for steps in (0, TINY[name][-1]):
        params = settings(name, steps=steps, batch_size=8, flip_rate=0.0, cutout_px=0)
        classifier = train_classifier(
            images, labels, 3, params, 0, tmp_path / str(steps), lambda n: None
        )
        # As in training: after so few steps the running statistics of BatchNorm lag behind.
        network, device = classifier.network.train(), classifier.device
        views = normalize(torch.from_numpy(images), classifier.mean.cpu(), classifier.std.cpu())
        with torch.no_grad():
            scores = network(views.to(device)).cpu()
        losses.append(float(nn.functional.cross_entropy(scores, torch.from_numpy(labels))))
    assert losses[1] < 0.7 * losses[0]
    assert losses[1] < 0.9 * np.log(3)
    embedded = classifier.embed(images[:12])
    assert embedded.shape == (12, network.n_features)
    assert np.isfinite(embedded).all()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "wide-resnet"])
def test_an_interrupted_training_resumes_to_the_same_bytes(name, tmp_path, monkeypatch):
    images, labels = pictures(16)

    def train(directory, on_step=lambda n: None):
        params = settings(name, steps=3)
        return train_classifier(images, labels, 3, params, 0, tmp_path / directory, on_step)

    complete = train("complete")
    monkeypatch.setattr(module, "Checkpoint", functools.partial(Checkpoint, every_s=0.0))
    with pytest.raises(Stop):
        train("cut", stop_at(3))
    steps = []
    again = train("cut", steps.append)
    assert steps == [2, 1]
    assert weights(again.network) == weights(complete.network)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("alexnet", 8, 1, 1, 10, 32),
            "'alexnet' must be wide-resnet, airbench, resnet-18, vgg or vit",
        ),
        (("wide-resnet", 12, 1, 1, 10, 32), "depth 12 is not 6n"),
        (("airbench", 10, 1, 1, 10, 32), "airbench has a depth of 8, not 10"),
        (("airbench", 8, 1, 2, 10, 19), "images of 20 pixels or more, not 19"),
        (("resnet-18", 10, 1, 1, 10, 32), "depth 10 of resnet-18 must be 18"),
        (("vgg", 10, 1, 1, 10, 32), "depth 10 of vgg must be 11, 13, 16 or 19"),
        (("vgg", 11, 1, 2, 10, 16), "images of 16 pixels are too small for vgg.*crop_px of 32"),
        (("vit", 6, 3, 5, 10, 32), "cannot cut 32 pixels into patches of stem_stride 5"),
        (("vit", 0, 3, 4, 10, 32), "a vit of 0 blocks"),
        (("vgg", 11, 0, 1, 10, 32), "width 0 and stem_stride 1 of the classifier vgg"),
        (("vit", 6, 3, 4, 10, 32, True), "whitening is for wide-resnet and airbench"),
        (("vit", 6, 3, 0, 10, 32), "stem_stride 0 of the classifier vit"),
    ],
)
def test_what_no_model_has_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        make_model(*arguments)


def test_a_vit_on_crops_of_another_size_is_refused(tmp_path):
    images, labels = pictures(12)
    with pytest.raises(InputError, match="crop_px 8 must be the images' 16 x 16 pixels"):
        train_classifier(images, labels, 3, settings("vit", crop_px=8), 0, tmp_path, lambda n: None)
