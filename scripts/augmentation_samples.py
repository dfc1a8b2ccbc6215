"""Draw random views beside torchvision's own, for the eye, into docs/augmentations.png.

    python scripts/augmentation_samples.py

The tests compare the distributions; this shows that both look alike. The images are cut out of the
two photographs that scikit-learn ships.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torchvision.transforms import v2

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from zeroshot_al.engine.runtime import generator_for
from zeroshot_al.report.figures import save_figure
from zeroshot_al.selfsup.augment_contrastive import ViewParams, contrastive_views

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "augmentations.png"
SIZE_PX, N_VIEWS = 64, 9
# (top, left) of a square in the first and second photograph.
CUTS = [(0, 150, 330), (0, 60, 60), (1, 60, 200), (1, 100, 330)]
RATES = ViewParams(
    size_px=SIZE_PX, min_area=0.08, flip_rate=0.5, jitter_rate=0.8, grayscale_rate=0.2,
    brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, blur_rate=0.3, solarize_rate=0.1,
)  # fmt: skip


def main() -> None:
    photographs = load_sample_images().images
    side = 2 * SIZE_PX
    images = torch.from_numpy(
        np.stack([photographs[i][top : top + side, left : left + side] for i, top, left in CUTS])
    )
    views = contrastive_views(
        images.repeat_interleave(N_VIEWS, dim=0), RATES, generator_for(0)
    ).unflatten(0, (len(CUTS), N_VIEWS))
    torch.manual_seed(0)
    theirs = v2.Compose([
        v2.ToDtype(torch.float32, scale=True),
        v2.RandomResizedCrop(SIZE_PX, scale=(RATES.min_area, 1.0), antialias=False),
        v2.RandomHorizontalFlip(RATES.flip_rate),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=RATES.jitter_rate),
        v2.RandomGrayscale(RATES.grayscale_rate),
        v2.RandomApply([v2.GaussianBlur(7, (0.1, 2.0))], p=RATES.blur_rate),
        v2.RandomSolarize(0.5, RATES.solarize_rate),
    ])  # fmt: skip
    figure, axes = plt.subplots(
        2 * len(CUTS), N_VIEWS + 1, figsize=(N_VIEWS + 1, 2.15 * len(CUTS)), layout="constrained"
    )
    for row, image in enumerate(images):
        channels_first = image.permute(2, 0, 1)
        by_torchvision = [theirs(channels_first) for _ in range(N_VIEWS)]
        for line, (name, drawn) in enumerate(
            (("ours", views[row]), ("torchvision", by_torchvision))
        ):
            cells = axes[2 * row + line]
            cells[0].imshow(image)
            cells[0].set_ylabel(name, fontsize=8)
            for cell, view in zip(cells[1:], drawn, strict=True):
                cell.imshow(view.permute(1, 2, 0).clamp(0, 1))
    for cell in axes.flat:
        cell.set_xticks([])
        cell.set_yticks([])
    save_figure(figure, PICTURE)


if __name__ == "__main__":
    main()
