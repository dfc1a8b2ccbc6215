"""The canonical order, digits, and the stage as a whole; other files test the other sources."""

import json
import random
import re
import sys
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

import download
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.pool import load_pool
from zeroshot_al.sources.canonical import (
    RawImages,
    canonical_pool,
    images_fingerprint,
    pixel_digests,
)
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams

CLASSES = ("ant", "bee", "Wespe ü")


def make_raw(seed=0, n_samples=40):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n_samples, 4, 5, 3), dtype=np.uint8)
    images[1] = images[0]  # equal images of one split
    splits = ["train"] * 30 + ["test"] * (n_samples - 30)
    images[35] = images[0]  # and of the other
    return RawImages(images, splits, [CLASSES[i % 3] for i in range(n_samples)])


def shuffled(raw, seed):
    order = list(range(len(raw.images)))
    random.Random(seed).shuffle(order)
    return RawImages(
        raw.images[order], [raw.splits[i] for i in order], [raw.labels[i] for i in order]
    )


def pool_key(pool):
    return pool.images.tobytes(), tuple(pool.ids), tuple(pool.splits), tuple(pool.labels)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_arrival_leaves_no_trace_and_images_keep_their_labels(seed):
    raw, pool = make_raw(), canonical_pool(make_raw())
    assert pool_key(canonical_pool(shuffled(raw, seed))) == pool_key(pool)
    facts = [
        sorted(
            (image.tobytes(), split, label)
            for image, split, label in zip(part.images, part.splits, part.labels, strict=True)
        )
        for part in (raw, pool)
    ]
    assert facts[0] == facts[1]


def test_the_order_does_not_depend_on_labels():
    raw = make_raw()
    other = make_raw()
    other = RawImages(other.images, other.splits, other.labels[::-1])
    raw.images[1] += 1  # no equal images within a split
    other.images[1] += 1
    assert np.array_equal(canonical_pool(raw).images, canonical_pool(other).images)


def test_ids_name_the_pixels_and_number_the_equal_ones():
    pool = canonical_pool(make_raw())
    assert all(re.fullmatch(r"(train|test)/[0-9a-f]{16}(-2)?", name) for name in pool.ids)
    repeated = [i for i, name in enumerate(pool.ids) if name.endswith("-2")]
    assert len(repeated) == 1
    assert pool.ids[repeated[0]][:-2] == pool.ids[repeated[0] - 1]
    assert f"test/{pool.ids[repeated[0] - 1][6:]}" in pool.ids


def fingerprint_of(raw):
    return images_fingerprint(pixel_digests(raw.images), raw.splits, raw.labels)


def test_the_fingerprint_sees_a_pixel_and_a_label_and_no_order():
    seen = {fingerprint_of(shuffled(make_raw(), seed)) for seed in range(2)}
    assert len(seen) == 1
    pixel = make_raw()
    pixel.images[7, 0, 0, 0] ^= 1
    label = make_raw()
    label.labels[7], label.labels[8] = label.labels[8], label.labels[7]
    assert len(seen | {fingerprint_of(raw) for raw in (pixel, label)}) == 3


# ---------------------------------------------------------------------------- digits


def test_digits_fill_their_range_and_split_without_labels():
    pool = load_source(DataParams("digits", None), "unused", "unused")
    assert pool.images.shape == (1797, 16, 16, 3)
    assert (pool.images.min(), pool.images.max()) == (0, 255)
    assert pool.n_train == 1400
    assert pool.classes == tuple("0123456789")
    assert np.array_equal(pool.images[:, ::2, ::2, 0], pool.images[:, 1::2, 1::2, 2])
    # By pixels: no train image comes after a test image in the order of hashes.
    assert max(pool.train_ids)[6:] < min(pool.ids[1400:])[5:]
    # 1,400 of 1,797 leaves 130 to 150 of each digit when the rule knows no label.
    assert np.bincount(pool.train_labels).min() > 125


@pytest.mark.parametrize(
    ("params", "told"),
    [
        (DataParams("folder", None), "data.root is not set, and the source 'folder' needs it; set"),
        (DataParams("csv", None), "set it in params.yaml to a CSV file with a column path"),
        (DataParams("digits", "photos"), "data.root 'photos' does not go with the source 'digits'"),
        (DataParams("digits", None, 64), "data.size_px 64 does not go with the source 'digits'"),
        (DataParams("class_folders", "x", exclude="y"), "data.exclude 'y' does not go with the"),
        (DataParams("folder", "x", ids="y"), "data.ids 'y' does not go with the source 'folder'"),
        (DataParams("cifar10", None, exclude="y"), "data.exclude 'y' does not go with"),
        (DataParams("embeddings", "x"), "data.ids is not set, and the source 'embeddings' needs"),
        (DataParams("folder", "x", 0), "data.size_px 0 must be at least 1; raise it"),
    ],
)
def test_options_that_do_not_go_with_the_source_are_told(params, told):
    with pytest.raises(InputError) as error:
        load_source(params, "unused", "unused")
    assert told in str(error.value)


# ---------------------------------------------------------------------------- the stage


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty working directory, and a function that writes its params.yaml."""
    monkeypatch.chdir(tmp_path)

    def _write(source, root=None):
        top = {"profile": "x", "budget": 9, "budgets": [9], "seeds": [0], "rule": "kcenter"}
        sections = {"data": asdict(DataParams(source, root))}
        (tmp_path / "params.yaml").write_text(
            json.dumps(top | {"defaults": sections, "profiles": {"x": {"data": {}}}})
        )

    return _write


def test_the_stage_writes_the_same_bytes_twice(workspace, tmp_path):
    workspace("digits")
    written = []
    for _ in range(2):
        download.main()
        written.append(
            {path.name: path.read_bytes() for path in (tmp_path / "data/pool").iterdir()}
        )
    assert written[0] == written[1]
    assert sorted(written[0]) == ["images.npy", "index.csv"]
    assert load_pool().n_train == 1400
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["pool"]


def test_a_stage_that_fails_leaves_one_sentence_and_no_out(
    workspace, tmp_path, monkeypatch, capsys
):
    for split in ("train", "test"):
        (tmp_path / "photos" / split / "ant").mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (8, 6 + i)).save(tmp_path / "photos" / split / "ant" / f"{i}.png")
    workspace("class_folders", "photos")
    monkeypatch.setattr(sys, "argv", ["src/download.py"])
    with pytest.raises(SystemExit) as stop:
        download.run_stage(download.main)
    assert stop.value.code.startswith(
        f"download: {tmp_path}/photos/test/ant/1.png has 8 x 7 pixels and "
    )
    assert list((tmp_path / "data").iterdir()) == []
    assert capsys.readouterr().err == ""  # the progress bar is silent off a terminal
