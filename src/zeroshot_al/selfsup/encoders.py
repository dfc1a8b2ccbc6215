"""The self-supervised encoder: a ResNet for small images, and its features."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.engine.checkpoint import write_tensors
from zeroshot_al.engine.cifar_resnet import BLOCKS, cifar_resnet
from zeroshot_al.engine.wide_resnet import WideResNet
from zeroshot_al.selfsup.augment_contrastive import standardize

READY_MADE = "embeddings.npy"
"""In the pool's directory: embeddings that somebody brought along, rows as in the pool."""

RESNETS = (*BLOCKS, "resnet-50")


@dataclass(frozen=True)
class EncoderParams:
    """Params section `encoder`: what is pretrained, or which weights stand in for pretraining.

    Parameters
    ----------
    name, width
        Of `Encoder`; not used with `weights`.
    weights
        None, or an existing model, which is not trained: "MODEL", a model of the library timm
        whose published weights are fetched, "MODEL:FILE", its weights in a local safetensors file,
        or "FILE.onnx". Torchvision's weights are among timm's, with the tag tv_in1k or tv2_in1k.
        Examples: "vit_small_patch14_dinov2.lvd142m", "resnet50.tv2_in1k",
        "resnet50:/home/me/resnet50.safetensors", "sscd.onnx".
    alone
        Whether the existing model is then the one encoder: nothing is pretrained.

    Raises
    ------
    InputError
        If there is no such name or width.
    """

    name: str
    width: float
    weights: str | None = None
    alone: bool = True

    def __post_init__(self) -> None:
        wide = wide_resnet_depth(self.name)
        if wide is None and self.name not in RESNETS:
            raise InputError(
                f"encoder name {self.name!r} must be {', '.join(RESNETS)} or wide-resnet-DEPTH, "
                "such as wide-resnet-28; change it in params.yaml"
            )
        if not self.width > 0 or (wide is not None and self.width != int(self.width)):
            kind = "above 0" if wide is None else "a whole number of at least 1"
            raise InputError(
                f"encoder width {self.width} of {self.name} must be {kind}; "
                "change it in params.yaml"
            )
        if self.weights is not None and not self.weights.strip():
            raise InputError("encoder weights are empty; give MODEL, MODEL:FILE, FILE.onnx or null")

    @property
    def replaces_pretraining(self) -> bool:
        """Whether an existing model is the one encoder."""
        return self.weights is not None and self.alone


def wide_resnet_depth(name: str) -> int | None:
    """Return the depth in a name such as "wide-resnet-28", and None of any other name."""
    found = re.fullmatch(r"wide-resnet-([1-9]\d*)", name)
    return int(found[1]) if found else None


class Encoder(nn.Module):
    """A ResNet without its last layer: 3x3 stem, no max-pool, global average pooling.

    `cifar_resnet` or `WideResNet`, which say what name and width mean, and where they are from.

    Raises
    ------
    InputError
        If a Wide ResNet's depth is not 6n + 4.
    """

    def __init__(self, params: EncoderParams) -> None:
        super().__init__()
        depth = wide_resnet_depth(params.name)
        if depth is None:
            self.stem, self.stages, self.n_features = cifar_resnet(params.name, params.width)
        else:
            network = WideResNet(depth, int(params.width), n_classes=1)
            layers, self.n_features = list(network.features), network.n_features
            # Without its pooling, the last two layers.
            self.stem, self.stages = nn.Sequential(layers[0]), nn.Sequential(*layers[1:-2])
        # What the images are standardised with is part of the encoder: saved, loaded, not trained.
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    def forward(self, views: Tensor) -> Tensor:  # (n, 3, h, w) in [0, 1] -> (n, n_features)
        standardized = standardize(views, self.mean, self.std)
        return self.stages(self.stem(standardized)).mean(dim=(2, 3))


def projection_head(n_in: int, n_hidden: int, n_out: int, *, batch_norm: bool) -> nn.Module:
    """Make the two layers between the features and the contrastive loss.

    With BatchNorm in the place of biases as in SimCLR, or with biases as in MoCo-v2.
    """
    layers = [nn.Linear(n_in, n_hidden, bias=not batch_norm), nn.ReLU()]
    layers.append(nn.Linear(n_hidden, n_out, bias=not batch_norm))
    if batch_norm:
        layers.insert(1, nn.BatchNorm1d(n_hidden))
        layers.append(nn.BatchNorm1d(n_out))
    return nn.Sequential(*layers)


def save_encoder(path: str | Path, encoder: Encoder) -> None:
    """Write the weights as safetensors, atomically."""
    write_tensors(path, encoder.state_dict())


def load_encoder(path: str | Path, params: EncoderParams) -> Encoder:
    """Read an encoder's weights and freeze it.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of another architecture.
    """
    encoder = Encoder(params)
    try:
        encoder.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the stage that writes it") from None
    except SafetensorError as error:
        raise InputError(
            f"{path} is not a complete safetensors file ({error}); make it again"
        ) from None
    except RuntimeError:
        raise InputError(
            f"{path} holds another encoder than {params.name} of width {params.width}; "
            "pretrain again or restore the params"
        ) from None
    return encoder.requires_grad_(False).eval()
