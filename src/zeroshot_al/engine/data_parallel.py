"""What makes a training on several ranks the same as on one: gradients and BatchNorm of the batch.

Each rank computes its rows of every batch. `DistributedDataParallel` averages the gradients, and
BatchNorm takes its statistics over the rows of all ranks, so that the number of ranks changes
rounding alone, and no rank can tell its rows by their statistics.
"""

import warnings

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.ranks import Ranks


def check_batch_size(batch_size: int, ranks: Ranks) -> None:
    """Check that each rank can take an equal part of every batch.

    Raises
    ------
    InputError
        If not.
    """
    if batch_size % ranks.n_ranks:
        raise InputError(
            f"batch_size {batch_size} cannot be shared equally by {ranks.n_ranks} ranks; change "
            "ranks or batch_size in params.yaml"
        )


def averaged(module: nn.Module, ranks: Ranks) -> nn.Module:
    """Return the module so that `backward` leaves the mean gradient over the ranks, on each."""
    if ranks.n_ranks == 1:
        return module
    with warnings.catch_warnings():
        # A newer torch wants another name for it, which the older ones do not know.
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(module, broadcast_buffers=False)


def synchronized(module: nn.Module, ranks: Ranks) -> nn.Module:
    """Return the module with BatchNorm over all ranks; weights and their names stay."""
    if ranks.n_ranks == 1:
        return module
    if torch.cuda.is_available():
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _SynchronizedBatchNorm(child))
    return module


class _SynchronizedBatchNorm(_BatchNorm):
    """BatchNorm over the rows of all ranks, on a CPU, where `nn.SyncBatchNorm` does not run."""

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.train(norm.training)

    def _check_input_dim(self, x: Tensor) -> None:
        pass  # as the module in whose place this stands

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        with torch.no_grad():
            mean, variance, n = self._statistics(x)
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
        return _Normalize.apply(x, self.weight, self.bias, mean, variance, n, self.eps)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, int]:
        """Mean and variance, float32 (channels,), and the count of one channel, of all ranks."""
        # The kernel that also normalises takes an eighth of the time of `torch.var_mean`.
        _, mean, inverse_std = torch.native_batch_norm(
            x, self.weight, self.bias, None, None, True, 0.0, self.eps
        )
        mine = torch.stack([mean, inverse_std.pow(-2) - self.eps])
        parts = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, mine)
        means, variances = torch.stack(parts, dim=1)  # equal parts: no weights
        mean = means.mean(dim=0)
        variance = variances.clamp(min=0).mean(dim=0) + (means - mean).square().mean(dim=0)
        return mean, variance, x.numel() // x.shape[1] * len(parts)


class _Normalize(torch.autograd.Function):
    """(x - mean) / std * weight + bias, where mean and std are functions of x on all ranks."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        n: int,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.n = n
        return functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse_std = ctx.saved_tensors
        # torch's own kernel, which subtracts the means of this rank's rows from the gradient...
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, None, None, mean, inverse_std, True, 0.0, [True, True, True]
        )
        mine = torch.stack([of_bias, of_weight])  # sums over them, averaged with all gradients
        everyone = mine.clone()
        dist.all_reduce(everyone)
        # ... and the difference to the means of all, linear in x: another kernel's affine map.
        offset, slope = (mine * (x.shape[1] / x.numel()) - everyone / ctx.n) * weight * inverse_std
        slope = slope * inverse_std
        # By its bare name, since `functional.batch_norm` of torch 2.11 refuses an eps of 0.
        of_x += torch.batch_norm(
            x,
            slope,
            offset - slope * mean,
            torch.zeros_like(mean),
            torch.ones_like(mean),
            False,
            0.0,
            0.0,
            False,
        )
        return of_x, of_weight, of_bias, None, None, None, None
