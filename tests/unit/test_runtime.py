import pytest
import torch

from zeroshot_al.base.errors import InputError
from zeroshot_al.engine.runtime import autocast, check_finite, generator_for, pick_device


def draw(*stream):
    return torch.rand(4, generator=generator_for(*stream)).tolist()


def test_a_generator_is_a_function_of_its_stream():
    assert draw(0, 1, 2) == draw(0, 1, 2)
    # The order counts. (Trailing zeros do not, so streams of a kind must be of one length.)
    streams = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 1, 0), (0, 0, 0), (2**31, 1, 1)]
    assert len({tuple(draw(*stream)) for stream in streams}) == len(streams)


def test_neighbouring_streams_are_independent():
    values = torch.tensor([draw(0, 2, step)[0] for step in range(2000)])
    assert values.mean() == pytest.approx(0.5, abs=0.03)
    lagged = torch.corrcoef(torch.stack([values[:-1], values[1:]]))[0, 1]
    assert abs(lagged) < 4 / 2000**0.5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_stops_with_step_and_learning_rate(value):
    with pytest.raises(InputError, match=r"the loss is -?(nan|inf) at step 7 .* rate 0\.0125; low"):
        check_finite(value, "the loss", 7, 0.0125)


def test_a_finite_value_passes():
    check_finite(1e300, "the loss", 0, 0.1)


def test_autocast_keeps_weights_and_losses_in_float32():
    device = pick_device()
    layer = torch.nn.Linear(4, 3).to(device)
    with autocast(device):
        output = layer(torch.ones(2, 4, device=device))
        loss = torch.nn.functional.cross_entropy(output, torch.zeros(2, dtype=int, device=device))
    assert output.dtype in (torch.bfloat16, torch.float32)
    assert loss.dtype == layer.weight.dtype == torch.float32
