import resource

import numpy as np
import pytest

from pools import write_pool
from refusals import refusal
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import replaced_directory
from zeroshot_al.base.pool import Pool, check_budgets, load_pool, save_pool


def make_pool(seed=0, **changes):
    """Four images, three of them for training."""
    values = {
        "images": np.random.default_rng(seed).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8),
        "ids": ("train/a", "train/b", "train/c", "test/a"),
        "splits": ("train", "train", "train", "test"),
        "labels": ("dog", "cat", "dog", "cat"),
    }
    return Pool(**values | changes)


def files_of(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_views_and_class_indices():
    pool = make_pool()
    assert pool.classes == ("cat", "dog")
    assert pool.n_train == 3
    assert pool.train_labels.tolist() == [1, 0, 1]
    assert pool.test_labels.tolist() == [0]
    assert pool.train_labels.dtype == pool.test_labels.dtype == np.int64
    assert tuple(pool.train_ids) == ("train/a", "train/b", "train/c")
    assert np.array_equal(np.concatenate([pool.train_images, pool.test_images]), pool.images)
    assert np.shares_memory(pool.train_images, pool.images)
    assert np.shares_memory(pool.test_images, pool.images)


def test_round_trip_is_the_same_and_read_only(tmp_path):
    pool = make_pool()
    write_pool(pool, tmp_path / "data" / "pool")
    read = load_pool(tmp_path / "data" / "pool")
    assert np.array_equal(read.images, pool.images)
    assert not read.images.flags.writeable
    assert (read.ids, read.splits, read.labels) == (pool.ids, pool.splits, pool.labels)
    assert read.classes == pool.classes
    index = (tmp_path / "data" / "pool" / "index.csv").read_text().splitlines()
    assert index[:2] == ["id,split,label", "train/a,train,dog"]


def test_same_pool_same_bytes(tmp_path):
    write_pool(make_pool(), tmp_path / "a")
    write_pool(make_pool(images=np.asfortranarray(make_pool().images)), tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_new_pool_replaces_the_old_one_and_its_strays(tmp_path):
    write_pool(make_pool(0), tmp_path / "pool")
    (tmp_path / "pool" / "stray").touch()
    write_pool(make_pool(1), tmp_path / "pool")
    assert np.array_equal(load_pool(tmp_path / "pool").images, make_pool(1).images)
    assert sorted(files_of(tmp_path / "pool")) == ["images.npy", "index.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["pool"]


def test_a_pool_without_labels_says_so_where_they_are_needed(tmp_path):
    pool = make_pool(labels=("",) * 4)
    assert (pool.is_labelled, pool.classes) == (False, ())
    write_pool(pool, tmp_path / "pool")
    assert not load_pool(tmp_path / "pool").is_labelled
    for ask in (
        lambda: pool.train_labels,
        lambda: pool.test_labels,
        lambda: load_pool(tmp_path / "pool", needs_labels=True),
    ):
        with pytest.raises(InputError, match="the pool has no labels of its own"):
            ask()
    write_pool(make_pool(), tmp_path / "pool")
    assert load_pool(tmp_path / "pool", needs_labels=True).is_labelled


def test_a_pool_without_images_says_so_where_they_are_needed(tmp_path):
    write_pool(make_pool(images=np.empty((4, 0, 0, 3), np.uint8)), tmp_path / "pool")
    pool = load_pool(tmp_path / "pool")
    assert (pool.has_images, pool.n_train, len(pool.images)) == (False, 3, 4)
    with pytest.raises(InputError, match="the pool has no images, only embeddings; choose"):
        _ = pool.train_images


def test_what_the_source_left_in_the_directory_is_kept(tmp_path):
    pool = make_pool()
    with replaced_directory(tmp_path / "pool") as directory:
        directory.mkdir()
        np.save(directory / "images.npy", pool.images, allow_pickle=False)
        (directory / "rejected.csv").write_text("id,reason\n")
        kept = (directory / "images.npy").stat().st_ino
        save_pool(pool, directory)
    assert (tmp_path / "pool" / "images.npy").stat().st_ino == kept
    assert np.array_equal(load_pool(tmp_path / "pool").images, pool.images)
    assert sorted(files_of(tmp_path / "pool")) == ["images.npy", "index.csv", "rejected.csv"]


@pytest.mark.parametrize("with_old", [False, True])
def test_a_write_that_fails_leaves_the_old_pool_or_none(tmp_path, with_old):
    if with_old:
        write_pool(make_pool(0), tmp_path / "pool")
        before = files_of(tmp_path / "pool")
    big = make_pool(images=np.zeros((4, 200, 200, 3), dtype=np.uint8))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(OSError):
            write_pool(big, tmp_path / "pool")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    if with_old:
        assert files_of(tmp_path / "pool") == before
    assert [path.name for path in tmp_path.iterdir()] == ["pool"] * with_old


def test_a_link_to_another_disk_stays_a_link(tmp_path):
    (tmp_path / "big" / "pool").mkdir(parents=True)
    (tmp_path / "pool").symlink_to(tmp_path / "big" / "pool")
    write_pool(make_pool(), tmp_path / "pool")
    assert (tmp_path / "pool").is_symlink()
    assert sorted(files_of(tmp_path / "big" / "pool")) == ["images.npy", "index.csv"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": np.zeros((4, 5, 6), np.uint8)}, "must be uint8 of shape"),
        ({"images": np.zeros((4, 5, 6, 1), np.uint8)}, "must be uint8 of shape"),
        ({"images": np.zeros((4, 5, 6, 3), np.float32)}, "type float32 must be uint8"),
        ({"images": np.zeros((3, 5, 6, 3), np.uint8)}, "4 ids do not match 3 images"),
        ({"labels": ("cat",)}, "1 labels do not match 4 images"),
        ({"splits": ("train", "test", "train", "test")}, "train images must come before"),
        ({"splits": ("train", "train", "train", "val")}, "split 'val' must be 'train' or 'test'"),
        ({"splits": ("test",) * 4}, "no train image"),
        ({"ids": ("a", "b", "a", "c")}, "id 'a' stands for two images"),
        ({"labels": ("dog", "", "dog", "cat")}, "image 'train/b' has no label and others have"),
    ],
)
def test_a_pool_that_does_not_agree_is_refused(changes, told):
    with pytest.raises(InputError, match=told):
        make_pool(**changes)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ("id,label,split\n", "has the columns"),
        ("id,split,label\na,train,cat\n", "1 ids do not match 4 images"),
        ("id,split,label\na,train\n", "not CSV near its line 2"),
    ],
)
def test_a_damaged_index_is_told_with_the_directory(tmp_path, index, told):
    write_pool(make_pool(), tmp_path / "pool")
    (tmp_path / "pool/index.csv").write_text(index)
    message = refusal(load_pool, tmp_path / "pool")
    assert told in message
    assert str(tmp_path / "pool") in message


def test_a_budget_above_the_pool_is_refused():
    check_budgets((1, 10, 50_000), 50_000)
    told = refusal(check_budgets, (10, 60_000), 50_000)
    assert told == "budget 60000 exceeds the pool of 50000; lower it in params.yaml"
