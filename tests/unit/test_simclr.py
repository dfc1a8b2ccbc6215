import numpy as np
import pytest
import torch

from tiny_training import ENCODER, noise, simclr_params
from zeroshot_al.engine.runtime import generator_for
from zeroshot_al.methods.simclr import Simclr


def views_of(n, seed=0):
    views = torch.from_numpy(noise(2 * n, seed=seed)).permute(0, 3, 1, 2) / 255
    return views.chunk(2)


def nt_xent(first, second, temperature):
    """Chen et al., 2020, algorithm 1, line by line; z_{2k-1} and z_{2k} are the views of k."""
    n = len(first)
    z = np.empty((2 * n, first.shape[1]))
    z[0::2], z[1::2] = first, second
    s = np.empty((2 * n, 2 * n))
    for i in range(2 * n):
        for j in range(2 * n):
            s[i, j] = z[i] @ z[j] / (np.linalg.norm(z[i]) * np.linalg.norm(z[j]))

    def loss(i, j):
        others = sum(np.exp(s[i, k] / temperature) for k in range(2 * n) if k != i)
        return -np.log(np.exp(s[i, j] / temperature) / others)

    pairs = [loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in range(n)]
    return sum(pairs) / (2 * n)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [2, 7])
def test_the_loss_equals_the_papers_algorithm(temperature, n):
    method = Simclr(ENCODER, simclr_params(temperature=temperature))
    first, second = views_of(n)
    loss = method.training_loss(first, second, generator_for(0))
    # In training, BatchNorm takes the statistics of the batch: the same for both calls.
    with torch.no_grad():
        projected = method.head(method.encoder(torch.cat([first, second]))).double().numpy()
    assert loss.shape == ()
    assert loss.item() == pytest.approx(nt_xent(*np.split(projected, 2), temperature), rel=1e-5)


def test_under_autocast_the_loss_stays_in_float32():
    method = Simclr(ENCODER, simclr_params(temperature=0.1))
    first, second = views_of(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method.training_loss(first, second, generator_for(0))
        with torch.no_grad():
            projected = method.head(method.encoder(torch.cat([first, second])))
    assert loss.dtype == torch.float32
    # The projections are rounded to bf16, the loss of them is not.
    expected = nt_xent(*np.split(projected.double().numpy(), 2), 0.1)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_every_weight_learns():
    method = Simclr(ENCODER, simclr_params())
    method.training_loss(*views_of(8), generator_for(0)).backward()
    for name, weight in method.named_parameters():
        assert weight.grad is not None, name
