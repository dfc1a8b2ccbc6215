"""Start a stage on as many ranks as asked for, or join those that `torchrun` has started.

The ranks of one machine are started and watched by torch's own elastic launcher, here without
restarts. What goes wrong is told once: each rank leaves its error in the file that the launcher
gives it, and the launcher tells the one that came first, since the others mostly tell of
connections that broke when it ended.
"""

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import write_json
from zeroshot_al.base.params import load_ranks
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.process.heartbeats import heartbeats
from zeroshot_al.process.interrupts import end_with
from zeroshot_al.process.stage import prepare_process, run_stage, sentence
from zeroshot_al.process.workers import n_cores

LAUNCHER = "ZEROSHOT_AL_LAUNCHER"
"""Environment variable of the ranks that `_start_ranks` starts: the launcher's process id."""
# A rank may wait for hours until the others have finished their trainings. A rank that dies is
# noticed by its closed connection, or by the launcher; one that falls silent, by its heartbeats.
_PATIENCE = timedelta(days=30)
_AGAIN = "run again: trainings continue from their last checkpoint"
# What gloo, NCCL and the store say when the other side of a connection has gone. Most errors of
# NCCL have causes of this rank's own: a full /dev/shm, a wrong driver.
_LOST = (
    "connection closed by",
    "connection reset by peer",
    "connection was likely closed",
    "broken pipe",
    "ncclremoteerror",
)
_FAILED = 1  # exit code of a rank that has left its error


