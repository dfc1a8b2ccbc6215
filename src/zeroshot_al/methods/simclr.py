"""SimCLR: NT-Xent with the other samples of the batch as negatives."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.engine.data_parallel import synchronized
from zeroshot_al.selfsup.encoders import Encoder, EncoderParams, projection_head
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
        self.head = projection_head(
            self.encoder.n_features, params.head_hidden, params.head_dims, batch_norm=True
        )
        self._temperature = params.temperature
        self._ranks = ALONE

    def share(self, ranks: Ranks) -> None:
        """Compute this rank's rows of each batch from now on; the others' are negatives too."""
        self.encoder = synchronized(self.encoder, ranks)
        self.head = synchronized(self.head, ranks)
        self._ranks = ranks

    def training_loss(self, first: Tensor, second: Tensor, generator: torch.Generator) -> Tensor:
        """Return the NT-Xent loss of two views, each float32 (n, 3, h, w) in [0, 1]."""
        # Both views in one batch, as published: they share BatchNorm statistics.
        projected = self.head(self.encoder(torch.cat([first, second]))).float()
        with torch.autocast(first.device.type, enabled=False):
            return nt_xent(*projected.chunk(2), self._temperature, self._ranks)


def nt_xent(first: Tensor, second: Tensor, temperature: float, ranks: Ranks = ALONE) -> Tensor:
    """Return the mean cross-entropy of finding each view's partner among all other views.

    Parameters
    ----------
    first, second
        float32 (n, n_dims), row i of both projected from the same image, of any length.
    temperature
        Divides the cosine similarities.
    ranks
        The views of the other ranks are negatives too; gradients flow to all.

    References
    ----------
    Chen et al., 2020, equation 1.
    """
    first, second = functional.normalize(first, dim=1), functional.normalize(second, dim=1)
    all_first, all_second = ranks.gather_with_gradient(first), ranks.gather_with_gradient(second)
    own = ranks.rank * len(first) + torch.arange(len(first), device=first.device)
    # Every column but the view itself, without a mask, whose size a GPU would have to be asked for.
    others = torch.arange(len(all_first) - 1, device=first.device).repeat(len(first), 1)
    others += others >= own[:, None]
    similarity = [
        torch.einsum("nc,mc->nm", mine, theirs) / temperature
        for mine in (first, second)
        for theirs in (all_first, all_second)
    ]
    logits_first = torch.cat([similarity[1], similarity[0].gather(1, others)], dim=1)
    logits_second = torch.cat([similarity[2], similarity[3].gather(1, others)], dim=1)
    return functional.cross_entropy(torch.cat([logits_first, logits_second]), own.repeat(2))
