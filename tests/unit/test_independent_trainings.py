import hashlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist

from on_ranks import on_ranks
from processes import eventually, is_running
from tiny_training import HAS_CUDA, start
from zeroshot_al.base.ranks import ALONE
from zeroshot_al.classifier import side_by_side as module
from zeroshot_al.classifier.side_by_side import side_by_side
from zeroshot_al.engine.runtime import generator_for

workers = pytest.mark.skipif(HAS_CUDA, reason="trainings run one after the other on a GPU")


@pytest.fixture(params=[1, 2])
def n_workers(request, monkeypatch):
    if request.param == 2 and HAS_CUDA:
        pytest.skip("trainings run one after the other on a GPU")
    monkeypatch.setattr(module, "n_cores", lambda: request.param)
    return request.param


@pytest.fixture
def two_workers(monkeypatch):
    monkeypatch.setattr(module, "n_cores", lambda: 2)
    yield
    for child in multiprocessing.active_children():  # of a test that failed
        child.terminate()


class Job(NamedTuple):
    """A training as far as running it goes: a function and its arguments."""

    function: Callable
    arguments: tuple = ()
    n_steps: int = 1

    def run(self, checkpoint_dir, on_step, ranks=ALONE):
        return self.function(*self.arguments, on_step)


def run_all(function, arguments, n_steps=1):
    jobs = [Job(function, each, n_steps) for each in arguments]
    return side_by_side(jobs, Path("unused"), "train")


def slow_square(number, delay_s, on_step):
    time.sleep(delay_s)
    on_step(1)
    return number, number**2


def train(seed, on_step):
    """Train a small network and return a hash of its weights."""
    generator = generator_for(seed)
    weight = torch.randn(64, 64, generator=generator).requires_grad_()
    for _ in range(5):
        x = torch.randn(128, 64, generator=generator)
        loss = torch.tanh(x @ weight).sum()
        (gradient,) = torch.autograd.grad(loss, weight)
        weight = (weight - 0.01 * gradient).detach().requires_grad_()
        on_step(1)
    return hashlib.sha256(weight.detach().numpy().tobytes()).hexdigest()


def fail_or_sleep(number, on_step):
    if number == 1:
        raise ValueError(f"job {number} cannot be done")
    time.sleep(600)


def meet(own, other, on_step):
    """Wait for a job that runs at the same time."""
    own.touch()
    assert eventually(other.exists, 300)
    return os.getpid()


def die_or_sleep(number, on_step):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is short
    time.sleep(600)


@pytest.mark.parametrize("n_jobs", [0, 1, 4])
def test_results_come_in_the_order_of_the_jobs(n_workers, n_jobs):
    # The first jobs take longest.
    todo = [(number, 0.2 - 0.05 * number) for number in range(n_jobs)]
    assert run_all(slow_square, todo) == [(n, n**2) for n in range(n_jobs)]


def test_results_and_steps_do_not_depend_on_the_number_of_workers(n_workers, monkeypatch):
    bars = []

    class Bar(module.tqdm):
        def __init__(self, *args, **kwargs):
            # Silent off a terminal, and a silent bar does not count.
            super().__init__(*args, **kwargs | {"disable": False})
            bars.append(self)

    monkeypatch.setattr(module, "tqdm", Bar)
    expected = [train(seed, lambda n: None) for seed in range(3)]
    assert run_all(train, [(seed,) for seed in range(3)], 5) == expected
    assert len(set(expected)) == 3
    assert [(bar.n, bar.total, bar.desc) for bar in bars] == [(15, 15, "train")]


@workers
def test_jobs_run_in_other_processes_side_by_side(two_workers, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    pids = run_all(meet, [(first, second), (second, first)])
    assert len({*pids, os.getpid()}) == 3
    assert not multiprocessing.active_children()


def test_an_error_stops_a_lone_worker(monkeypatch):
    monkeypatch.setattr(module, "n_cores", lambda: 1)
    with pytest.raises(ValueError, match="job 1 cannot be done"):
        run_all(fail_or_sleep, [(1,), (2,)])


@workers
@pytest.mark.parametrize(
    ("function", "error"), [(fail_or_sleep, ValueError), (die_or_sleep, BrokenProcessPool)]
)
def test_an_error_or_the_end_of_a_worker_stops_the_others(two_workers, function, error):
    with pytest.raises(error, match=r"job 1 cannot be done|terminated abruptly"):
        run_all(function, [(0,), (1,), (2,)])
    assert not multiprocessing.active_children()


def slow_on_the_second(rank, on_step):
    time.sleep(2 * rank)
    return rank


def with_a_short_limit(ranks):
    dist.destroy_process_group()
    store = dist.FileStore(os.environ["STORE"], ranks.n_ranks)
    limit = timedelta(seconds=0.5)
    dist.init_process_group(
        "gloo", store=store, rank=ranks.rank, world_size=ranks.n_ranks, timeout=limit
    )
    jobs = [Job(slow_on_the_second, (number % 2,)) for number in range(2)]
    return side_by_side(jobs, Path("unused"), "slow", ranks)


def test_a_rank_waits_for_the_others_trainings_beyond_the_limit_of_an_exchange(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("STORE", str(tmp_path / "store"))
    assert on_ranks(2, with_a_short_limit) == [[0, 1]] * 2


def touch_and_sleep(directory, on_step):
    (directory / str(os.getpid())).touch()
    time.sleep(300)


@workers
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_die_with_a_parent_that_is_killed(two_workers, tmp_path):
    parent = start(run_all, touch_and_sleep, [(tmp_path,)] * 3)
    assert eventually(lambda: len(list(tmp_path.iterdir())) == 2 or not parent.is_alive(), 600)
    children = [int(file.name) for file in tmp_path.iterdir()]
    assert all(is_running(pid) for pid in children)
    parent.kill()
    parent.join()
    assert eventually(lambda: not any(is_running(pid) for pid in children))
