import copy

import pytest
import torch
from torch.nn import functional

from tiny_training import ENCODER, moco_params, noise, weights
from zeroshot_al.base.errors import InputError
from zeroshot_al.engine.runtime import generator_for
from zeroshot_al.methods.moco import Moco

BATCH, QUEUE = 8, 32


def make(seed=0, **changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Moco(ENCODER, moco_params(batch_size=BATCH, queue_size=QUEUE, **changes)).train()


def views_of(step):
    views = torch.from_numpy(noise(2 * BATCH, seed=step)).permute(0, 3, 1, 2) / 255
    return views.chunk(2)


def queue_of(method):
    """The queued keys, the oldest first."""
    return torch.roll(method.queue, -int(method.oldest), dims=0)


class Reference:
    """He et al., 2020, algorithm 1, line by line, a sample at a time."""

    def __init__(self, method, temperature, momentum):
        self.query = copy.deepcopy((method.encoder, method.head))
        self.key = copy.deepcopy((method.key_encoder, method.key_head))
        self.queue = list(queue_of(method))
        self.temperature, self.momentum = temperature, momentum

    def step(self, query_view, key_view, learning_rate):
        queries = functional.normalize(self.query[1](self.query[0](query_view)), dim=1)
        with torch.no_grad():
            keys = functional.normalize(self.key[1](self.key[0](key_view)), dim=1)
        losses = []
        for query, key in zip(queries, keys, strict=True):
            logits = torch.stack([query @ key, *(query @ other for other in self.queue)])
            losses.append(-torch.log_softmax(logits / self.temperature, dim=0)[0])
        loss = torch.stack(losses).mean()
        trained = [weight for module in self.query for weight in module.parameters()]
        gradients = torch.autograd.grad(loss, trained)
        with torch.no_grad():
            for weight, gradient in zip(trained, gradients, strict=True):
                weight -= learning_rate * gradient
            slow = [weight for module in self.key for weight in module.parameters()]
            for key_weight, weight in zip(slow, trained, strict=True):
                key_weight.mul_(self.momentum).add_((1 - self.momentum) * weight)
        # enqueue, dequeue
        self.queue = [*self.queue, *keys][len(keys) :]
        return loss.item()


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_losses_and_queue_equal_the_papers_algorithm(temperature):
    method = make(temperature=temperature, key_splits=1)
    slow = Reference(method, temperature, momentum=0.9)
    assert queue_of(method).norm(dim=1) == pytest.approx(torch.ones(QUEUE))
    optimizer = torch.optim.SGD([w for w in method.parameters() if w.requires_grad], lr=0.1)
    for step in range(5):  # the queue of three batches is overwritten from its start
        first, second = views_of(step)
        loss = method.training_loss(first, second, generator_for(0, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.item() == pytest.approx(slow.step(first, second, 0.1), rel=1e-3)
        torch.testing.assert_close(queue_of(method), torch.stack(slow.queue), atol=2e-3, rtol=0)


@pytest.mark.parametrize("key_splits", [1, 2, 4])
def test_keys_come_back_in_the_order_of_the_queries(key_splits):
    method = make(key_splits=key_splits)
    # Without statistics of the batch a key depends on its own view alone.
    method.eval()
    _, views = views_of(0)
    expected = method.key_head(method.key_encoder(views))
    for seed in range(3):
        keys = method._keys(views, generator_for(seed))
        assert not keys.requires_grad
        torch.testing.assert_close(keys, expected, atol=1e-5, rtol=0)


def test_each_part_of_the_keys_has_its_own_statistics():
    method = make(key_splits=2)
    _, views = views_of(0)
    order = torch.randperm(BATCH, generator=generator_for(5))
    encode = copy.deepcopy((method.key_encoder, method.key_head))
    keys = method._keys(views, generator_for(5))
    for part in order.chunk(2):
        alone = encode[1](encode[0](views[part]))
        torch.testing.assert_close(keys[part], alone, atol=1e-4, rtol=0)
    whole = encode[1](encode[0](views))
    assert (keys - whole).abs().max() > 0.01
    # So a key does not tell which samples its query was normalised with.
    other = make(key_splits=2)._keys(views, generator_for(6))
    assert (keys - other).abs().max() > 0.01


def test_the_key_encoder_gets_no_gradient_and_moves_by_the_momentum_rule():
    momentum = 0.75
    method = make(momentum=momentum)
    pairs = [(method.encoder, method.key_encoder), (method.head, method.key_head)]
    for query, key in pairs:
        assert weights(query) == weights(key)
        with torch.no_grad():
            for weight in query.parameters():
                weight += torch.randn(weight.shape, generator=generator_for(0))
    old = [[w.clone() for w in key.parameters()] for _, key in pairs]
    method.training_loss(*views_of(0), generator_for(0)).backward()
    for (query, key), before in zip(pairs, old, strict=True):
        for weight, moved, start in zip(query.parameters(), key.parameters(), before, strict=True):
            assert weight.grad is not None
            assert moved.grad is None and not moved.requires_grad
            expected = momentum * start + (1 - momentum) * weight
            torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-6)


def test_the_key_encoder_standardizes_as_the_query_encoder():
    method = make()
    method.encoder.mean, method.encoder.std = torch.full((3,), 0.4), torch.full((3,), 0.2)
    method.training_loss(*views_of(0), generator_for(0))
    assert torch.equal(method.key_encoder.mean, method.encoder.mean)
    assert torch.equal(method.key_encoder.std, method.encoder.std)


def info_nce(method, query_view, key_view, queue, temperature):
    query, key = (
        functional.normalize(head(encoder(view)).detach(), dim=1)
        for head, encoder, view in (
            (method.head, method.encoder, query_view),
            (method.key_head, method.key_encoder, key_view),
        )
    )
    logits = torch.cat([(query * key).sum(dim=1, keepdim=True), query @ queue.T], dim=1)
    labels = torch.zeros(len(query), dtype=torch.long)
    return functional.cross_entropy(logits / temperature, labels).item(), key


def test_the_symmetric_loss_is_the_mean_of_both_roles_and_queues_both_sets_of_keys():
    method = make(symmetric=True, key_splits=1, temperature=0.1)
    first, second = views_of(0)
    queue, before = queue_of(method), copy.deepcopy(method)
    loss = method.training_loss(first, second, generator_for(0)).item()
    # In the authors' CIFAR-10 demonstration both roles come before the queue is updated.
    pairs = ((first, second), (second, first))
    losses, keys = zip(*(info_nce(before, *pair, queue, 0.1) for pair in pairs), strict=True)
    assert loss == pytest.approx(sum(losses) / 2, rel=1e-4)
    queued = queue_of(method)
    assert torch.equal(queued[: -2 * BATCH], queue[2 * BATCH :])
    nearest = torch.cdist(torch.cat(keys), queued[-2 * BATCH :]).min(dim=1)
    assert nearest.values.max() < 1e-2
    assert sorted(nearest.indices.tolist()) == list(range(2 * BATCH))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        *(
            ({"queue_size": size}, f"queue_size {size} is not a multiple .* 8 keys")
            for size in (4, 12, 25)
        ),
        ({"queue_size": 16, "key_splits": 5}, "key_splits 5 leaves parts of one sample .* 8;"),
    ],
)
def test_a_queue_or_splits_that_the_batch_does_not_fill_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Moco(ENCODER, moco_params(batch_size=8, **changes))


def test_splits_that_do_not_divide_the_batch():
    method = Moco(ENCODER, moco_params(batch_size=10, queue_size=20, key_splits=4))
    views = torch.from_numpy(noise(20)).permute(0, 3, 1, 2) / 255
    assert method.training_loss(*views.chunk(2), generator_for(0)).isfinite()
