"""Device, precision and randomness, each decided in one place."""

import numpy as np
import torch
from torch import Tensor

from zeroshot_al.base.errors import InputError

# The purposes of randomness in a training: see `generator_for`.
INIT, ORDER, VIEWS = range(3)


def pick_device() -> torch.device:
    """Return the CUDA device if there is one, else the CPU, set up to give the same bytes twice."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on the device, without waiting for what the device is still doing."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def autocast(device: torch.device) -> torch.autocast:
    """Return bf16 autocast where the hardware multiplies bf16, else a context that does nothing.

    Weights, BatchNorm statistics and losses stay in float32 either way.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.backends.mkldnn.is_available() and torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bf16)


def generator_for(*stream: int) -> torch.Generator:
    """Return a CPU generator that is a function of the given non-negative integers alone.

    Trailing zeros do not count: (7,) and (7, 0) are the same stream.

    All randomness of training step `t` comes from ``generator_for(seed, purpose, t)``: a run that
    resumes at `t` draws what an uninterrupted run would, with no generator state to save, and the
    draws are the same on every device.
    """
    state = np.random.SeedSequence(stream).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def initial_weights(seed: int) -> None:
    """Seed torch's global generator, which modules draw their initial weights from."""
    torch.manual_seed(generator_for(seed, INIT).initial_seed())


def check_finite(value: float, what: str, step: int, learning_rate: float) -> None:
    """Stop training at a NaN or infinite value.

    Raises
    ------
    InputError
        With the step, the learning rate and the remedy.
    """
    if not np.isfinite(value):
        raise InputError(
            f"{what} is {value} at step {step} with the learning rate {learning_rate:.4g}; "
            "lower the learning rate in params.yaml"
        )
