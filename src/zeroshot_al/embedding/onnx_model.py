"""An exported model as the encoder: an ONNX file, run by ONNX Runtime.

The library onnxruntime is imported here alone, and only when such a file is given.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.embedding.resizing import batch_size_of, resize

_DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class OnnxParams:
    """Params subsection `embed.onnx`, of what a model's file does not say.

    Parameters
    ----------
    size_px : int or None
        Side of the input of a model that takes any; None takes the model's own.
    mean, std : tuple of 3 floats
        Of each channel, of pixels in [0, 1]; not used if the model takes uint8.
    """

    size_px: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]


class OnnxModel(nn.Module):
    """A frozen model from images to one vector each.

    Layout and range are read from the model's input: uint8 takes pixels from 0 to 255, floats are
    standardised. The complete image is resized to the model's input size.

    Raises
    ------
    InputError
        If onnxruntime is not installed, or the file is missing or no model from images of this
        size to one vector each.

    References
    ----------
    ONNX Runtime, https://onnxruntime.ai.
    """

    def __init__(self, path: Path, params: OnnxParams) -> None:
        super().__init__()
        self._session = _open(path)
        images = self._session.get_inputs()[0]
        shape = images.shape
        if len(shape) != 4 or 3 not in (shape[1], shape[3]) or images.type not in _DTYPES:
            raise InputError(
                f"{path} takes {images.type} of {shape}; give a model that takes images: uint8 or "
                "float of (n, 3, height, width) or (n, height, width, 3)"
            )
        self._name, self._dtype = images.name, _DTYPES[images.type]
        self._channels_last = shape[3] == 3
        sides = shape[1:3] if self._channels_last else shape[2:4]
        self.size_px = _size(sides, params.size_px, path)
        if isinstance(shape[0], int) and shape[0] != 1:
            raise InputError(
                f"{path} takes batches of {shape[0]} images alone; export it for one image, or for "
                "any number"
            )
        self.batch_size = 1 if shape[0] == 1 else batch_size_of(self.size_px)
        self.register_buffer("mean", torch.tensor(params.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(params.std).view(3, 1, 1))
        try:
            features = self(torch.zeros(self.batch_size, 3, *self.size_px))
        except Exception as error:  # of onnxruntime's many kinds
            raise InputError(
                f"{path} does not run on images of {self.size_px[0]} x {self.size_px[1]} pixels "
                f"({in_short(error)}); change embed.onnx.size_px"
            ) from None
        if features.ndim != 2:
            raise InputError(
                f"{path} returns {tuple(features.shape[1:])} for an image; export it up to the one "
                "vector of each"
            )
        self.n_features = features.shape[1]

    def forward(self, views: Tensor) -> Tensor:  # (n, 3, h, w) in [0, 1] -> (n, n_features)
        device = views.device
        views = resize(views, self.size_px, "bicubic")
        is_uint8 = self._dtype is np.uint8
        views = (views * 255).round() if is_uint8 else (views - self.mean) / self.std
        if self._channels_last:
            views = views.permute(0, 2, 3, 1)
        images = np.ascontiguousarray(views.cpu().numpy(), dtype=self._dtype)
        features = self._session.run(None, {self._name: images})[0]
        return torch.from_numpy(features.astype(np.float32)).to(device)


def _open(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            "encoder.weights names an ONNX file, for which the library onnxruntime is not "
            "installed; run pip install -r requirements.txt"
        ) from None
    if not path.is_file():
        raise InputError(f"{path} is not a file; correct encoder.weights in params.yaml")
    try:
        return onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
    except Exception as error:  # of onnxruntime's many kinds
        raise InputError(
            f"{path} cannot be opened as an ONNX model ({in_short(error)}); export it again"
        ) from None


def _size(sides: list[int | str], size_px: int | None, path: Path) -> tuple[int, int]:
    """Return the height and width of the input; a name stands for an open side."""
    found = [size_px if isinstance(side, str | None) else side for side in sides]
    if None in found:
        raise InputError(
            f"{path} takes images of any size; set embed.onnx.size_px, such as 224, in params.yaml"
        )
    if size_px is not None and found != [size_px, size_px]:
        raise InputError(
            f"embed.onnx.size_px {size_px} is not the {found[0]} x {found[1]} pixels that {path} "
            "takes; set it to null in params.yaml"
        )
    return found[0], found[1]


def in_short(error: Exception) -> str:
    """Return the beginning of an error's message, on one line."""
    return " ".join(str(error).split())[:200]
