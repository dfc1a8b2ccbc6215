"""MoCo-v2: a queue of keys from a momentum encoder as negatives."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.engine.data_parallel import synchronized
from zeroshot_al.engine.runtime import to_device
from zeroshot_al.selfsup.encoders import Encoder, EncoderParams, projection_head
from zeroshot_al.selfsup.pretrain import PretrainParams


@dataclass(frozen=True)
class MocoParams(PretrainParams):
    """Params section `moco`; `key_splits` parts of a batch have their own BatchNorm statistics."""

    momentum: float
    queue_size: int
    key_splits: int
    symmetric: bool


class Moco(nn.Module):
    """Query encoder, momentum key encoder, queue.

    The leak through BatchNorm: were a query and its key normalised with the statistics of the
    same samples, the network could match them by the statistics. So the keys are shuffled and
    encoded in `key_splits` parts, each with its own statistics, as on as many devices.

    References
    ----------
    He et al., "Momentum Contrast", 2020, algorithm 1 and section 3.3 (shuffling BN); Chen et al.,
    "Improved Baselines with Momentum Contrastive Learning", 2020 (MLP head).
    The symmetric loss is that of the authors' CIFAR-10 demonstration.
    """

    def __init__(self, encoder: EncoderParams, params: MocoParams) -> None:
        super().__init__()
        n_keys = params.batch_size * (2 if params.symmetric else 1)
        if params.queue_size % n_keys:
            raise InputError(
                f"queue_size {params.queue_size} is not a multiple of the {n_keys} keys of a step; "
                "change it or the batch_size in params.yaml"
            )
        if params.batch_size < 2 * params.key_splits:
            raise InputError(
                f"key_splits {params.key_splits} leaves parts of one sample in a batch of "
                f"{params.batch_size}; lower it in params.yaml"
            )
        self.encoder = Encoder(encoder)
        self.head = projection_head(
            self.encoder.n_features, params.head_hidden, params.head_dims, batch_norm=False
        )
        self.key_encoder, self.key_head = copy.deepcopy((self.encoder, self.head))
        self.key_encoder.requires_grad_(False)
        self.key_head.requires_grad_(False)
        queue = functional.normalize(torch.randn(params.queue_size, params.head_dims), dim=1)
        self.register_buffer("queue", queue)
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))
        self._temperature = params.temperature
        self._momentum = params.momentum
        self._key_splits = params.key_splits
        self._symmetric = params.symmetric
        self._ranks = ALONE

    def share(self, ranks: Ranks) -> None:
        """Compute this rank's rows of each batch from now on.

        Raises
        ------
        InputError
            If the parts of the keys cannot be dealt equally.
        """
        if self._key_splits % ranks.n_ranks:
            raise InputError(
                f"key_splits {self._key_splits} cannot be dealt equally to {ranks.n_ranks} ranks; "
                "change ranks or key_splits in params.yaml"
            )
        # The queries alone: each part of the keys keeps its own statistics.
        self.encoder = synchronized(self.encoder, ranks)
        self.head = synchronized(self.head, ranks)
        self._ranks = ranks

    def training_loss(self, first: Tensor, second: Tensor, generator: torch.Generator) -> Tensor:
        """Update the key encoder, return the InfoNCE loss of two views, and queue the keys.

        Each view is float32 (n, 3, h, w) in [0, 1]. The symmetric loss is the mean over both
        roles of the views; it queues both sets of keys.
        """
        self._follow()
        self.key_encoder.mean.copy_(self.encoder.mean)
        self.key_encoder.std.copy_(self.encoder.std)
        pairs = [(first, second), (second, first)] if self._symmetric else [(first, second)]
        queries = [self.head(self.encoder(query_view)).float() for query_view, _ in pairs]
        keys = [self._keys(key_view, generator) for _, key_view in pairs]  # of all ranks
        mine = self._ranks.rows_of(len(keys[0]))
        # One call: both roles meet the queue as it was. Were the first role's keys queued before
        # the second's loss, each query would find the key of its own view among the negatives.
        with torch.autocast(first.device.type, enabled=False):
            partners = torch.cat([key[mine] for key in keys])
            loss = info_nce(torch.cat(queries), partners, self.queue.clone(), self._temperature)
            self._enqueue(torch.cat(keys))
        return loss

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the key encoder and head towards those of the queries."""
        followers = [*self.key_encoder.parameters(), *self.key_head.parameters()]
        leaders = [*self.encoder.parameters(), *self.head.parameters()]
        torch._foreach_mul_(followers, self._momentum)
        torch._foreach_add_(followers, leaders, alpha=1 - self._momentum)

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        """Put float32 (n, n_dims) keys in the place of the oldest."""
        places = (self.oldest + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue.index_copy_(0, places, functional.normalize(keys, dim=1))
        self.oldest.add_(len(keys)).remainder_(len(self.queue))

    @torch.no_grad()
    def _keys(self, views: Tensor, generator: torch.Generator) -> Tensor:
        views = torch.cat(self._ranks.gather(views))
        order = torch.randperm(len(views), generator=generator)
        order = to_device(order, views.device)
        parts = views[order].tensor_split(self._key_splits)
        mine = parts[self._ranks.rows_of(self._key_splits)]
        encoded = torch.cat([self.key_head(self.key_encoder(part)).float() for part in mine])
        shuffled = torch.cat(self._ranks.gather_rows(encoded))
        return torch.empty_like(shuffled).index_copy_(0, order, shuffled)


def info_nce(queries: Tensor, keys: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Return the mean cross-entropy of finding each query's key among it and the queue.

    Parameters
    ----------
    queries, keys
        float32 (n, n_dims), of any length.
    queue
        float32 (queue_size, n_dims), of unit length: the negatives.
    temperature
        Divides the cosine similarities.

    References
    ----------
    He et al., 2020, equation 1.
    """
    queries, keys = functional.normalize(queries, dim=1), functional.normalize(keys, dim=1)
    positive = torch.einsum("nc,nc->n", queries, keys)[:, None]
    logits = torch.cat([positive, queries @ queue.T], dim=1) / temperature
    return functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64))
