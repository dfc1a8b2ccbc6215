"""Start a stage on as many ranks as asked for, or join those that `torchrun` has started.

The ranks of one machine are started and watched by torch's own elastic launcher, without restarts;
a rank leaves its error to it as torch's `record` does.
"""

import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import psutil
import torch
import torch.distributed as dist

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.params import load_ranks
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.process.interrupts import end_with
from zeroshot_al.process.stage import prepare_process, run_stage, sentence
from zeroshot_al.process.workers import n_cores

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

# Of one exchange: after it a rank on a host that has fallen silent counts as lost.
_TIMEOUT = timedelta(minutes=30)
_AGAIN = "run again: trainings continue from their last checkpoint"
# What gloo, NCCL and the store say when the other side of a connection has gone. Most errors of
# NCCL have causes of this rank's own: a full /dev/shm, a wrong driver.
_LOST = "connection (closed|reset) by|connection was likely closed|broken pipe|ncclremoteerror"
_OURS = "InputError: "  # before a message in one sentence


def run_shared_stage(main: Callable[..., None], *args: object) -> None:
    """Run a stage's ``main(*args, ranks)`` on each of `ranks` processes, as params.yaml says.

    With 1, that is this process. A script that `torchrun` started is one of its ranks, whatever
    params.yaml says. Errors are reported as by `run_stage`, once.
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

    # It reports what we report ourselves.
    elastic = logging.getLogger("torch.distributed.elastic")
    elastic.propagate = False
    elastic.addHandler(logging.NullHandler())
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
            raise InputError(_cause(error.failures, n_ranks)) from None
        except SignalException:
            raise KeyboardInterrupt from None


def _cause(failures: "dict[int, ProcessFailure]", n_ranks: int) -> str:
    """Return why the ranks ended, in one sentence; a traceback goes to stderr before it."""

    def lateness(rank: int) -> tuple:
        failure = failures[rank]
        # A rank may fail, or abort, because another has gone; the launcher then ends the rest.
        is_lost = re.search(_LOST, str(failure.message), re.IGNORECASE)
        follows = bool(is_lost) or failure.exitcode in (-signal.SIGABRT, -signal.SIGTERM)
        return follows, failure.exitcode >= 0, failure.timestamp

    rank = min(failures, key=lateness)
    failure, which = failures[rank], f"rank {rank} of {n_ranks}"
    if failure.exitcode < 0:
        is_kill = failure.exitcode == -signal.SIGKILL
        guess = ", as the system does when the memory is full" if is_kill else ""
        return (
            f"{which} was killed by signal {-failure.exitcode} ({failure.signal_name()}{guess}); "
            f"{_AGAIN}"
        )
    if isinstance(failure.message, str):  # torch's own, of a rank that left no error
        return f"{which} ended with exit code {failure.exitcode} and no error; {_AGAIN}"
    message = failure.message["message"]
    if message.startswith(_OURS):
        return message.removeprefix(_OURS)
    sys.stderr.write(failure.message["extraInfo"]["py_callstack"])
    return f"{which} failed: {message}; once mended, {_AGAIN}"


def _be_a_rank(main: Callable[..., None], args: tuple) -> None:
    """Run `main` as one rank of the group that the environment describes."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    prepare_process()
    end_with(psutil.Process().parent())
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    rank, n_ranks, local_rank, n_local = (int(os.environ[name]) for name in names)
    if rank:
        logging.disable()
    try:
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank)
            dist.init_process_group("cpu:gloo,cuda:nccl", timeout=_TIMEOUT)
        else:
            torch.set_num_threads(max(1, n_cores() // n_local))
            dist.init_process_group("gloo", timeout=_TIMEOUT)
        main(*args, Ranks(rank, n_ranks, n_local))
        dist.destroy_process_group()
    except BaseException as error:
        try:
            if not isinstance(error, KeyboardInterrupt):  # by which the launcher ends the others
                message = sentence(error)
                get_error_handler().record_exception(InputError(message) if message else error)
        finally:
            # At once: the end of a group that has lost a member may wait, or abort with noise.
            os._exit(1)