def run_shared_stage(main: Callable[..., None], *args: object) -> None:
    """Run a stage's ``main(*args, ranks)`` on each of `ranks` processes, as params.yaml says.

    With 1, that is this process. A script that `torchrun` started is one of its ranks, whatever
    params.yaml says. Errors are told as by `run_stage`, once.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        _be_a_rank(main, args)
    else:
        run_stage(_be_alone_or_launch, main, args)


def _be_alone_or_launch(main: Callable[..., None], args: tuple) -> None:
    n_ranks = load_ranks()
    n_gpus = torch.cuda.device_count()
    if n_gpus and n_ranks > n_gpus:
        raise InputError(
            f"ranks {n_ranks} exceeds the {n_gpus} GPUs of this machine; lower it in params.yaml"
        )
    if n_ranks == 1:
        main(*args, ALONE)
    else:
        _start_ranks(n_ranks)


def _start_ranks(n_ranks: int) -> None:
    """Run this very script on each rank, and return when all have ended well."""
    # Here, not above: most runs are of one process, which need not wait for the import.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # It reports what we tell ourselves.
    elastic = logging.getLogger("torch.distributed.elastic")
    elastic.propagate = False
    elastic.addHandler(logging.NullHandler())
    os.environ[LAUNCHER] = str(os.getpid())
    with tempfile.TemporaryDirectory(prefix="ranks_") as directory:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=n_ranks,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=directory),
        )
        try:
            elastic_launch(config, sys.executable)(*sys.orig_argv[1:])
        except ChildFailedError as error:
            exit_codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise InputError(_cause(exit_codes, Path(directory), n_ranks)) from None
        except SignalException as error:
            if error.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            number = signal.Signals(error.sigval)
            raise InputError(f"ended by {number.name}; run again to continue") from None


def _cause(exit_codes: dict[int, int], directory: Path, n_ranks: int) -> str:
    """Return why the ranks ended, in one sentence; a traceback goes to stderr before it."""
    killed = [rank for rank, code in exit_codes.items() if code < 0]
    if killed:
        # One that aborts may do so because another has gone; the launcher then ends the rest.
        later = (-signal.SIGABRT, -signal.SIGTERM)
        rank = min(killed, key=lambda rank: (exit_codes[rank] in later, rank))
        number = -exit_codes[rank]
        guess = ", as the system does when the memory is full" if number == signal.SIGKILL else ""
        return (
            f"rank {rank} of {n_ranks} was killed by signal {number} "
            f"({signal.Signals(number).name}{guess}); {_AGAIN}"
        )
    errors = sorted(_left_errors(directory), key=lambda error: error["time_s"])
    # Connections break when another rank ends, unless nobody tells of anything else.
    causes = [error for error in errors if not error["is_lost_connection"]]
    silent = exit_codes.keys() - {error["rank"] for error in errors}
    if silent and not causes:
        rank = min(silent, key=lambda rank: (exit_codes[rank] == _FAILED, rank))
        return (
            f"rank {rank} of {n_ranks} ended with exit code {exit_codes[rank]} and no word; "
            f"{_AGAIN}"
        )
    first = (causes or errors)[0]
    if first["is_told"]:
        return first["message"]
    sys.stderr.write(first["traceback"])
    return f"rank {first['rank']} of {n_ranks} failed: {first['message']}; once mended, {_AGAIN}"


def _left_errors(directory: Path) -> Iterator[dict]:
    for file in directory.rglob("error.json"):
        with suppress(OSError, ValueError):  # not readable: its rank counts as silent
            yield json.loads(file.read_text(encoding="utf-8"))


def _be_a_rank(main: Callable[..., None], args: tuple) -> None:
    """Run `main` as one rank of the group that the environment describes; leave errors as told."""
    prepare_process()
    end_with(launcher := int(os.environ.get(LAUNCHER, os.getppid())))
    rank, n_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if rank:
        logging.disable()
    store = None
    try:
        if n_ranks == 1:
            return main(*args, ALONE)
        store, _, _ = next(dist.rendezvous("env://"))
        end = partial(_end_in_silence, rank, store, launcher)
        with heartbeats(store, rank, n_ranks, end), _group(store, rank, n_ranks) as ranks:
            main(*args, ranks)
    except BaseException as error:
        # When a rank has ended, the launcher ends the others, be they about to tell of it.
        with suppress(KeyboardInterrupt):
            _report(error, rank, store)
        # At once: the end of a group that has lost a member may wait, or abort with noise.
        os._exit(_FAILED)


@contextmanager
def _group(store: dist.Store, rank: int, n_ranks: int) -> Iterator[Ranks]:
    n_local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if torch.cuda.is_available():
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        if local_rank >= torch.cuda.device_count():
            raise InputError(
                f"{n_local} ranks exceed the {torch.cuda.device_count()} GPUs of a machine; "
                "start fewer"
            )
        torch.cuda.set_device(local_rank)
        backend = "cpu:gloo,cuda:nccl"
    else:
        torch.set_num_threads(max(1, n_cores() // n_local))
        backend = "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=n_ranks, timeout=_PATIENCE)
    yield Ranks(rank, n_ranks, n_local)
    dist.destroy_process_group()


def _report(error: BaseException, rank: int, store: dist.Store | None) -> None:
    """Leave the error to the launcher; torchrun, which only says where it is, gets it told."""
    if not isinstance(error, KeyboardInterrupt):  # which the launcher may have sent
        _leave_error(error, rank)
    if LAUNCHER not in os.environ and (store is None or _count_failure(store) in (None, 1)):
        told = sentence(error) or _lost_connection(error)
        name = Path(sys.argv[0]).stem
        sys.stderr.write(f"{name}: {told}\n" if told else traceback.format_exc())
        sys.stderr.flush()


def _leave_error(error: BaseException, rank: int) -> None:
    """Write what happened where the launcher looks for it; torchrun shows the message."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if file and Path(file).parent.is_dir():  # else the launcher has gone, its directory with it
        told = sentence(error)
        report = {
            "message": told or f"{type(error).__name__}: {error}",
            "timestamp": int(time.time()),
            "time_s": time.time(),
            "rank": rank,
            "is_told": told is not None,
            "is_lost_connection": _lost_connection(error) is not None,
            "traceback": "".join(traceback.format_exception(error)),
        }
        with suppress(OSError):
            write_json(file, report)  # whole or absent: the launcher may end this rank meanwhile


def _count_failure(store: dist.Store) -> int | None:
    """Return how many ranks have failed, this one included; None if the store does not answer."""
    counts = []

    def count() -> None:
        with suppress(RuntimeError):  # whoever held the store has ended
            counts.append(store.add("failures", 1))

    # A store whose host is silent never answers.
    counting = threading.Thread(target=count, daemon=True)
    counting.start()
    counting.join(timeout=5)
    return counts[0] if counts else None


def _end_in_silence(rank: int, store: dist.Store, launcher: int, told: str) -> None:
    """End this rank from another thread, since it waits for ranks that are silent."""
    _report(InputError(told), rank, store)
    if int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1 and _count_failure(store) is None:
        # torchrun would wait for its store on the other host, for ever.
        os.kill(launcher, signal.SIGKILL)
    os._exit(_FAILED)


def _lost_connection(error: BaseException) -> str | None:
    """Return what to tell if `error` says that another rank has gone, else None."""
    if isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _LOST):
        return f"another rank has ended, which the launcher's report names; {_AGAIN}"
    return None
