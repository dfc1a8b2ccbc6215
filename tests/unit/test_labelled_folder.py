import re

import numpy as np
from PIL import Image

from refusals import refusal
from zeroshot_al.labels.labelled_folder import read_labelled_folder
from zeroshot_al.sources.decode import decode


def make(root, name, seed):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / name)


def test_images_come_as_the_pool_s_do_and_what_cannot_is_reported(tmp_path):
    root, out = tmp_path / "tests", tmp_path / "test_images.npy"
    for seed, name in enumerate(
        ("dog/deep/1.png", "cat/2.png", "cat/1.png", "stray.png", "cat /3.png")
    ):
        make(root, name, seed)
    (root / "dog/0.jpg").write_bytes(b"")
    make(tmp_path, "outside/cow/3.png", 9)
    (root / "cow").symlink_to(tmp_path / "outside/cow")
    pool = np.stack([decode(root / "cat/2.png", 8).pixels, np.zeros((8, 8, 3), np.uint8)])
    labels, problems = read_labelled_folder(root, pool, 8, out)
    assert list(labels.items()) == [
        ("cat /3.png", "cat"),
        ("cat/1.png", "cat"),
        ("dog/deep/1.png", "dog"),
    ]
    expected = [decode(root / name, 8).pixels for name in labels]
    assert np.array_equal(np.load(out), expected)
    assert [(p.id, p.problem, p.detail) for p in problems] == [
        ("cat/2.png", "test image", "equal to an image of the pool"),
        ("cow", "test image", "a link that leads out of the folder"),
        ("dog/0.jpg", "test image", "the file is empty"),
        ("stray.png", "test image", "outside of the class folders"),
    ]


def test_a_folder_without_a_test_image_is_refused(tmp_path):
    def refused(root):
        pool = np.zeros((1, 8, 8, 3), np.uint8)
        return refusal(read_labelled_folder, root, pool, 8, tmp_path / "out.npy")

    assert re.search("labels.test_root .*gone' is not a folder", refused(tmp_path / "gone"))
    assert "no test image in a class folder (the folder is empty)" in refused(tmp_path)
    make(tmp_path, "a.png", 0)
    assert "(a.png: outside of the class folders); put them into" in refused(tmp_path)
