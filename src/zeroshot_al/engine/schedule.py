"""The learning rate of a step: a linear warm-up, then half a cosine or a line to zero."""

import math
from typing import Literal

Decay = Literal["cosine", "linear"]


def learning_rate(
    step: int, n_steps: int, peak: float, warmup_steps: int, decay: Decay = "cosine"
) -> float:
    """Return the learning rate of `step` (0-based).

    References
    ----------
    Loshchilov and Hutter, "SGDR", 2017, equation 5, without restarts.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if decay == "linear":
        return peak * (n_steps - step) / (n_steps - warmup_steps)
    angle = math.pi * (step - warmup_steps) / (n_steps - warmup_steps)
    return peak * (math.cos(angle) + 1) / 2
