"""Notice ranks that have fallen silent: a host without power, a cut network, a stopped process.

A rank that ends closes its connections, which the others notice at once. One that falls silent
closes nothing, and a time limit on the collectives would not do: a rank may rightly wait for hours
until another has finished its trainings. So each rank counts heartbeats in the store where the
ranks have met, from a thread of its own, whatever else it does or waits for.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.distributed as dist

from zeroshot_al.base.errors import InputError

LIMIT = "ZEROSHOT_AL_SILENCE_S"
"""Environment variable: seconds of silence after which the other ranks end; 600 without it."""
# A process that lives is held up for seconds, or for minutes by a full memory or a file system that
# does not answer; and what is lost by waiting is little beside a training.
_LIMIT_S = 600.0
_BEATS = 20  # within the limit
_ENDED = -(2**62)  # added to the count of a rank that has done its part


def silence_limit_s() -> float:
    """Return after how many seconds of silence the other ranks end.

    Raises
    ------
    InputError
        If the environment variable is no such number.
    """
    text = os.environ.get(LIMIT, str(_LIMIT_S))
    try:
        limit_s = float(text)
    except ValueError:
        limit_s = 0.0
    if not 0 < limit_s <= threading.TIMEOUT_MAX:
        raise InputError(f"{LIMIT} is {text}; it must be a positive number of seconds")
    return limit_s


@contextmanager
def heartbeats(
    store: dist.Store, rank: int, n_ranks: int, on_silence: Callable[[str], None]
) -> Iterator[None]:
    """In the block, tell the other ranks that this one lives, and watch whether they do.

    Ranks that have left the block are not waited for.

    Parameters
    ----------
    store
        Where the ranks have met. A store that does not answer is the silence of all ranks.
    on_silence
        Called once, in another thread, with a sentence that names the silent ranks.
    """
    limit_s = silence_limit_s()
    period_s = limit_s / _BEATS
    others = [other for other in range(n_ranks) if other != rank]
    left = threading.Event()
    # Counted, not timed: of a process that was stopped and goes on, the others are not silent.
    n_periods = 0
    heard = dict.fromkeys(others, 0)  # when, in periods
    ended: set[int] = set()
    hosts: dict[int, str] = {}

    def talk() -> None:
        counts = dict.fromkeys(others, 0)
        try:
            # On a connection of its own: waiting for an answer blocks it for every other request.
            own = store.clone()
            own.set(f"host of {rank}", socket.gethostname())
            while not left.is_set():
                own.add(f"beats of {rank}", 1)
                for other in set(others) - ended:
                    known, counts[other] = counts[other], own.add(f"beats of {other}", 0)
                    if counts[other] < 0:
                        ended.add(other)
                    elif counts[other] > known:
                        heard[other] = n_periods
                        hosts[other] = hosts.get(other) or own.get(f"host of {other}").decode()
                left.wait(period_s)
            own.add(f"beats of {rank}", _ENDED)
        except RuntimeError:  # the store has gone, and nobody is heard of from now on
            return

    def judge() -> None:
        nonlocal n_periods
        while len(ended) < len(others) and not left.wait(period_s):
            n_periods += 1
            silent = [
                other
                for other in others
                if other not in ended and n_periods - heard[other] > _BEATS
            ]
            if silent:
                on_silence(_sentence(silent, n_ranks, hosts, limit_s))
                return

    talker = threading.Thread(target=talk, name="heartbeats", daemon=True)
    talker.start()
    threading.Thread(target=judge, name="silence", daemon=True).start()
    try:
        yield
    finally:
        left.set()
        talker.join(timeout=5)  # longer only if the store hangs


def _sentence(silent: list[int], n_ranks: int, hosts: dict[int, str], limit_s: float) -> str:
    which = f"rank{'s' * (len(silent) > 1)} {', '.join(map(str, silent))} of {n_ranks}"
    names = sorted({hosts[rank] for rank in silent if rank in hosts})
    where = f" on {', '.join(names)}" if names else ""
    return (
        f"nothing was heard of {which}{where} for {limit_s:g} s: it is stopped, or its host "
        "or the network is down; end what is left there, then run again: trainings continue from "
        "their last checkpoint"
    )
