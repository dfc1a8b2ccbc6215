"""Many files into one array, by processes: the same bytes, and nothing left of a failure."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hostile import photo
from processes import eventually, is_running
from zeroshot_al.base.errors import InputError
from zeroshot_al.sources import decoders, ingest
from zeroshot_al.sources.decode import decode
from zeroshot_al.sources.ingest import RequiredShape, decode_files
from zeroshot_al.sources.npy_rows import create_npy, keep_rows

SRC = Path(__file__).parents[2] / "src"
SQUARE = RequiredShape((16, 16, 3), "all others", "make it so")


@pytest.fixture
def paths(tmp_path):
    """Save 40 photos of several sizes; the sixth is broken."""
    found = []
    for i in range(40):
        path = tmp_path / f"{i}.png"
        Image.fromarray(photo(i, 20 + i, 30)).save(path)
        found.append(str(path))
    Path(found[5]).write_bytes(b"")
    return found


@pytest.mark.parametrize("n_workers", [1, 3])
def test_rows_are_the_images_however_many_work(paths, tmp_path, monkeypatch, n_workers):
    monkeypatch.setattr(decoders, "n_cores", lambda: n_workers)
    monkeypatch.setattr(ingest, "BLOCK_BYTES", 16 * 16 * 3 * 7)  # blocks of 7
    found = decode_files("", paths, SQUARE, 16, tmp_path / "out.npy")
    images = np.load(tmp_path / "out.npy", allow_pickle=False)
    assert images.shape == (40, 16, 16, 3)
    for i, path in enumerate(paths):
        if i == 5:
            assert not images[i].any()
            assert not found.digests[i].any()
        else:
            assert found.digests[i].tobytes() == hashlib.sha256(images[i]).digest()
            assert np.array_equal(images[i], decode(path, 16).pixels)
    assert found.reasons == {5: "the file is empty"}
    assert found.good.tolist() == [*range(5), *range(6, 40)]
    assert multiprocessing.active_children() == []


def test_another_size_is_told_when_none_is_given(paths, tmp_path):
    due = RequiredShape((20, 30, 3), "0.png", "make it so")
    with pytest.raises(InputError, match=r"1\.png has 30 x 21 pixels and 0.png 30 x 20; make it"):
        decode_files("", paths, due, None, tmp_path / "out.npy")
    assert multiprocessing.active_children() == []


def crash_at(path, size_px):
    """Stand for a decoder with a bug, which ends its process at one file."""
    if path.endswith("/23.png"):
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(path, size_px)


@pytest.mark.skipif(sys.platform != "linux", reason="a stand-in reaches workers by fork only")
def test_a_crash_in_a_decoder_names_the_file_and_leaves_no_worker(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "decode", crash_at)
    monkeypatch.setattr(decoders, "n_cores", lambda: 1)
    with pytest.raises(InputError, match=r"a decoder crashed at \S+/23\.png; take the file away"):
        decode_files("", paths, SQUARE, 16, tmp_path / "out.npy")
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interruption_ends_the_workers_and_leaves_no_pool(tmp_path, number):
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo(0, 2000, 2000)).save(tmp_path / "photos/0.png")
    for i in range(1, 4000):
        os.link(tmp_path / "photos/0.png", tmp_path / f"photos/{i}.png")
    code = textwrap.dedent("""
        from zeroshot_al.base.files import replaced_directory
        from zeroshot_al.base.pool import save_pool
        from zeroshot_al.process.stage import prepare_process
        from zeroshot_al.sources.load import load_source
        from zeroshot_al.sources.params import DataParams
        prepare_process()
        with replaced_directory("pool") as directory:
            save_pool(load_source(DataParams("folder", "photos", 64), "", directory), directory)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(SRC)},
        start_new_session=True,
        stderr=subprocess.PIPE,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    assert eventually(lambda: process.poll() is not None or children.read_text())
    assert process.poll() is None
    workers = [int(worker) for worker in children.read_text().split()]
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.kill()
    error = process.communicate(timeout=120)[1].decode()
    assert process.returncode != 0
    assert eventually(lambda: not any(is_running(worker) for worker in workers))
    assert not (tmp_path / "pool").exists()
    if number == signal.SIGINT:
        assert error.count("KeyboardInterrupt") == 1, error  # the workers are silent
        assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(("before", "after"), [(10, 3), (123_456, 7), (5, 5)])
def test_a_shortened_file_is_the_one_that_numpy_would_write(tmp_path, before, after):
    values = np.random.default_rng(0).integers(0, 256, (after, 4, 2, 3), dtype=np.uint8)
    create_npy(tmp_path / "a.npy", (before, 4, 2, 3))
    rows = np.lib.format.open_memmap(tmp_path / "a.npy", mode="r+")
    assert rows.shape == (before, 4, 2, 3)
    rows[-after:] = values
    rows.flush()
    keep_rows(tmp_path / "a.npy", np.arange(before - after, before))
    np.save(tmp_path / "b.npy", values, allow_pickle=False)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
