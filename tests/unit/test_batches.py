import pytest
import torch

from zeroshot_al.engine.batches import BatchStream

SIZES = [(20, 5), (20, 6), (7, 3), (5, 5), (3, 10), (1, 4), (10, 1)]


def stream(n_samples, batch_size, seed=0):
    return BatchStream(n_samples, batch_size, seed)


def first_batches(n_samples, batch_size, n_steps, seed=0):
    batches = stream(n_samples, batch_size, seed)
    return [batches.indices(step) for step in range(n_steps)]


@pytest.mark.parametrize(("n_samples", "batch_size"), SIZES)
def test_every_pass_is_a_permutation_and_every_batch_full(n_samples, batch_size):
    n_passes = 6
    # As many steps as end the last pass: a batch may span two passes, or several.
    batches = first_batches(n_samples, batch_size, -(-n_passes * n_samples // batch_size))
    assert all(batch.shape == (batch_size,) for batch in batches)
    assert all(batch.dtype == torch.int64 for batch in batches)
    seen = torch.cat(batches)[: n_passes * n_samples].reshape(n_passes, n_samples)
    for one in seen:
        assert one.sort().values.tolist() == list(range(n_samples))
    if n_samples >= 5:
        assert len(seen.unique(dim=0)) == n_passes  # each pass in another order


@pytest.mark.parametrize(("n_samples", "batch_size"), SIZES)
def test_a_step_is_a_function_of_the_seed_and_the_step_alone(n_samples, batch_size):
    expected = first_batches(n_samples, batch_size, 12)
    batches = stream(n_samples, batch_size)
    for step in (11, 3, 3, 0, 7, 11):  # in any order, as after a resume
        assert torch.equal(batches.indices(step), expected[step])
        assert torch.equal(stream(n_samples, batch_size).indices(step), expected[step])


def test_another_seed_gives_another_order():
    assert not torch.equal(*(stream(50, 50, seed).indices(0) for seed in (0, 1)))


def test_the_global_generator_has_no_say():
    with torch.random.fork_rng(devices=[]):
        draws = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            draws.append(stream(50, 20).indices(4))
            # ... and is not drawn from.
            assert torch.equal(torch.rand(1), torch.rand(1, generator=torch.manual_seed(seed)))
    assert torch.equal(*draws)


@pytest.mark.parametrize(("n_samples", "batch_size"), SIZES)
def test_ends_epoch_tells_when_the_last_sample_of_a_pass_was_seen(n_samples, batch_size):
    batches = stream(n_samples, batch_size)
    n_seen = 0
    for step in range(40):
        ends = any((n_seen + i + 1) % n_samples == 0 for i in range(batch_size))
        assert batches.ends_epoch(step) == ends
        n_seen += batch_size


def test_old_permutations_are_dropped():
    batches = stream(10, 4)
    for step in range(100):
        batches.indices(step)
        assert len(batches._permutations) <= 2
