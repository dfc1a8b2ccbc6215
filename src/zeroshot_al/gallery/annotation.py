"""What `annotate` writes for the first picks: order.csv, an import file a tool, and the gallery."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image

from zeroshot_al.base.files import atomic_path, write_json
from zeroshot_al.base.pool import Pool
from zeroshot_al.gallery.covering_radii import distances, nearest_earlier, outlier_scores
from zeroshot_al.gallery.exports import (
    ORDER_HEADER,
    UNKNOWN_CLASSES,
    Pick,
    cvat_annotations,
    cvat_manifest,
    fiftyone_dataset,
    label_studio_config,
    label_studio_tasks,
    order_rows,
    plain_list,
)
from zeroshot_al.gallery.guesses import Guess
from zeroshot_al.sources.decode import expected_readable, upright_size_px
from zeroshot_al.sources.image_files import ImageFiles
from zeroshot_al.sources.left_out import LeftOut
from zeroshot_al.sources.spreadsheet import write_table

IMAGES = "images"
LONGEST_STEM = 80  # of the names that we make; file systems allow 255 bytes


@dataclass(frozen=True)
class AnnotateParams:
    """Section `annotate`.

    Parameters
    ----------
    random_share : float
        Part of a batch that is drawn at random, from 0 to 1; none of a pool that has labels.
    write_images : bool
        Write the picks as PNG files if the pool's images have no files of their own.
    n_neighbours : int
        Of the outlier score.
    n_clusters : int
        Whose counts the gallery compares.
    n_random : int
        Random orders that the covering radius is compared with.
    map_points : int
        Images on the gallery's map.
    seed : int
        Of the random orders, the samples and the map.
    """

    random_share: float
    write_images: bool
    n_neighbours: int
    n_clusters: int
    n_random: int
    map_points: int
    seed: int


def make_picks(
    pool: Pool,
    rows: np.ndarray,
    order: Sequence[int],
    reasons: Sequence[str],
    known: np.ndarray,
    left_out: LeftOut,
    params: AnnotateParams,
    files: ImageFiles | None,
    guesses: Mapping[str, Guess] = MappingProxyType({}),
) -> list[Pick]:
    """Describe each image of an order's beginning.

    Parameters
    ----------
    pool, left_out, params
    rows : ndarray of shape (n_train, n_dims), float32
        Canonical rows of the pool's train images.
    order : sequence of int, length budget
        Pool indices by rank.
    reasons : sequence of str, length budget
        As of `rounds.next_batch`.
    known : ndarray of shape (n_known,), int64
        Pool indices of what is labelled or was given out before.
    files : ImageFiles or None
        The files of the pool's images; None if they have none.
    guesses : mapping of str to Guess
        Of a model, by id.

    Raises
    ------
    InputError
        If one of the files cannot be read.
    """
    ids = pool.train_ids
    copies_of: dict[str, list[str]] = {}
    for copy, kept in left_out.kept_for.items():
        copies_of.setdefault(kept, []).append(copy)
    nearest = nearest_earlier(rows, [*known, *order], len(known))
    radii = distances(rows, order, nearest)
    scores = outlier_scores(rows, order, params.n_neighbours, params.seed)
    height, width = pool.images.shape[1:3]
    n_digits = len(str(len(order) - 1))
    picks = []
    for rank, index in enumerate(order):
        image_id = ids[index]
        name, path, size_px = image_id, "", (width, height)
        if files is not None:
            name, path = files.name(image_id), files.paths[image_id]
            with expected_readable(path):
                size_px = upright_size_px(path)
        elif params.write_images:
            name = path = f"{IMAGES}/{file_name(rank, n_digits, image_id)}"
        picks.append(
            Pick(
                rank=rank,
                index=int(index),
                id=image_id,
                name=name,
                path=path,
                size_px=size_px,
                reason=reasons[rank],
                radius=radii[rank],
                nearest_earlier="" if nearest[rank] < 0 else ids[nearest[rank]],
                duplicates=tuple(copies_of.get(image_id, ())),
                outlier_score=float(scores[rank]),
                guess=guesses.get(image_id),
            )
        )
    return picks


def file_name(rank: int, n_digits: int, name: str) -> str:
    """Name a file after rank and id, so that a tool that sorts by name keeps the order.

    Only letters, digits, ".", "_" and "-" of ASCII are kept: valid everywhere, harmless in a shell.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", name)[-LONGEST_STEM:]
    return f"{rank:0{n_digits}d}_{stem}.png"


def write_exports(
    directory: Path,
    picks: Sequence[Pick],
    images: np.ndarray | None,
    name: str,
    folder: str,
    classes: Sequence[str] = (),
    version: str = "",
) -> None:
    """Write order.csv, list.txt, the import file of each tool, and the images without a file.

    Parameters
    ----------
    directory, picks
    images : ndarray of shape (n_picks, height, width, 3), uint8, or None
        To write as the picks' files, below `directory`; None to write none.
    name : str
        The dataset's name in FiftyOne.
    folder : str
        Name of the images' folder, below Label Studio's document root.
    classes : sequence of str
        Names known so far.
    version : str
        Of the model that made the picks' guesses.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_table(directory / "order.csv", ORDER_HEADER, order_rows(picks))
    write_json(directory / "label_studio.json", label_studio_tasks(picks, folder, version))
    write_json(directory / "fiftyone.json", fiftyone_dataset(picks, name))
    texts = {
        "list.txt": plain_list(picks),
        "manifest.jsonl": cvat_manifest(picks),
        "label_studio_config.xml": label_studio_config(classes or UNKNOWN_CLASSES),
    }
    if any(pick.guess for pick in picks):
        texts["cvat_annotations.xml"] = cvat_annotations(picks)
    for file, text in texts.items():
        with atomic_path(directory / file) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    if images is not None:
        (directory / IMAGES).mkdir()
        for pick, pixels in zip(picks, images, strict=True):
            Image.fromarray(pixels).save(directory / pick.path)
