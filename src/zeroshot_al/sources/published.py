"""Published data sets: a local copy as class folders, or the checksummed archives."""

from dataclasses import dataclass
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.pool import Pool
from zeroshot_al.sources.archives import read_torchvision
from zeroshot_al.sources.canonical import canonical_pool, images_fingerprint
from zeroshot_al.sources.cifar import CIFAR10, CIFAR100, CifarArchive, read_cifar
from zeroshot_al.sources.class_folders import list_class_folders, pool_in_place, splits_and_labels
from zeroshot_al.sources.ingest import RequiredShape, decode_files


@dataclass(frozen=True)
class Published:
    """What is known of a published data set.

    Parameters
    ----------
    dataset : str or CifarArchive
        The class in torchvision.datasets, but for CIFAR, whose archive there is of pickles.
    archives : str
        The files that are looked for, relative to the source's folder.
    fingerprint : str, optional
        `canonical.images_fingerprint` of the true data.
    """

    dataset: str | CifarArchive
    archives: str
    n_train: int
    n_test: int
    n_classes: int
    size_px: int
    fingerprint: str | None = None


PUBLISHED = {
    "cifar10": Published(
        CIFAR10,
        "cifar-10-binary.tar.gz",
        50_000,
        10_000,
        10,
        32,
        "25417efa7f0375f90460d37304ec40d47e84ccb8a20472e7c1c8cc7ec2ee8412",
    ),
    "cifar100": Published(CIFAR100, "cifar-100-binary.tar.gz", 50_000, 10_000, 100, 32),
    "svhn": Published("SVHN", "train_32x32.mat and test_32x32.mat", 73_257, 26_032, 10, 32),
    "fashion_mnist": Published(
        "FashionMNIST",
        "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz",
        60_000,
        10_000,
        10,
        28,
    ),
}

# A class name with a slash cannot name a folder.
LABEL_OF_FOLDER = {"fashion_mnist": {"T-shirt_top": "T-shirt/top"}}


def load_published(source: str, raw_dir: str | Path, pool_directory: Path) -> Pool:
    """Read a published data set from raw_dir/<source>, downloading it when it is not there.

    A local copy, `train/<class>/*` and `test/<class>/*`, is taken before any archive, and decoded
    into `pool_directory`.

    Raises
    ------
    InputError
        If there is neither a copy nor a network, or the copy is not the published data.
    """
    expected, directory = PUBLISHED[source], Path(raw_dir) / source
    if (directory / "train").is_dir():
        return read_local_copy(source, directory, expected, pool_directory)
    try:
        if isinstance(expected.dataset, CifarArchive):
            raw = read_cifar(expected.dataset, directory)
        else:
            # Imported here: it takes seconds, and a local copy does without it.
            import torchvision.datasets

            raw = read_torchvision(getattr(torchvision.datasets, expected.dataset), directory)
    except InputError as error:
        raise InputError(
            f"{source} is neither in {directory} nor could it be downloaded ({error}); "
            f"put {expected.archives} into {directory}, or set ZEROSHOT_AL_DATA to a folder "
            f"with {source}/train/<class>/*.png and {source}/test/<class>/*.png"
        ) from None
    return canonical_pool(raw)


def read_local_copy(
    source: str, directory: Path, expected: Published, pool_directory: Path
) -> Pool:
    """Read a data set's copy in class folders into `pool_directory`; check that it is the true one.

    Raises
    ------
    InputError
        If counts, sizes or the fingerprint are not those of the published data, or if an image
        cannot be read.
    """
    remedy = f"put a lossless copy into {directory}, or remove it to have {source} downloaded"
    listing = list_class_folders(directory)
    names = sorted(listing.files)
    splits, labels = splits_and_labels(names)
    counts = splits.count("train"), splits.count("test"), len(set(labels))
    published = expected.n_train, expected.n_test, expected.n_classes
    if counts != published:
        held, needed = (f"{n} + {m} images of {k} classes" for n, m, k in (counts, published))
        raise InputError(f"{directory} holds {held} instead of {needed}; {remedy}")
    label_of_folder = LABEL_OF_FOLDER.get(source, {})
    labels = [label_of_folder.get(label, label) for label in labels]
    shape = (expected.size_px, expected.size_px, 3)
    required = RequiredShape(shape, f"those of {source}", remedy)
    out = pool_directory / "images.npy"
    found = decode_files(listing.root, names, required, None, out)
    if found.reasons:
        row, why = min(found.reasons.items())
        raise InputError(f"{directory / names[row]} cannot be read ({why}); {remedy}")
    # An archive needs no such check: its md5 was checked.
    if expected.fingerprint is not None and expected.fingerprint != images_fingerprint(
        found.digests, splits, labels
    ):
        raise InputError(
            f"the images or labels in {directory} are not those that were published; {remedy}"
        )
    # Without names: the ids must be those that the archive's images get.
    return pool_in_place(splits, labels, found, out)
