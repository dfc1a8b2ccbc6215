import os

from zeroshot_al.process.workers import n_cores


def test_cores_are_those_that_the_process_may_use():
    assert 1 <= n_cores() <= (os.cpu_count() or 1)
