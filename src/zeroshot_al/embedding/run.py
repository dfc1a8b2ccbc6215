"""The embeddings of a pool by each encoder that there is: what stage embed does first."""

import logging
import shutil
from pathlib import Path

import numpy as np
from torch import nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy, write_npy
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.embedding.existing_model import load_existing_model, weights_file
from zeroshot_al.embedding.features import write_features
from zeroshot_al.embedding.onnx_model import OnnxParams
from zeroshot_al.engine.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.engine.runtime import pick_device
from zeroshot_al.selfsup.encoders import READY_MADE, EncoderParams, load_encoder

EXISTING = "pretrained"
"""The method of an existing model, and of embeddings that were brought along."""


def write_embeddings(
    params: EncoderParams,
    onnx: OnnxParams,
    images: np.ndarray,
    pool_dir: str,
    models_dir: str,
    directory: Path,
    ranks: Ranks,
) -> None:
    """Write each method's float32 (n, n_dims) embeddings of the pool's images, or those it brought.

    The first of the ranks writes the files, and continues those of an interrupted call.
    """
    ready_made = Path(pool_dir, READY_MADE)
    if ready_made.exists():
        if ranks.is_first:
            write_npy(directory / f"{EXISTING}.npy", read_npy(ready_made, memory_map=True))
        return
    encoders = load_encoders(params, onnx, models_dir)
    checkpoints = checkpoint_root() / "embed"
    if ranks.is_first:
        files = [encoder_file(method, params, models_dir) for method in encoders]
        weights = [np.fromfile(file, np.uint8) for file in files]
        checkpoints /= fingerprint(params, onnx, images, list(encoders), *weights)
    paths = [checkpoints / f"{method}.npy" for method in encoders]
    for path, encoder in zip(paths, encoders.values(), strict=True):
        write_features(path, encoder, images, pick_device(), ranks)
    if ranks.is_first:
        directory.mkdir(parents=True)
        for path in paths:
            shutil.move(path, directory)
        discard(checkpoints)


def load_encoders(params: EncoderParams, onnx: OnnxParams, models_dir: str) -> dict[str, nn.Module]:
    """Return the existing model and the encoders that were trained, by method.

    Raises
    ------
    InputError
        If there is none.
    """
    encoders: dict[str, nn.Module] = {}
    if params.weights is not None:
        try:
            encoders[EXISTING] = load_existing_model(params.weights, onnx)
        except InputError as error:
            if params.alone:
                raise
            logging.warning("%s; going on without this model", error)
    if not params.replaces_pretraining:
        for file in sorted(Path(models_dir).glob("*/*.safetensors")):
            encoders[file.stem] = load_encoder(file, params)
    if not encoders:
        raise InputError(
            f"{models_dir} holds no encoder; set active of a method to true in params.yaml and run "
            "its pretraining, or set encoder.weights"
        )
    return encoders


def encoder_file(method: str, params: EncoderParams, models_dir: str) -> Path:
    """Return the file of a method's encoder, by which it can be told from others.

    Raises
    ------
    InputError
        If it is not there.
    """
    if method == EXISTING and params.weights is not None:
        return weights_file(params.weights)
    path = Path(models_dir, method, f"{method}.safetensors")
    if not path.is_file():
        raise InputError(f"{path} does not exist; run the stage that writes it")
    return path


def load_one_encoder(
    method: str, params: EncoderParams, onnx: OnnxParams, models_dir: str
) -> nn.Module:
    """Load one method's encoder, with the errors of `encoder_file` and of its loader."""
    if method == EXISTING and params.weights is not None:
        return load_existing_model(params.weights, onnx)
    return load_encoder(encoder_file(method, params, models_dir), params)
