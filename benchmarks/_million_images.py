"""Small image files by the million: distinct, of 200 kinds, a thousand a folder."""

from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

SIDE_PX = 32
N_KINDS = 200  # images of one kind are alike, as those of one scene or product
PER_FOLDER = 1000
COARSE = (6, 6, 3)


def make_images(folder: Path, n_images: int) -> None:
    """Write what is missing of the first `n_images`; each is a function of its number alone."""
    jobs = [
        (folder / f"{first // PER_FOLDER:06}", first, min(PER_FOLDER, n_images - first))
        for first in range(0, n_images, PER_FOLDER)
    ]
    with get_context("fork").Pool() as pool:
        for _ in tqdm(pool.imap_unordered(_make_folder, jobs), "images", len(jobs), disable=None):
            pass


def _make_folder(job: tuple[Path, int, int]) -> None:
    folder, first, n_images = job
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / f"{first + n_images - 1:09}.png").exists():  # the last one that is written
        return
    kinds = np.random.default_rng(0).integers(0, 160, (N_KINDS, *COARSE))
    draw = np.random.default_rng([1, first])
    coarse = kinds[draw.integers(N_KINDS, size=PER_FOLDER)] + draw.integers(
        0, 96, (PER_FOLDER, *COARSE)
    )
    noise = draw.integers(0, 8, (PER_FOLDER, SIDE_PX, SIDE_PX, 1), np.uint8)
    for i in range(n_images):
        small = Image.fromarray(coarse[i].astype(np.uint8))
        pixels = np.asarray(small.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))
        image = Image.fromarray(np.minimum(pixels, 247) + noise[i])
        image.save(folder / f"{first + i:09}.png", compress_level=1)
