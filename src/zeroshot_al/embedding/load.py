"""The encoders that are active: those that were trained, and an existing model."""

import logging
from pathlib import Path

from torch import nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.embedding.existing_model import load_existing_model
from zeroshot_al.embedding.onnx_model import OnnxParams
from zeroshot_al.selfsup.encoders import EncoderParams, load_encoder

EXISTING = "pretrained"
"""The method of an existing model, and of embeddings that were brought along."""


def load_encoders(params: EncoderParams, onnx: OnnxParams, models: str) -> dict[str, nn.Module]:
    """Return the existing model and the encoders that were trained, by method.

    Parameters
    ----------
    params : EncoderParams
    onnx : OnnxParams
    models : str
        Directory with a directory of each method.

    Raises
    ------
    InputError
        If there is no encoder, or the model that stands in for pretraining cannot be read.
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
        for file in sorted(Path(models).glob("*/*.safetensors")):
            encoders[file.stem] = load_encoder(file, params)
    if not encoders:
        raise InputError(
            f"{models} holds no encoder; set active of a method to true in params.yaml and run its "
            "pretraining, or set encoder.weights"
        )
    return encoders
