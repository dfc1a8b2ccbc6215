"""Which samples each training step sees, as a function of the seed and the step alone."""

import torch
from torch import Tensor

from zeroshot_al.engine.runtime import ORDER, generator_for


class BatchStream:
    """Endless passes over the data, each a new permutation, cut into equal batches.

    A batch may span two passes, so every batch is full and the number of steps is free of the
    number of samples: the same steps at every budget. A batch larger than the data repeats samples.
    """

    def __init__(self, n_samples: int, batch_size: int, seed: int) -> None:
        self._n_samples = n_samples
        self._batch_size = batch_size
        self._seed = seed
        self._permutations: dict[int, Tensor] = {}

    def indices(self, step: int) -> Tensor:
        """Return the int64 (batch_size,) sample indices of a step."""
        start = step * self._batch_size
        positions = torch.arange(start, start + self._batch_size)
        epochs = torch.div(positions, self._n_samples, rounding_mode="floor")
        batch = torch.empty_like(positions)
        needed = {int(epoch): epochs == epoch for epoch in epochs.unique()}
        for epoch, mine in needed.items():
            batch[mine] = self._permutation(epoch)[positions[mine] % self._n_samples]
        self._permutations = {epoch: self._permutations[epoch] for epoch in needed}
        return batch

    def ends_epoch(self, step: int) -> bool:
        """Whether a pass over the data ends within this step."""
        before = step * self._batch_size // self._n_samples
        return (step + 1) * self._batch_size // self._n_samples > before

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._permutations:
            generator = generator_for(self._seed, ORDER, epoch)
            self._permutations[epoch] = torch.randperm(self._n_samples, generator=generator)
        return self._permutations[epoch]
