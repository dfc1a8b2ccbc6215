import errno
import signal
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch

from zeroshot_al.base.errors import InputError
from zeroshot_al.process.stage import run_stage

BUDGET = "budget 60000 exceeds the pool of 50000; lower it in params.yaml"
NO_MEMORY = "memory ran out; free some or lower batch_size"
CPU = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"


@pytest.fixture(autouse=True)
def _stage_name(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["src/embed.py"])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


def fail(error):
    raise error


def fill_disk():
    with open("/dev/full", "w") as file:
        file.write("x" * 100_000)


def test_main_gets_the_arguments_and_a_good_end_is_silent(capsys):
    seen = []
    run_stage(lambda *args: seen.append(args), "moco", 3)
    assert seen == [("moco", 3)]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("main", "arguments", "message"),
    [
        (fail, [InputError(BUDGET)], BUDGET),
        pytest.param(
            *(fill_disk, [], "the disk is full"),
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here"),
        ),
        (fail, [OSError(errno.EACCES, "no", "data")], "data: no; change its permissions"),
        (fail, [OSError(errno.EROFS, "no", "data")], "data: no; change its permissions"),
        (fail, [MemoryError()], NO_MEMORY),
        (fail, [OSError(errno.ENOMEM, "Cannot allocate memory", "images.npy")], NO_MEMORY),
        (fail, [RuntimeError(CPU)], NO_MEMORY),
        (fail, [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")], NO_MEMORY),
        (lambda: torch.empty(2**60, dtype=torch.uint8), [], NO_MEMORY),  # as torch really says it
        (fail, [BrokenProcessPool("terminated abruptly")], "a worker process was killed"),
        (fail, [KeyboardInterrupt()], "interrupted; run again to continue"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence_with_the_stage_name(main, arguments, message):
    with pytest.raises(SystemExit) as stop:
        run_stage(main, *arguments)
    # Python prints a string and exits with code 1.
    assert stop.value.code.startswith(f"embed: {message}")
    assert "\n" not in stop.value.code


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError(errno.EIO, "broken disk", "x")])
def test_our_own_errors_keep_their_traceback(error):
    with pytest.raises(type(error)) as seen:
        run_stage(fail, error)
    assert seen.value is error
