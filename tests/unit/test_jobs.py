import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from processes import eventually, is_running
from tiny_training import HAS_CUDA
from zeroshot_al.classifier import jobs
from zeroshot_al.classifier.jobs import run_jobs
from zeroshot_al.engine.runtime import generator_for

workers = pytest.mark.skipif(HAS_CUDA, reason="jobs run one after the other on a GPU")


@pytest.fixture(params=[1, 2])
def n_workers(request, monkeypatch):
    if request.param == 2 and HAS_CUDA:
        pytest.skip("jobs run one after the other on a GPU")
    monkeypatch.setattr(jobs, "n_cores", lambda: request.param)
    return request.param


@pytest.fixture
def two_workers(monkeypatch):
    monkeypatch.setattr(jobs, "n_cores", lambda: 2)
    yield
    for child in multiprocessing.active_children():  # of a test that failed
        child.terminate()


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


def test_results_come_in_the_order_of_the_jobs(n_workers):
    # The first jobs take longest.
    todo = [(number, 0.2 - 0.05 * number) for number in range(4)]
    assert run_jobs(slow_square, todo, 4, "squares") == [(n, n**2) for n in range(4)]


def test_a_single_job(n_workers):
    assert run_jobs(slow_square, [(3, 0)], 1, "one") == [(3, 9)]


def test_the_result_does_not_depend_on_the_number_of_workers(n_workers):
    expected = [train(seed, lambda n: None) for seed in range(3)]
    assert run_jobs(train, [(seed,) for seed in range(3)], 15, "train") == expected
    assert len(set(expected)) == 3


@workers
def test_jobs_run_in_other_processes_side_by_side(two_workers, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    pids = run_jobs(meet, [(first, second), (second, first)], 0, "meet")
    assert len({*pids, os.getpid()}) == 3
    assert not multiprocessing.active_children()


def test_steps_are_counted(n_workers, monkeypatch):
    bars = []

    class Bar(jobs.tqdm):
        def __init__(self, *args, **kwargs):
            # Silent off a terminal, and a silent bar does not count.
            super().__init__(*args, **kwargs | {"disable": False})
            bars.append(self)

    monkeypatch.setattr(jobs, "tqdm", Bar)
    run_jobs(train, [(seed,) for seed in range(3)], 15, "train")
    assert [(bar.n, bar.total, bar.desc) for bar in bars] == [(15, 15, "train")]


def test_an_error_stops_a_lone_worker(monkeypatch):
    monkeypatch.setattr(jobs, "n_cores", lambda: 1)
    with pytest.raises(ValueError, match="job 1 cannot be done"):
        run_jobs(fail_or_sleep, [(1,), (2,)], 2, "fail")


@workers
def test_an_error_in_one_job_is_raised_and_stops_the_others(two_workers):
    with pytest.raises(ValueError, match="job 1 cannot be done"):
        run_jobs(fail_or_sleep, [(0,), (1,), (2,)], 3, "fail")
    assert not multiprocessing.active_children()


@workers
def test_a_worker_that_is_killed_stops_the_others(two_workers):
    with pytest.raises(BrokenProcessPool):
        run_jobs(die_or_sleep, [(0,), (1,), (2,)], 3, "die")
    assert not multiprocessing.active_children()


SLEEPERS = """
import os, sys, time
from pathlib import Path
from zeroshot_al.classifier import jobs

def sleep(number, on_step):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(300)

if __name__ == "__main__":
    jobs.n_cores = lambda: 2
    jobs.run_jobs(sleep, [(0,), (1,), (2,)], 3, "sleep")
"""


@workers
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_workers_die_with_a_parent_that_is_killed(tmp_path):
    script, pids = tmp_path / "sleepers.py", tmp_path / "pids"
    script.write_text(SLEEPERS)
    pids.mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, script, pids], env=environment)
    assert eventually(lambda: len(list(pids.iterdir())) == 2 or parent.poll() is not None, 600)
    children = [int(file.name) for file in pids.iterdir()]
    assert all(is_running(pid) for pid in children)
    parent.kill()
    parent.wait()
    assert eventually(lambda: not any(is_running(pid) for pid in children))
