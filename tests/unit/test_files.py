import json
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pytest

from refusals import refusal
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import (
    atomic_path,
    read_csv,
    read_json,
    read_npy,
    replaced_directory,
    write_csv,
    write_json,
    write_npy,
)


def test_atomic_path_keeps_the_suffix_and_makes_the_folders(tmp_path):
    with atomic_path(tmp_path / "a" / "b" / "curve.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path / "a" / "b"
        temporary.write_bytes(b"whole")
        assert not (tmp_path / "a" / "b" / "curve.png").exists()
    assert (tmp_path / "a" / "b" / "curve.png").read_bytes() == b"whole"


def test_an_error_in_the_middle_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_row_that_fails_leaves_the_old_csv(tmp_path):
    path = tmp_path / "order.csv"
    write_csv(path, ["rank", "id"], [(0, "a")])

    def rows():
        yield 0, "b"
        raise RuntimeError("the generator broke off")

    with pytest.raises(RuntimeError):
        write_csv(path, ["rank", "id"], rows())
    assert path.read_bytes() == b"rank,id\n0,a\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_array_that_does_not_fit_leaves_the_old_one(tmp_path):
    path = tmp_path / "images.npy"
    write_npy(path, np.arange(3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError):
            write_npy(path, np.zeros(1_000_000, dtype=np.uint8))
        with pytest.raises(OSError) as error, atomic_path(path) as temporary:
            temporary.write_bytes(bytes(1_000_000))
        assert error.value.filename == str(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_npy(path).tolist() == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_refused_and_the_old_json_stays(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"knn": 0.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"knn": float("nan")})
    assert read_json(path) == {"knn": 0.5}
    assert path.read_text() == json.dumps({"knn": 0.5}, indent=2) + "\n"


def test_npy_round_trip_and_read_only_memory_map(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_npy(tmp_path / "a.npy", array)
    assert np.array_equal(read_npy(tmp_path / "a.npy"), array)
    mapped = read_npy(tmp_path / "a.npy", memory_map=True)
    assert isinstance(mapped, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        mapped[0, 0, 0] = 1


def read_id_and_split(path):
    return read_csv(path, ["id", "split"])


@pytest.mark.parametrize("reader", [read_json, read_npy, read_id_and_split])
def test_a_missing_file_is_one_sentence(tmp_path, reader):
    with pytest.raises(InputError, match=r"gone does not exist; run the stage that writes it$"):
        reader(tmp_path / "gone")


@pytest.mark.parametrize(
    ("reader", "content", "message"),
    [
        (read_json, '{"knn": ', r"is not JSON \(.*\); run the stage"),
        (read_id_and_split, "id,label\n1,cat\n", r"\['id', 'label'\] instead of \['id', 'split'\]"),
        (read_id_and_split, "", r"has the columns \[\] instead"),
        (read_id_and_split, "id,split\n0,dog\n\n1", "not CSV near its line 4 .cut off or damaged"),
        (read_id_and_split, "id,split\n1,cat,x", "not CSV near its line 2 .cut off or damaged"),
        (read_id_and_split, "id,split\n1,ca", "not CSV near its line 2 .cut off or damaged"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, reader, content, message):
    (tmp_path / "a").write_text(content)
    assert re.search(message, refusal(reader, tmp_path / "a"))


@pytest.mark.parametrize("memory_map", [False, True])
@pytest.mark.parametrize("damage", ["empty", "truncated", "pickle", "text"])
def test_a_broken_npy_is_told(tmp_path, damage, memory_map):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(1000))
    whole = path.read_bytes()
    if damage == "pickle":
        np.save(path, np.array([{"an": "object"}]), allow_pickle=True)
    else:
        path.write_bytes({"empty": b"", "truncated": whole[:500], "text": b"not an array"}[damage])
    with pytest.raises(InputError, match=r"a\.npy is not a complete \.npy array"):
        read_npy(path, memory_map=memory_map)


def test_any_text_survives_a_csv(tmp_path):
    texts = ["a\rb", "a\nb", "a\r\nb", "\r\n", "a,b", 'a"b', "", " ", "a\u2028b", "=1+1", "\r"]
    write_csv(tmp_path / "a.csv", ["id", "n"], [(text, 1) for text in texts])
    assert [row["id"] for row in read_csv(tmp_path / "a.csv", ["id", "n"])] == texts
    write_csv(tmp_path / "b.csv", ["id"], [("x",), ("y",)])
    assert (tmp_path / "b.csv").read_bytes() == b"id\nx\ny\n"


@pytest.fixture
def dead():
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path, dead):
    (tmp_path / f".images.{dead}.tmp.npy").write_bytes(b"half")
    others = [
        tmp_path / f".images.{os.getppid()}.tmp.npy",  # being written just now
        tmp_path / f".labels.{dead}.tmp.npy",  # of another file
        tmp_path / ".images.npy",
    ]
    for other in others:
        other.write_bytes(b"half")
    write_npy(tmp_path / "images.npy", np.arange(3))
    assert set(tmp_path.iterdir()) == {tmp_path / "images.npy", *others}


@pytest.mark.parametrize("replaced", [False, True], ids=["before", "after"])
def test_a_directory_survives_a_kill_between_its_renames(tmp_path, dead, replaced):
    (tmp_path / f".pool.{dead}.old").mkdir()
    (tmp_path / f".pool.{dead}.old/index.csv").write_text("the old one")
    (tmp_path / f".pool.{dead}.tmp").mkdir()
    if replaced:
        (tmp_path / "pool").mkdir()
        (tmp_path / "pool/index.csv").write_text("the new one")
    with pytest.raises(ZeroDivisionError), replaced_directory(tmp_path / "pool"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [tmp_path / "pool"]
    expected = "the new one" if replaced else "the old one"
    assert (tmp_path / "pool/index.csv").read_text() == expected
