import numpy as np
import pytest
import torch

from tiny_training import ENCODER, features_of, noise, view_params, weights
from zeroshot_al.base.errors import InputError
from zeroshot_al.engine.runtime import generator_for
from zeroshot_al.engine.wide_resnet import WideResNet
from zeroshot_al.selfsup.augment_contrastive import contrastive_views
from zeroshot_al.selfsup.encoders import Encoder, EncoderParams, load_encoder, save_encoder


def make(seed=0):
    """An encoder whose BatchNorm statistics and weights are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(ENCODER)
    encoder.mean, encoder.std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    with torch.no_grad():
        encoder(contrastive_views(torch.from_numpy(noise(16)), view_params(), generator_for(0)))
    return encoder


@pytest.mark.parametrize(
    ("name", "width", "n_features"),
    [
        ("resnet-9", 0.125, 64),
        ("resnet-18", 1.0, 512),
        ("resnet-34", 0.5, 256),
        ("resnet-50", 0.25, 512),
        ("wide-resnet-10", 1, 64),
        ("wide-resnet-28", 10, 640),
    ],
)
def test_n_features_is_what_comes_out(name, width, n_features):
    with torch.device("meta"):
        encoder = Encoder(EncoderParams(name, width)).eval()
        features = encoder(torch.zeros(2, 3, 12, 20))
    assert encoder.n_features == n_features
    assert features.shape == (2, n_features)


@pytest.mark.parametrize("params", [ENCODER, EncoderParams("wide-resnet-16", 2)])
def test_the_stem_keeps_the_resolution(params):
    encoder = Encoder(params).eval()
    assert encoder.stem(torch.zeros(1, 3, 32, 32)).shape[2:] == (32, 32)


def test_a_wide_resnet_has_the_classifier_s_body():
    torch.manual_seed(0)
    encoder = Encoder(EncoderParams("wide-resnet-10", 2)).eval()
    torch.manual_seed(0)
    network = WideResNet(10, 2, 1).eval()
    views = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(encoder(views), network.features(views))
    assert sum(w.numel() for w in encoder.parameters()) == sum(
        w.numel() for w in network.features.parameters()
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("resnet-20", 1.0), "'resnet-20' must be resnet-9, .* or wide-resnet-DEPTH"),
        (("wide-resnet", 1.0), "'wide-resnet' must be"),
        (("wide-resnet-028", 1.0), "'wide-resnet-028' must be"),
        (("wide-resnet-28-10", 1.0), "'wide-resnet-28-10' must be"),
        (("wide-resnet-28", 2.5), "width 2.5 of wide-resnet-28 must be a whole number"),
        (("wide-resnet-28", 0.0), "width 0.0 of wide-resnet-28 must be a whole number"),
        (("resnet-9", -1.0), "width -1.0 of resnet-9 must be above 0"),
        (("resnet-9", float("nan")), "width nan of resnet-9 must be above 0"),
        (("wide-resnet-27", 1), "depth 27 is not 6n"),
        (("resnet-9", 1.0, " "), "weights are empty; give MODEL, MODEL:FILE, FILE.onnx or null"),
    ],
)
def test_params_that_name_no_encoder_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        Encoder(EncoderParams(*values))


@pytest.fixture
def file(tmp_path):
    """Return the file of an encoder, in a new directory."""
    save_encoder(tmp_path / "new/e.safetensors", make())
    return tmp_path / "new/e.safetensors"


def test_save_and_load_give_the_same_encoder_frozen(file):
    encoder = make()
    loaded = load_encoder(file, ENCODER)
    assert weights(loaded) == weights(encoder)
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())
    save_encoder(file.with_name("again"), encoder)
    assert file.with_name("again").read_bytes() == file.read_bytes()
    params = EncoderParams("wide-resnet-10", 1)
    wide = Encoder(params)
    save_encoder(file, wide)
    assert weights(load_encoder(file, params)) == weights(wide)


@pytest.mark.parametrize("other", [("resnet-9", 0.25), ("resnet-18", 0.125), ("wide-resnet-16", 1)])
def test_another_architecture_is_refused(file, other):
    pattern = r"e\.safetensors holds another encoder than {} of width {}".format(*other)
    with pytest.raises(InputError, match=pattern):
        load_encoder(file, EncoderParams(*other))


@pytest.mark.parametrize("n_bytes", [0, 5, 100, 5000, -1, None])
def test_a_truncated_or_missing_file_is_refused(file, n_bytes):
    if n_bytes is None:
        file.unlink()
        message = "does not exist; run the stage"
    else:
        file.write_bytes(file.read_bytes()[:n_bytes])
        message = "is not a complete safetensors file"
    with pytest.raises(InputError, match=rf"e\.safetensors {message}"):
        load_encoder(file, ENCODER)


def test_features_are_float32_and_those_of_the_network():
    encoder, images = make(), noise(7)
    features = features_of(encoder, images)
    assert features.shape == (7, encoder.n_features)
    assert features.dtype == np.float32
    with torch.no_grad():
        expected = encoder.eval()(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    # More than the 8 significant bits of bf16.
    rounded = torch.from_numpy(features).bfloat16().float().numpy()
    assert (rounded != features)[features != 0].mean() > 0.9


def test_features_depend_on_the_image_alone_and_leave_every_weight_and_buffer():
    encoder, images = make(), noise(7)
    before = weights(encoder)
    # Even in training, where BatchNorm collects statistics.
    features = features_of(encoder.train(), images)
    assert weights(encoder) == before
    np.testing.assert_allclose(features_of(encoder, images, 3), features, atol=1e-5)
    np.testing.assert_allclose(features_of(encoder, images[4:5]), features[4:5], atol=1e-5)
    assert features_of(encoder, images).tobytes() == features.tobytes()


def test_images_may_be_a_read_only_memory_map(tmp_path, recwarn):
    np.save(tmp_path / "images.npy", noise(5))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    features = features_of(make(), mapped, 2)
    np.testing.assert_array_equal(features, features_of(make(), noise(5), 2))
    assert not [w for w in recwarn if "not writable" in str(w.message)]


def test_nan_weights_are_reported_with_the_image():
    encoder = make()
    with torch.no_grad():
        encoder.stem[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"embedding of image 0 is not finite"):
        features_of(encoder, noise(4))
