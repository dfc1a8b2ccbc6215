"""A model on the disk: model.safetensors, and in model.json what it is and on which encoder."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_json, write_json
from zeroshot_al.base.params import build
from zeroshot_al.classifier.classifier import Classifier, ClassifierParams, new_network
from zeroshot_al.classifier.classifier_models import FeaturesAndHead
from zeroshot_al.embedding.features import BATCH_SIZE, feature_batches
from zeroshot_al.embedding.onnx_model import OnnxParams
from zeroshot_al.embedding.run import encoder_file, load_one_encoder
from zeroshot_al.engine.checkpoint import write_tensors
from zeroshot_al.engine.runtime import pick_device
from zeroshot_al.predicting.head import Head
from zeroshot_al.probing.heads import centred
from zeroshot_al.selfsup.encoders import EncoderParams

BLOCK = 8192  # images whose features or answers are in memory at a time


@dataclass(frozen=True)
class EncoderUsed:
    """The encoder that a model stands on: its method, its file's sha256, and how it is loaded."""

    method: str
    sha256: str
    params: EncoderParams
    onnx: OnnxParams

    def load(self, models_dir: str) -> nn.Module:
        """Load it.

        Raises
        ------
        InputError
            If it is not there, or another one is.
        """
        found = sha256_of(encoder_file(self.method, self.params, models_dir))
        if found != self.sha256:
            raise InputError(
                f"the model was trained on the encoder {self.sha256[:12]} ({self.method}) and "
                f"{found[:12]} is there; bring that encoder back, or run make train again"
            )
        return load_one_encoder(self.method, self.params, self.onnx, models_dir)


@dataclass(frozen=True)
class ModelCard:
    """What model.json holds.

    Parameters
    ----------
    model : {"head", "finetune", "network"}
    classes : tuple of str
        In the order of the logits.
    temperature : float
        What the logits are divided by.
    image_px : tuple of int
        Height and width of the images.
    encoder : EncoderUsed or None
        None of a network from scratch, and where embeddings were brought along.
    classifier : ClassifierParams or None
        Of a network from scratch.
    """

    model: Literal["head", "finetune", "network"]
    classes: tuple[str, ...]
    temperature: float
    image_px: tuple[int, ...]
    encoder: EncoderUsed | None
    classifier: ClassifierParams | None


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_model(directory: Path, card: ModelCard, tensors: Mapping[str, Tensor]) -> None:
    """Write both files."""
    write_tensors(directory / "model.safetensors", tensors)
    write_json(directory / "model.json", asdict(card))


def load_model(directory: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read both files.

    Raises
    ------
    InputError
        If they are missing or damaged.
    """
    path = directory / "model.json"
    if not path.exists():
        raise InputError(f"{path} does not exist; run make train with the labels first")
    card = build(ModelCard, read_json(path), str(path))
    try:
        return card, load_file(directory / "model.safetensors")
    except (FileNotFoundError, SafetensorError) as error:
        raise InputError(
            f"{directory / 'model.safetensors'} is not complete ({error}); run make train again"
        ) from None


def head_tensors(head: Head, mean: np.ndarray) -> dict[str, Tensor]:
    """Return what is saved of a head, and the mean, (n_dims,), that embeddings are centred by."""
    arrays = {"weight": head.weight, "bias": head.bias, "mean": mean.astype(np.float32)}
    return {key: torch.from_numpy(value) for key, value in arrays.items()}


def finetuned_network(encoder: nn.Module, n_classes: int) -> FeaturesAndHead:
    """Put a linear layer on an encoder, all of it to be trained.

    Raises
    ------
    InputError
        If the encoder cannot be trained.
    """
    if not any(True for _ in encoder.parameters()):
        raise InputError(
            "labels.model finetune cannot train an ONNX file; set labels.model to head, or give "
            "the model's weights as safetensors"
        )
    return FeaturesAndHead(encoder, encoder.n_features, n_classes).requires_grad_(True)


def model_logits(
    card: ModelCard, tensors: Mapping[str, Tensor], images: np.ndarray, models_dir: str
) -> Iterator[np.ndarray]:
    """Yield a saved model's float32 (n, n_classes) logits of uint8 (n, h, w, 3) images, in blocks.

    Raises
    ------
    InputError
        If the encoder is not the one that the model was trained on.
    """
    if card.model == "head":
        if card.encoder is None:
            raise InputError(
                "the model was trained on embeddings that were brought along, without an encoder; "
                "embed the images there"
            )
        encoder = card.encoder.load(models_dir).to(pick_device())
        head = Head(tensors["weight"].numpy(), tensors["bias"].numpy())
        batch_size = getattr(encoder, "batch_size", BATCH_SIZE)
        for rows in feature_batches(encoder, images, pick_device(), batch_size):
            yield head.logits(centred(rows, tensors["mean"].numpy()))
        return
    n_classes = len(card.classes)
    if card.model == "network":
        network = new_network(card.classifier, n_classes)
    else:
        network = finetuned_network(card.encoder.load(models_dir), n_classes)
    network.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("pixels.")})
    flip = card.classifier is not None and card.classifier.test_flip
    pixels = tensors["pixels.mean"], tensors["pixels.std"]
    classifier = Classifier(network, *pixels, test_flip=flip)
    for start in range(0, len(images), BLOCK):
        yield classifier.logits(images[start : start + BLOCK])


def classifier_tensors(classifier: Classifier) -> dict[str, Tensor]:
    """Return what is saved of a network: its weights, and what pixels are standardised with."""
    pixels = {"pixels.mean": classifier.mean, "pixels.std": classifier.std}
    return classifier.network.state_dict() | pixels


def encoder_used(
    method: str, params: EncoderParams, onnx: OnnxParams, models_dir: str
) -> EncoderUsed:
    """Describe a method's encoder, which is there."""
    return EncoderUsed(method, sha256_of(encoder_file(method, params, models_dir)), params, onnx)
