import math

import pytest

from zeroshot_al.engine.schedule import learning_rate


@pytest.mark.parametrize(("n_steps", "warmup"), [(100, 10), (100, 0), (5, 5), (1, 0), (7, 6)])
def test_a_linear_warm_up_and_half_a_cosine(n_steps, warmup):
    for step in range(n_steps):
        if step < warmup:
            expected = 0.3 * (step + 1) / warmup
        else:  # Loshchilov and Hutter, equation 5
            progress = (step - warmup) / (n_steps - warmup)
            expected = 0.3 * 0.5 * (1 + math.cos(math.pi * progress))
        assert learning_rate(step, n_steps, 0.3, warmup) == pytest.approx(expected, rel=1e-12)


def test_a_triangle():
    rates = [learning_rate(step, 10, 0.3, 4, "linear") for step in range(10)]
    expected = [0.075, 0.15, 0.225, 0.3, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05]
    assert rates == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_every_step_learns_and_none_exceeds_the_peak(decay):
    rates = [learning_rate(step, 50, 0.1, 5, decay) for step in range(50)]
    assert all(0 < rate <= 0.1 for rate in rates)
    assert rates.index(max(rates)) == 4
    assert rates[5:] == sorted(rates[5:], reverse=True)
