"""The self-supervised encoder: a ResNet with the CIFAR stem, and its features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightly.models import ResNetGenerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from tqdm import tqdm

from zeroshot_al.augment_contrastive import standardize
from zeroshot_al.errors import InputError
from zeroshot_al.files import atomic_path


@dataclass(frozen=True)
class EncoderParams:
    """Params section `encoder`; `width` multiplies the 64 channels of the first stage."""

    name: Literal["resnet-9", "resnet-18", "resnet-34", "resnet-50"]
    width: float


class Encoder(nn.Module):
    """A ResNet without its last layer: 3x3 stem, no max-pool, global average pooling.

    Parameters
    ----------
    params
        Name and width.

    References
    ----------
    Chen et al., "A Simple Framework for Contrastive Learning" (SimCLR), 2020, appendix B.9.
    """

    def __init__(self, params: EncoderParams) -> None:
        super().__init__()
        network = ResNetGenerator(params.name, width=params.width)
        self.n_features = network.linear.in_features
        self.stem = nn.Sequential(network.conv1, network.bn1, nn.ReLU(inplace=True))
        self.stages = nn.Sequential(network.layer1, network.layer2, network.layer3, network.layer4)
        # What the images are standardised with is part of the encoder: saved, loaded, not trained.
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    def forward(self, views: Tensor) -> Tensor:  # (n, 3, h, w) in [0, 1] -> (n, n_features)
        standardized = standardize(views, self.mean, self.std)
        return self.stages(self.stem(standardized)).mean(dim=(2, 3))


def save_encoder(path: str | Path, encoder: Encoder) -> None:
    """Write the weights as safetensors, atomically."""
    tensors = {key: value.detach().contiguous() for key, value in encoder.state_dict().items()}
    with atomic_path(path) as temporary:
        # Written by Python, whose error for a full disk has a number; safetensors' own has not.
        temporary.write_bytes(save(tensors))


def load_encoder(path: str | Path, params: EncoderParams) -> Encoder:
    """Read an encoder's weights and freeze it.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of another architecture.
    """
    encoder = Encoder(params)
    try:
        weights = load_file(path)
        encoder.load_state_dict(weights)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the stage that writes it") from None
    except SafetensorError as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({error}); make it anew"
        ) from None
    except RuntimeError:
        raise InputError(
            f"{path} holds another encoder than {params.name} of width {params.width}; "
            "pretrain again or restore the params"
        ) from None
    return encoder.requires_grad_(False).eval()


def extract_features(
    encoder: Encoder, images: np.ndarray, device: torch.device, batch_size: int = 500
) -> np.ndarray:
    """Return the backbone's features before the projection head, float32 (n, n_features).

    In float32, not bf16: 8 significant bits make distances between neighbours tie.

    Parameters
    ----------
    encoder
        Frozen, in evaluation mode.
    images
        uint8 (n, h, w, 3) array or memory map; read a batch at a time.

    Raises
    ------
    InputError
        If a feature is NaN or infinite.
    """
    encoder = encoder.to(device, memory_format=torch.channels_last).eval()
    features = np.empty((len(images), encoder.n_features), dtype=np.float32)
    with torch.inference_mode():
        for start in tqdm(range(0, len(images), batch_size), "embed", disable=None):
            batch = torch.tensor(images[start : start + batch_size], device=device)
            views = batch.permute(0, 3, 1, 2).float() / 255
            features[start : start + len(batch)] = encoder(views).cpu().numpy()
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(bad):
        raise InputError(
            f"the embedding of image {bad[0]} is not finite ({len(bad)} in all); "
            "pretrain again with a lower learning rate"
        )
    return features
