"""SimCLR: NT-Xent with the other samples of the batch as negatives."""

from dataclasses import dataclass

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor, nn

from zeroshot_al.base.ranks import Ranks
from zeroshot_al.engine.shared_training import synchronized
from zeroshot_al.selfsup.encoders import Encoder, EncoderParams
from zeroshot_al.selfsup.pretrain import PretrainParams


@dataclass(frozen=True)
class SimclrParams(PretrainParams):
    """Params section `simclr`."""


class Simclr(nn.Module):
    """One encoder and head for both views.

    References
    ----------
    Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020,
    algorithm 1 and equation 1.
    """

    def __init__(self, encoder: EncoderParams, params: SimclrParams) -> None:
        super().__init__()
        self.encoder = Encoder(encoder)
        self.head = SimCLRProjectionHead(
            self.encoder.n_features, params.head_hidden, params.head_dims
        )
        self._loss = NTXentLoss(params.temperature)

    def share(self, ranks: Ranks) -> None:
        """Compute this rank's rows of each batch from now on; the others' are negatives too."""
        self.encoder = synchronized(self.encoder, ranks)
        self.head = synchronized(self.head, ranks)
        self._loss = NTXentLoss(self._loss.temperature, gather_distributed=True)

    def training_loss(self, first: Tensor, second: Tensor, generator: torch.Generator) -> Tensor:
        """Return the NT-Xent loss of two views, each float32 (n, 3, h, w) in [0, 1]."""
        # Both views in one batch, as published: they share BatchNorm statistics.
        projected = self.head(self.encoder(torch.cat([first, second]))).float()
        with torch.autocast(first.device.type, enabled=False):
            return self._loss(*projected.chunk(2))
