"""Small models whose vectors are known: the mean of each channel, as the model sees it."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from refusals import refusal
from tiny_training import features_of, noise
from zeroshot_al.embedding.existing_model import MODELS, load_existing_model
from zeroshot_al.embedding.onnx_model import OnnxModel, OnnxParams

SSCD = Path(__file__).parents[3] / "shared/models/sscd.onnx"
MEAN, STD = (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)
UINT8, FLOAT = TensorProto.UINT8, TensorProto.FLOAT
ANY_LAST, ANY_FIRST = ("n", "h", "w", 3), ("n", 3, "h", "w")


def save(path, kind=UINT8, shape=ANY_LAST, keep_sides=0):
    """Save a model from images to the mean of each channel."""
    axes = [1, 2] if shape[3] == 3 else [2, 3]
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=axes, keepdims=keep_sides),
    ]
    images = helper.make_tensor_value_info("image", kind, shape)
    means = helper.make_tensor_value_info("mean", FLOAT, None)
    graph = helper.make_graph(nodes, "means", [images], [means])
    opset = helper.make_opsetid("", 13)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def params(size_px=None):
    return OnnxParams(size_px, MEAN, STD)


@pytest.mark.parametrize(
    ("kind", "shape", "size_px"),
    [
        (UINT8, ANY_LAST, 12),
        (UINT8, ("n", 12, 12, 3), None),
        (UINT8, (1, 3, 12, 12), 12),
        (FLOAT, ANY_FIRST, 12),
        (FLOAT, (1, 12, 12, 3), None),
        (TensorProto.FLOAT16, ("n", 3, 12, 12), None),
    ],
)
def test_images_come_in_the_layout_and_range_that_the_model_takes(tmp_path, kind, shape, size_px):
    encoder = OnnxModel(save(tmp_path / "m.onnx", kind, shape), params(size_px))
    assert (encoder.size_px, encoder.n_features) == ((12, 12), 3)
    images = noise(5, 12, 12)
    features = features_of(encoder, images, encoder.batch_size)
    expected = images.mean(axis=(1, 2))
    if kind != UINT8:
        expected = (expected / 255 - MEAN) / STD
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, rtol=2e-3, atol=2e-3)


def test_images_of_another_size_are_resized_completely(tmp_path):
    encoder = OnnxModel(save(tmp_path / "m.onnx"), params(12))
    images = np.repeat(np.repeat(noise(3, 6, 6), 6, axis=1), 4, axis=2)
    np.testing.assert_allclose(features_of(encoder, images), images.mean(axis=(1, 2)), atol=3)


def test_a_file_is_found_in_the_folder_of_models(tmp_path, monkeypatch):
    save(tmp_path / "m.onnx")
    monkeypatch.setenv(MODELS, str(tmp_path))
    assert load_existing_model("m.onnx", params(12)).n_features == 3


@pytest.mark.parametrize(
    ("options", "size_px", "message"),
    [
        ({}, None, "takes images of any size; set embed.onnx.size_px, such as 224"),
        ({"shape": ("n", 8, 8, 3)}, 12, "12 is not the 8 x 8 pixels that .* takes; set it to null"),
        ({"shape": (4, 8, 8, 3)}, None, "takes batches of 4 images alone"),
        ({"shape": ("n", 8, 8, 4)}, None, r"takes tensor\(uint8\) of .*; give a model that takes"),
        ({"kind": TensorProto.INT64}, 12, r"takes tensor\(int64\)"),
        ({"keep_sides": 1}, 12, r"returns \(1, 1, 3\) for an image; export it up to the one"),
    ],
)
def test_a_model_that_does_not_fit_is_reported(tmp_path, options, size_px, message):
    file = save(tmp_path / "m.onnx", **options)
    assert re.search(message, refusal(OnnxModel, file, params(size_px)))


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_file_that_is_no_model_is_reported(tmp_path, content):
    file = tmp_path / "m.onnx"
    if content is not None:
        file.write_bytes(content)
    told = "is not a file" if content is None else "cannot be opened as an ONNX model"
    assert told in refusal(OnnxModel, file, params())


@pytest.mark.skipif(not SSCD.exists(), reason="needs the shared model")
def test_a_published_model_tells_images_apart():
    encoder = OnnxModel(SSCD, params(64))
    images = noise(4, 32, 32)
    features = features_of(encoder, np.concatenate([images, images // 2]))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    similarity = features[:4] @ features[4:].T
    assert features.shape == (8, 512)
    assert (similarity.argmax(axis=1) == np.arange(4)).all()
