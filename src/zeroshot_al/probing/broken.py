"""Broken images, as they lie in folders: noise, one colour, a page of text."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

from zeroshot_al.embedding.features import write_features
from zeroshot_al.engine.runtime import pick_device

WORDS = ("IMAGE NOT FOUND", "no preview", "404", "loading ...", "Untitled-1", "page 2 of 3")


def broken_images(n_images: int, height: int, width: int, seed: int) -> np.ndarray:
    """Make broken images, of the three kinds in turn.

    Returns
    -------
    ndarray of shape (n_images, height, width, 3), uint8
    """
    rng = np.random.default_rng(seed)
    images = np.empty((n_images, height, width, 3), dtype=np.uint8)
    for index in range(n_images):
        colour = rng.integers(0, 256, 3, dtype=np.uint8)
        if index % 3 == 0:
            images[index] = rng.integers(0, 256, images.shape[1:], dtype=np.uint8)
        elif index % 3 == 1:
            images[index] = colour
        else:
            page = Image.new("RGB", (width, height), "white")
            draw = ImageDraw.Draw(page)
            for line in range(3):
                place = (int(rng.integers(0, max(1, width // 4))), line * height // 3)
                text = WORDS[rng.integers(len(WORDS))]
                draw.text(place, text, fill=tuple(colour.tolist()), font_size=max(6, height // 4))
            images[index] = np.asarray(page)
    return images


def write_broken_features(
    images: np.ndarray, encoders: Mapping[str, nn.Module], directory: Path
) -> dict[str, str]:
    """Write the features of broken images by each encoder, unless they are whole there.

    Returns
    -------
    dict of str to str
        The .npy files by method.
    """
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # what works side by side afterwards is forked
    files = {method: directory / f"broken-{method}.npy" for method in encoders}
    for method, file in files.items():
        write_features(file, encoders[method], images, pick_device())
    return {method: str(file) for method, file in files.items()}
