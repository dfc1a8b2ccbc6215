"""An existing model as the encoder: timm's architectures, with published or local weights, or ONNX.

The library timm is imported here alone, and only when weights are asked for.
"""

import difflib
import logging
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import expanded
from zeroshot_al.embedding.onnx_model import OnnxModel, OnnxParams, in_short
from zeroshot_al.embedding.resizing import batch_size_of, resize

MODELS = "ZEROSHOT_AL_MODELS"
"""Environment variable: a folder where files of weights are looked for as well."""
PICKLES = {".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar", ".th"}


class ExistingModel(nn.Module):
    """A frozen model without its classification layer, and how it wants to see images.

    The complete image is resized to the model's input size.

    Parameters
    ----------
    model
        From standardised images, float32 (n, 3, *size_px), to features (n, n_features).
    config
        timm's: input_size, mean, std and interpolation.
    """

    def __init__(self, model: nn.Module, config: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.size_px = tuple(config["input_size"][1:])
        self.mode = "bilinear" if config["interpolation"] == "bilinear" else "bicubic"
        self.register_buffer("mean", torch.tensor(config["mean"]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(config["std"]).view(3, 1, 1))
        self.requires_grad_(False).eval()
        with torch.inference_mode():
            features = self(torch.zeros(1, 3, *self.size_px))
        self.n_features = features.shape[1]

    @property
    def batch_size(self) -> int:
        """How many images to embed at a time in bounded memory."""
        return batch_size_of(self.size_px)

    def forward(self, views: Tensor) -> Tensor:  # (n, 3, h, w) in [0, 1] -> (n, n_features)
        views = resize(views, self.size_px, self.mode)
        return self.model((views - self.mean) / self.std)


def load_existing_model(spec: str, onnx: OnnxParams) -> nn.Module:
    """Make the encoder that `spec` names, as in `EncoderParams.weights`."""
    return OnnxModel(_find(spec), onnx) if spec.endswith(".onnx") else load_timm_model(spec)


def weights_file(spec: str) -> Path:
    """Return the file that `load_existing_model` reads; published weights are fetched.

    Raises
    ------
    InputError
        If it is not there, as for `load_timm_model`.
    """
    name, _, file = spec.strip().partition(":")
    if not (file or spec.endswith(".onnx")):
        import timm

        return fetch(name, _published(timm, name))
    path = _find(file or spec)
    if not path.is_file():
        raise InputError(f"{path} is not a file; correct encoder.weights in params.yaml")
    return path


def load_timm_model(spec: str) -> ExistingModel:
    """Make the encoder that "MODEL" or "MODEL:FILE" names.

    Raises
    ------
    InputError
        If timm is not installed, the model is unknown, its weights cannot be fetched, or the file
        is missing, no safetensors, or of another architecture.

    References
    ----------
    Wightman, "PyTorch Image Models" (timm), 2019.
    """
    try:
        import timm
        import timm.data
    except ImportError:
        raise InputError(
            "encoder.weights needs the library timm, which is not installed; "
            "run pip install -r requirements.txt"
        ) from None
    name, _, file = spec.strip().partition(":")
    config = _published(timm, name)
    path = _find(file) if file else fetch(name, config)
    weights = read_weights(path)
    # `num_classes=0` leaves out the classification layer, whose weights are then not looked for.
    try:
        model = timm.create_model(name, pretrained=False, num_classes=0)
    except Exception as error:
        raise InputError(
            f"timm cannot make {name!r} without its classification layer ({in_short(error)}); "
            "choose another model"
        ) from None
    fill(model, weights, name, path)
    encoder = ExistingModel(model, timm.data.resolve_model_data_config(model))
    logging.info(
        "%s: %d features of images of %s pixels",
        name,
        encoder.n_features,
        " x ".join(map(str, encoder.size_px)),
    )
    return encoder


def _find(file: str) -> Path:
    """Return the path of a file of weights, which may lie in the folder of models."""
    path = expanded(file)
    return path if path.exists() else Path(os.environ.get(MODELS, ""), path)


def _published(timm: ModuleType, name: str) -> Any:
    """Return what timm knows of a model's published weights, None of a model without any."""
    if name.endswith(".safetensors"):
        raise InputError(f"{name} does not say of which model it is; give it as MODEL:{name}")
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), 3)
        hint = f"did you mean {' or '.join(close)}?" if close else "timm.list_models() names them"
        raise InputError(f"encoder.weights: timm knows no model {architecture!r}; {hint}")
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        tags = [
            known.partition(".")[2]
            for known in timm.list_models(f"{architecture}.*", pretrained=True)
        ]
        raise InputError(
            f"encoder.weights: {architecture} has no published weights {tag!r}; "
            f"known are {', '.join(tags) or 'none'}"
        ) from None


def fetch(name: str, config: Any) -> Path:
    """Return the path of published weights in the hub's local cache, fetched if not yet there.

    Raises
    ------
    InputError
        If there are none as safetensors, or they cannot be fetched.
    """
    # Not through `create_model(pretrained=True)`: it falls back to pickled weights.
    if config is None or not config.hf_hub_id:
        raise InputError(
            f"no safetensors weights are published for {name!r}; choose a model of "
            "timm.list_models(pretrained=True) or give a file, as MODEL:FILE"
        )
    import huggingface_hub

    filename = "model.safetensors"
    try:
        return Path(huggingface_hub.hf_hub_download(config.hf_hub_id, filename))
    except (OSError, ValueError, huggingface_hub.errors.EntryNotFoundError) as error:
        raise InputError(
            f"the weights {filename} of {config.hf_hub_id!r} cannot be fetched from the model hub "
            f"({type(error).__name__}); check the network, or fetch that file elsewhere, put it "
            f"here and give it as {name}:FILE"
        ) from None


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises
    ------
    InputError
        If it is missing, a pickle, or not a complete safetensors file.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file; give encoder.weights as MODEL:FILE")
    if path.suffix.lower() in PICKLES:
        raise InputError(
            f"{path} is a pickle, which can run any code and is not read; "
            "convert it to safetensors where you trust it"
        )
    try:
        return load_file(path)
    except SafetensorError as error:
        raise InputError(
            f"{path} is not a complete safetensors file ({in_short(error)}); download it again"
        ) from None


def fill(model: nn.Module, weights: dict[str, Tensor], name: str, path: Path) -> None:
    """Load weights into a model without its classification layer, or report what does not fit.

    Raises
    ------
    InputError
        If a weight is missing, unknown, or of another shape.
    """
    expected = model.state_dict()
    heads = model.pretrained_cfg.get("classifier") or ()
    prefixes = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    weights = {
        key: value
        for key, value in weights.items()
        if key in expected or not key.startswith(prefixes)
    }
    # A counter that no output depends on; older files lack it.
    missing = sorted(
        key for key in expected.keys() - weights.keys() if not key.endswith("num_batches_tracked")
    )
    unknown = sorted(weights.keys() - expected.keys())
    reshaped = [
        f"{key} with {tuple(weights[key].shape)} for {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & weights.keys())
        if expected[key].shape != weights[key].shape
    ]
    found = [
        f"{len(keys)} {what}, such as {keys[0]}"
        for keys, what in (
            (missing, "weights are missing"),
            (unknown, "are unknown"),
            (reshaped, "have another shape"),
        )
        if keys
    ]
    if found:
        raise InputError(
            f"{path} does not fit {name}: {'; '.join(found)}; give the file's own architecture"
        )
    model.load_state_dict(weights, strict=False)
