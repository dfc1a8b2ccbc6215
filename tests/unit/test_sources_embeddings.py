"""Ready-made embeddings: an .npy file and its ids become a pool without images."""

import os

import numpy as np
import pytest

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_csv
from zeroshot_al.base.pool import load_pool, save_pool
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams

N_ROWS, N_DIMS = 20, 6


@pytest.fixture
def load(tmp_path):
    """Write rows and ids, and return a function that loads them as a pool."""

    def _load(rows, ids=None, **options):
        np.save(tmp_path / "rows.npy", rows, allow_pickle=rows.dtype == object)
        ids = [f"image {i}" for i in range(len(rows))] if ids is None else ids
        (tmp_path / "ids.txt").write_text("\n".join(ids))
        params = DataParams(
            "embeddings", str(tmp_path / "rows.npy"), ids=str(tmp_path / "ids.txt"), **options
        )
        pool = load_source(params, "unused", tmp_path / "pool")
        save_pool(pool, tmp_path / "pool")
        return load_pool(tmp_path / "pool")

    return _load


def some_rows(dtype=np.float32):
    return np.random.default_rng(0).normal(size=(N_ROWS, N_DIMS)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_each_id_keeps_its_row(load, tmp_path, dtype):
    rows = some_rows(dtype)
    pool = load(rows)
    written = np.load(tmp_path / "pool/embeddings.npy", allow_pickle=False)
    assert (written.dtype, written.shape) == (np.float32, (N_ROWS, N_DIMS))
    assert (pool.has_images, pool.is_labelled, pool.n_train) == (False, False, N_ROWS)
    for name, row in zip(pool.ids, written, strict=True):
        assert np.array_equal(row, rows[int(name.split()[1])].astype(np.float32))


def test_the_order_of_arrival_leaves_no_trace(load, tmp_path):
    rows, ids = some_rows(), [f"i{i}" for i in range(N_ROWS)]
    first = load(rows, ids).ids, (tmp_path / "pool/embeddings.npy").read_bytes()
    second = load(rows[::-1].copy(), ids[::-1]).ids, (tmp_path / "pool/embeddings.npy").read_bytes()
    assert first == second
    assert list(first[0]) != ids


def test_equal_rows_are_kept_once(load, tmp_path):
    rows = some_rows()
    rows[[3, 9]] = rows[5]
    rows[0] = rows[1] = 0
    rows[0, 2], rows[1, 2] = 1, 1
    rows[0, 0] = -0.0
    (tmp_path / "not.txt").write_text("image 4\n")
    pool = load(rows, exclude=str(tmp_path / "not.txt"))
    found = read_csv(tmp_path / "pool/duplicates.csv", ["id", "duplicate_of", "kind", "distance"])
    assert [tuple(row.values()) for row in found] == [
        ("image 1", "image 0", "exact", "0"),
        ("image 5", "image 3", "exact", "0"),
        ("image 9", "image 3", "exact", "0"),
    ]
    assert set(pool.ids) == {f"image {i}" for i in range(N_ROWS)} - {
        "image 1",
        "image 5",
        "image 9",
        "image 4",
    }


def spoiled(value):
    rows = some_rows()
    rows[7] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "ids", "told"),
    [
        (spoiled(np.nan), None, "row 7 of .*, 'image 7', holds NaN or infinite values in float32"),
        (spoiled(np.inf), None, "row 7 of .* holds NaN or infinite"),
        (some_rows(np.float64) * 1e300, None, "row 0 of .* holds NaN or infinite .*; repair"),
        (spoiled(0), None, "row 7 of .* holds nothing but zeros, which have no direction; remove"),
        (some_rows(), ["a", "b"], r"ids\.txt holds 2 ids and .*rows\.npy 20 rows; give one id"),
        (some_rows(), ["a"] * N_ROWS, r"the id 'a' of .*ids\.txt stands for two rows; rename one"),
        (some_rows()[0], None, r"float32 of shape \(6,\); it must be floating of shape n x d"),
        (np.ones((3, 2), np.int64), None, r"int64 of shape \(3, 2\); it must be floating"),
        (np.empty((0, 4)), [], r"of shape \(0, 4\); it must be"),
        (np.array([[{}]], dtype=object), ["a"], r"not a complete \.npy array"),
    ],
)
def test_rows_that_do_not_serve_are_told(load, rows, ids, told):
    with pytest.raises(InputError, match=told) as error:
        load(rows, ids)
    assert "\n" not in str(error.value)


def test_files_that_do_not_serve_are_told(tmp_path):
    (tmp_path / "ids.txt").write_text("a\nb\n")
    os.mkfifo(tmp_path / "pipe.npy")
    np.savez(tmp_path / "several.npz", a=some_rows())
    np.save(tmp_path / "cut.npy", some_rows())
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-9])
    for name, told in {
        "several.npz": "holds several arrays",
        "cut.npy": "not a complete .npy array",
        "lost.npy": "cannot be read (No such file or directory)",
        "ids.txt": "not a complete .npy",
        "pipe.npy": "cannot be read (not a regular file)",
    }.items():
        params = DataParams("embeddings", str(tmp_path / name), ids=str(tmp_path / "ids.txt"))
        with pytest.raises(InputError) as error:
            load_source(params, "unused", tmp_path / "pool")
        assert told in str(error.value)
