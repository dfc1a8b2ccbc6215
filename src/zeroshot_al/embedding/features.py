"""The features of all images, written as they come: a batch of each rank is in memory at a time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import append_npy
from zeroshot_al.base.ranks import ALONE, Ranks

BATCH_SIZE = 500


def write_features(
    path: Path, encoder: nn.Module, images: np.ndarray, device: torch.device, ranks: Ranks = ALONE
) -> None:
    """Write what `feature_batches` yields as an .npy file of float32 (n, n_features).

    The first rank writes the file, the same bytes on any number of ranks; the others take part.
    """
    batch_size = getattr(encoder, "batch_size", BATCH_SIZE)  # a large model asks for less
    batches = feature_batches(encoder, images, device, batch_size, ranks)
    if ranks.is_first:
        with open(path, "wb") as file:
            append_npy(file, (len(images), encoder.n_features), batches)
    else:
        for _ in batches:
            raise AssertionError("features have come to another rank than the first")


def feature_batches(
    encoder: nn.Module,
    images: np.ndarray,
    device: torch.device,
    batch_size: int = BATCH_SIZE,
    ranks: Ranks = ALONE,
) -> Iterator[np.ndarray]:
    """Yield the backbone's features before the projection head, a batch at a time.

    In float32, not bf16: 8 significant bits make distances between neighbours tie.

    Parameters
    ----------
    encoder
        An `Encoder`, or another module from views in [0, 1] to `n_features` features each.
    images
        uint8 (n, h, w, 3) array or memory map; read a batch at a time.
    ranks
        Batch i is computed by rank i modulo their number, as it would be by one process. The first
        rank alone yields the features; the others have to be run through all the same.

    Yields
    ------
    ndarray of shape (batch_size or less, n_features), float32
        In the order of the images.

    Raises
    ------
    InputError
        If a feature is NaN or infinite.
    """
    encoder = encoder.to(device, memory_format=torch.channels_last).eval()
    starts = range(0, len(images), batch_size)
    silent = None if ranks.is_first else True
    with tqdm(total=len(starts), desc="embed", disable=silent) as bar:
        for first in range(0, len(starts), ranks.n_ranks):
            turn = starts[first : first + ranks.n_ranks]  # a batch for each rank, but at the end
            features = torch.zeros((batch_size, encoder.n_features))
            if ranks.rank < len(turn):
                start = turn[ranks.rank]
                batch = torch.tensor(images[start : start + batch_size], device=device)
                with torch.inference_mode():
                    features[: len(batch)] = encoder(batch.permute(0, 3, 1, 2).float() / 255)
            gathered = ranks.gather(features)
            for start, rows in zip(turn if ranks.is_first else (), gathered, strict=False):
                rows = rows[: len(images) - start].numpy()
                bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
                if len(bad):
                    raise InputError(
                        f"the embedding of image {start + bad[0]} is not finite; "
                        "pretrain again with a lower learning rate, or give other weights"
                    )
                yield rows
            bar.update(len(turn))
