"""scikit-learn's handwritten digits: 1,797 images that need no download."""

import numpy as np

from zeroshot_al.sources.canonical import RawImages, pixel_digests

N_TRAIN = 1400
UPSAMPLING = 2  # nearest neighbour: an encoder's strides would leave little of 8 x 8


def read_digits() -> RawImages:
    """Read the digits as 16 x 16 RGB images, 1,400 for training and 397 for testing.

    scikit-learn ships one set without a split. The train images are the first by the hash of
    their pixels: a fixed rule that knows no label.

    Returns
    -------
    RawImages
        With images of shape (1797, 16, 16, 3), uint8.
    """
    # Imported here, because the other sources need no scikit-learn.
    from sklearn.datasets import load_digits

    digits = load_digits()
    gray = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8), from 0..16
    gray = gray.repeat(UPSAMPLING, axis=1).repeat(UPSAMPLING, axis=2)
    images = np.repeat(gray[..., None], 3, axis=3)
    labels = [str(target) for target in digits.target]
    hashes = pixel_digests(images)
    by_hash = sorted(range(len(images)), key=lambda i: (hashes[i].tobytes(), labels[i]))
    splits = ["test"] * len(images)
    for i in by_hash[:N_TRAIN]:
        splits[i] = "train"
    return RawImages(images, splits, labels)
