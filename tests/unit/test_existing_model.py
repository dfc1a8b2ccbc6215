"""Against timm itself: small models with random weights, saved as a user's file would be."""

import builtins
import json
import re
import resource
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_model_data_config

from refusals import refusal
from tiny_training import features_of, noise
from zeroshot_al.base.errors import InputError
from zeroshot_al.embedding.existing_model import fetch, load_timm_model, read_weights
from zeroshot_al.engine.checkpoint import Checkpoint

NAMES = ("test_resnet", "test_vit", "resnet18")


def saved(name, file, **options):
    """Save a model with random weights, of BatchNorm also the statistics; return the model."""
    torch.manual_seed(1)
    model = timm.create_model(name, pretrained=False, **options).eval()
    for key, value in model.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_(0, 0.1)
    save_file(model.state_dict(), file)
    return model


@pytest.fixture
def vit(tmp_path):
    file = tmp_path / "vit.safetensors"
    return saved("test_vit", file), file


@pytest.fixture
def encoder(vit):
    return load_timm_model(f"test_vit:{vit[1]}")


@pytest.mark.parametrize("name", NAMES)
def test_features_are_timm_s_of_the_whole_image(tmp_path, name):
    model = saved(name, tmp_path / "m.safetensors")
    encoder = load_timm_model(f"{name}:{tmp_path / 'm.safetensors'}")
    images = noise(5, 32, 32)
    features = features_of(encoder, images, 2)

    config = resolve_model_data_config(model)
    # Timm's own evaluation, without its crop of the centre.
    transform = create_transform(**config | {"crop_pct": 1.0})
    views = torch.stack([transform(Image.fromarray(image)) for image in images])
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(views), pre_logits=True).numpy()
    assert features.shape == expected.shape == (5, encoder.n_features)
    assert features.dtype == np.float32
    # PIL rounds the resized image to 8 bits.
    np.testing.assert_allclose(features, expected, atol=0.02 * np.abs(expected).max())
    others = np.abs(expected[0] - expected[1]).max()
    assert np.abs(features - expected).max() < 0.2 * others


def test_features_are_the_same_in_any_batches_and_of_a_memory_map(tmp_path, encoder):
    np.save(tmp_path / "images.npy", noise(7, 20, 28))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    whole = features_of(encoder, images, encoder.batch_size)
    np.testing.assert_allclose(features_of(encoder, images, 3), whole, atol=1e-5)


def test_a_batch_is_bounded_by_its_pixels_and_nothing_is_trained(encoder):
    assert encoder.size_px == (160, 160)
    for side, n_images in ((160, 2**22 // 160**2), (4096, 1), (8, 500)):
        encoder.size_px = (side, side)
        assert encoder.batch_size == n_images
    assert not encoder.training
    assert not any(weight.requires_grad for weight in encoder.parameters())


@pytest.mark.parametrize("options", [{"num_classes": 3}, {"num_classes": 0}])
def test_the_file_s_own_head_does_not_matter(tmp_path, options):
    saved("test_resnet", tmp_path / "m.safetensors", **options)
    assert load_timm_model(f"test_resnet:{tmp_path / 'm.safetensors'}").n_features == 96


def test_half_precision_in_the_home_directory_is_read_as_float32(tmp_path, vit, monkeypatch):
    half = {key: value.half() for key, value in load_file(vit[1]).items()}
    save_file(half, tmp_path / "half.safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    encoder = load_timm_model("test_vit:~/half.safetensors")
    assert encoder.n_features == 64
    assert all(weight.dtype == torch.float32 for weight in encoder.parameters())


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("cls_token"), "1 weights are missing, such as cls_token"),
        (lambda t: t.update(extra=torch.zeros(2)), "1 are unknown, such as extra"),
        (
            lambda t: t.update(cls_token=torch.zeros(1, 1, 3)),
            r"1 have another shape, such as cls_token with \(1, 1, 3\) for \(1, 1, 64\)",
        ),
        (
            lambda t: [t.update({f"module.{key}": t.pop(key)}) for key in list(t)],
            r"weights are missing, such as .*; \d+ are unknown, such as module\.",
        ),
        (lambda t: t.clear(), "weights are missing"),
    ],
)
def test_a_file_that_does_not_fit_is_reported(vit, edit, message):
    tensors = load_file(vit[1])
    edit(tensors)
    save_file(tensors, vit[1])
    found = refusal(load_timm_model, f"test_vit:{vit[1]}")
    assert re.search(f"does not fit test_vit: .*{message}", found)
    other = refusal(load_timm_model, f"test_resnet:{vit[1]}")
    assert re.search(r"does not fit test_resnet: .*give the file's own arch", other)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 11) + b"not json at",
        b"\x80\x04\x95" + b"x" * 64,
        b"PK\x03\x04" + b"x" * 64,
        None,  # the last byte of a good file is missing
    ],
)
def test_what_is_no_safetensors_file_is_reported(vit, content):
    vit[1].write_bytes(vit[1].read_bytes()[:-1] if content is None else content)
    message = refusal(load_timm_model, f"test_vit:{vit[1]}")
    assert "vit.safetensors is not a complete safetensors file" in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *(
            (f"w{suffix}", "is a pickle, which can run any code and is not read")
            for suffix in (".pth", ".pt", ".bin", ".CKPT")
        ),
        ("absent.safetensors", "is not a file; give encoder.weights as MODEL:FILE"),
        (".", "is not a file; give encoder.weights as MODEL:FILE"),
    ],
)
def test_a_pickle_or_no_file_is_reported(tmp_path, name, message):
    if name.startswith("w"):
        (tmp_path / name).write_bytes(b"\x80\x04cposix\nsystem\n")
    assert message in refusal(load_timm_model, f"test_vit:{tmp_path / name}")


