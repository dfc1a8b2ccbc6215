import errno
import signal
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch

from zeroshot_al.base.errors import InputError
from zeroshot_al.process.stage import run_stage


@pytest.fixture(autouse=True)
def _stage_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["src/embed.py"])
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def sentence(main, *args):
    """Return what the stage leaves with; Python prints a string and exits with code 1."""
    with pytest.raises(SystemExit) as stop:
        run_stage(main, *args)
    assert isinstance(stop.value.code, str)
    assert "\n" not in stop.value.code
    return stop.value.code


def test_main_gets_the_arguments_and_a_good_end_is_silent(capsys):
    seen = []
    run_stage(lambda *args: seen.append(args), "moco", 3)
    assert seen == [("moco", 3)]
    assert capsys.readouterr().out == ""


def test_bad_input_is_one_sentence_with_the_stage_name():
    def main():
        raise InputError("budget 60000 exceeds the pool of 50000; lower it in params.yaml")

    assert sentence(main) == (
        "embed: budget 60000 exceeds the pool of 50000; lower it in params.yaml"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told():
    def main():
        with open("/dev/full", "w") as file:
            file.write("x" * 100_000)

    assert "the disk is full" in sentence(main)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_place_that_cannot_be_written_is_told(code):
    def main():
        raise OSError(code, "no", "data/pool")

    assert sentence(main) == "embed: data/pool: no; change its permissions"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory", "data/pool/images.npy"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    ],
)
def test_too_little_memory_is_told(error):
    def main():
        raise error

    assert sentence(main).startswith("embed: memory ran out; free some or lower batch_size")


def test_memory_that_torch_really_lacks_is_told():
    assert "memory ran out" in sentence(lambda: torch.empty(2**60, dtype=torch.uint8))


def test_a_worker_that_was_killed_is_told():
    def main():
        raise BrokenProcessPool("A process in the process pool was terminated abruptly")

    assert "a worker process was killed" in sentence(main)


def test_an_interrupt_says_how_to_go_on():
    def main():
        raise KeyboardInterrupt

    assert "run again to continue" in sentence(main)


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError(errno.EIO, "broken disk", "x")])
def test_our_own_errors_keep_their_traceback(error):
    def main():
        raise error

    with pytest.raises(type(error)) as seen:
        run_stage(main)
    assert seen.value is error
