"""A saved model's guesses for the images of another folder."""

import tempfile
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy
from zeroshot_al.gallery.guesses import PREDICTIONS_HEADER
from zeroshot_al.predicting.report import Guesses
from zeroshot_al.predicting.saved import load_model, model_logits
from zeroshot_al.sources.folder import list_folder
from zeroshot_al.sources.left_out import REJECTED_HEADER
from zeroshot_al.sources.spreadsheet import write_table
from zeroshot_al.sources.working_size import decode_candidates


def predict_folder(root: str, model_dir: Path, models_dir: str, directory: Path) -> tuple[int, int]:
    """Write predictions.csv and rejected.csv for a folder's images into a directory.

    Parameters
    ----------
    root
        Any nesting; ids are paths relative to it.
    model_dir
        Of `save_model`.
    models_dir
        Where pretrained encoders are.
    directory
        Is not there yet.

    Returns
    -------
    tuple of int
        Images with a guess, and files without.

    Raises
    ------
    InputError
        If the folder has no image, the model is missing, or its encoder is another.
    """
    card, tensors = load_model(model_dir)
    candidates = list_folder(root)
    ids = sorted(candidates.files)
    if not ids:
        raise InputError(
            f"{root} holds no image that can be opened; images are .jpg, .png, .webp, .bmp, .tif, "
            ".gif"
        )
    directory.mkdir(parents=True)
    height, width = card.image_px
    size_px = height if height == width else None
    # The pixels lie in an array, as a pool's: the folder may hold more than the memory.
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        found, rejected = decode_candidates(candidates, ids, size_px, Path(scratch))
        images = read_npy(Path(scratch, "images.npy"), memory_map=True)
        logits = np.concatenate(list(model_logits(card, tensors, images, models_dir)))
    names = [ids[row] for row in found.good]
    guesses = Guesses.of(logits[found.good], card.temperature)
    rows = guesses.rows(names, card.classes, [""] * len(names))
    header = PREDICTIONS_HEADER[:-1]
    write_table(directory / "predictions.csv", header, (row[:-1] for row in rows))
    write_table(directory / "rejected.csv", REJECTED_HEADER, sorted(rejected.items()))
    return len(names), len(rejected)
