"""The features of all images, written as they come: a batch of each rank is in memory at a time."""

import io
import logging
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import append_npy, write_json
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.engine.checkpoint import read_saved

BATCH_SIZE = 500

_EVERY_S = 10.0  # between two saves of how far the file is whole

logger = logging.getLogger(__name__)


def write_features(
    path: Path, encoder: nn.Module, images: np.ndarray, device: torch.device, ranks: Ranks = ALONE
) -> None:
    """Write what `feature_batches` yields as an .npy file of float32 (n, n_features).

    The first rank writes the file, the same bytes on any number of ranks; the others take part.
    What an interrupted call with the same images and encoder left at `path` is continued: a JSON
    file beside it says how many rows are whole.
    """
    batch_size = getattr(encoder, "batch_size", BATCH_SIZE)  # a large model asks for less
    header = io.BytesIO()
    append_npy(header, (len(images), encoder.n_features), ())
    start, checksum = 0, 0
    if ranks.is_first:
        start, checksum = _whole_rows(path, len(header.getvalue()), 4 * encoder.n_features)
    start = ranks.share_json(start)
    batches = feature_batches(encoder, images, device, batch_size, ranks, start)
    if not ranks.is_first:
        for _ in batches:
            raise AssertionError("features have come to another rank than the first")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "rb+" if start else "wb") as file:
            file.write(header.getvalue())
            file.seek(4 * encoder.n_features * start, os.SEEK_CUR)
            file.truncate()
            _write_rows(file, batches, start, checksum)
    except OSError as error:
        error.filename = error.filename or str(path)  # opening names the file, writing does not
        raise


def _write_rows(file: BinaryIO, batches: Iterator[np.ndarray], n_rows: int, checksum: int) -> None:
    """Write rows behind those that are there, and now and then beside the file how many it has."""

    def save() -> None:
        file.flush()
        os.fsync(file.fileno())
        write_json(Path(file.name).with_suffix(".json"), {"rows": n_rows, "crc32": checksum})

    saved_at = time.monotonic()
    for rows in batches:
        content = np.ascontiguousarray(rows, dtype="<f4").data
        file.write(content)
        n_rows, checksum = n_rows + len(rows), zlib.crc32(content, checksum)
        if time.monotonic() - saved_at > _EVERY_S:
            save()
            saved_at = time.monotonic()
    save()


def _whole_rows(path: Path, n_header: int, n_row: int) -> tuple[int, int]:
    """Return how many rows of a file are whole, and their CRC-32; sizes in bytes."""
    saved = read_saved(path.with_suffix(".json"))
    if saved is None:
        return 0, 0
    try:
        shape = (saved["rows"] * n_row,)
        content = np.memmap(path, np.uint8, "r", n_header, shape) if saved["rows"] else b""
        if zlib.crc32(content) != saved["crc32"]:
            raise ValueError("its checksum is wrong")
    except (KeyError, TypeError, ValueError, OSError) as error:
        logger.warning("discarding the unreadable checkpoint %s (%s)", path, error)
        return 0, 0
    logger.info("continuing at image %d from %s", saved["rows"], path)
    return saved["rows"], saved["crc32"]


def feature_batches(
    encoder: nn.Module,
    images: np.ndarray,
    device: torch.device,
    batch_size: int = BATCH_SIZE,
    ranks: Ranks = ALONE,
    start: int = 0,
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
    start
        The first image; a multiple of `batch_size`, or the number of images.

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
    starts = range(start, len(images), batch_size)
    silent = None if ranks.is_first else True
    with tqdm(total=len(starts), desc="embed", disable=silent) as bar:
        for first in range(0, len(starts), ranks.n_ranks):
            turn = starts[first : first + ranks.n_ranks]  # a batch for each rank, but at the end
            features = torch.zeros((batch_size, encoder.n_features))
            if ranks.rank < len(turn):
                place = turn[ranks.rank]
                batch = torch.tensor(images[place : place + batch_size], device=device)
                with torch.inference_mode():
                    features[: len(batch)] = encoder(batch.permute(0, 3, 1, 2).float() / 255)
            gathered = ranks.gather(features)
            for place, rows in zip(turn if ranks.is_first else (), gathered, strict=False):
                rows = rows[: len(images) - place].numpy()
                bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
                if len(bad):
                    raise InputError(
                        f"the embedding of image {place + bad[0]} is not finite; "
                        "pretrain again with a lower learning rate, or give other weights"
                    )
                yield rows
            bar.update(len(turn))
