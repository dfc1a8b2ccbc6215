"""Which pairs of points still matter, and their exact distances."""

import numpy as np
import torch
from torch import Tensor

MARGIN = 2.0**-17  # of squared distances: what float32 products of unit rows may be off


def close_pairs(
    points: Tensor, target_points: Tensor, nearest: Tensor, tile: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of a target and a point that is closer to it than its nearest pick.

    Parameters
    ----------
    points, target_points : Tensor of shape (n_samples, n_dims) and (n_targets, n_dims), float32
        Canonical rows.
    nearest : Tensor of shape (n_targets,), float32
        Squared distance of each target to its nearest pick, infinite without one.
    tile : int
        Rows and columns of one product.

    Returns
    -------
    of_target, of_point : ndarray of shape (n_pairs,), int32
        Number of the target, ascending, and point, ascending in each target.
    distances : ndarray of shape (n_pairs,), float32
        Squared distance of the two.
    """
    found = []
    for start in range(0, len(target_points), tile):
        rows = slice(start, start + tile)
        limit = 1 - nearest[rows, None] / 2 - MARGIN
        parts = []
        for first in range(0, len(points), tile):
            products = target_points[rows] @ points[first : first + tile].T
            target, point = (products > limit).nonzero().unbind(1)
            target, point = target + start, point + first
            exact = squared_distances_of_pairs(target_points, target, points, point)
            kept = exact < nearest[target]
            parts.append((target[kept].int(), point[kept].int(), exact[kept]))
        target, point, exact = (torch.cat(columns) for columns in zip(*parts, strict=True))
        by_target = target.argsort(stable=True)
        found.append([part[by_target].cpu().numpy() for part in (target, point, exact)])
    of_target, of_point, distances = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return of_target, of_point, distances


def squared_distances_of_pairs(
    left: Tensor, left_index: Tensor, right: Tensor, right_index: Tensor
) -> Tensor:
    """Squared distances of the rows `left_index` of `left` to `right_index` of `right`.

    They are float32 (n_pairs,), exact up to one last rounding: the same however pairs are split.
    """
    out = left.new_empty(len(left_index))
    step = max(1, (1 << (17 if left.device.type == "cpu" else 26)) // left.shape[1])
    parts = (tensor.split(step) for tensor in (left_index, right_index, out))
    for of_left, of_right, part in zip(*parts, strict=True):
        difference = left[of_left].double()
        difference -= right[of_right]
        part.copy_(torch.linalg.vecdot(difference, difference))
    return out