def test_an_unknown_model_is_reported():
    unknown = refusal(load_timm_model, "resnet5o")
    assert re.search(r"no model 'resnet5o'; did you mean .*resnet50", unknown)
    unknown = refusal(load_timm_model, "resnet50.moon")
    assert re.search(r"resnet50 has no published weights 'moon'; known .*tv_in", unknown)
    unknown = refusal(load_timm_model, "/x/vit.safetensors")
    assert "does not say of which model it is; give it as MODEL:/x/vit.safetensors" in unknown


def test_weights_that_cannot_be_fetched_are_reported(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    # Offline and with an empty cache, as on a machine without a network.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    pattern = (
        r"the weights model.safetensors of 'timm/resnet18.a1_in1k' cannot be fetched .*"
        r"give it as resnet18\.a1_in1k:FILE"
    )
    with pytest.raises(InputError, match=pattern):
        load_timm_model("resnet18.a1_in1k")


def test_a_model_whose_weights_are_no_safetensors_is_reported():
    for name in ("gcvit_tiny.in1k", "resnet10t_absent"):
        with pytest.raises(InputError, match=rf"no safetensors weights are published for '{name}'"):
            fetch(name, timm.get_pretrained_cfg(name))


def test_without_timm_the_remedy_is_reported(monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "timm":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="needs the library timm, which is not installed"):
        load_timm_model("resnet18")


def entry(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("length", "header"),
    [
        (2**64 - 1, {}),
        (99 * 10**6, {}),
        (None, {"a": entry([10**9], 0, 4 * 10**9)}),
        (None, {"a": entry([-1], 0, 4)}),
        (None, {"a": entry([1], 4, 0)}),
        (None, {"a": entry([1], 0, 4), "b": entry([1], 0, 4)}),
        (None, {"a": entry([1], 0, 4, "EVIL")}),
        (None, "[" * 10**5),
    ],
)
def test_a_header_that_lies_is_reported_at_no_cost(tmp_path, length, header):
    packed = (header if isinstance(header, str) else json.dumps(header)).encode()
    content = struct.pack("<Q", len(packed) if length is None else length) + packed + bytes(4)
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(content)
    (tmp_path / "state.safetensors").write_bytes(content)
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**30, limits[1]))
    try:
        with pytest.raises(InputError, match="is not a complete safetensors file") as told:
            read_weights(weights)
        # A checkpoint is ours; one like that is discarded, and the training begins again.
        assert Checkpoint(tmp_path).restore({"network": network}, optimizer) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "state.safetensors").exists()
