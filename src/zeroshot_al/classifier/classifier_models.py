"""The models that can spend the labels: for each of them `features`, then a linear `head`.

Torchvision is imported by the models that need it: a stage that trains another one does not wait
for it.
"""

from torch import Tensor, nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.classifier.airbench import airbench
from zeroshot_al.engine.cifar_resnet import cifar_resnet
from zeroshot_al.engine.wide_resnet import WideResNet

MODELS = ("wide-resnet", "airbench", "resnet-18", "vgg", "vit")
VIT_HEAD_DIMS = 64


class FeaturesAndHead(nn.Module):
    """A linear layer on `features`, (n, n_features), which are what Core-Set measures in."""

    def __init__(self, features: nn.Module, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(n_features, n_classes)
        self.n_features = n_features

    def forward(self, images: Tensor) -> Tensor:  # (n, 3, h, w) -> (n, n_classes)
        return self.head(self.features(images))


def make_model(
    name: str,
    depth: int,
    width: int,
    stem_stride: int,
    n_classes: int,
    size_px: int,
    whitening: bool = False,
) -> nn.Module:
    """Make a model with initial weights from torch's global generator.

    Parameters
    ----------
    name
        One of `MODELS`.
    depth
        wide-resnet: 6n + 4 convolutions; airbench: 8; resnet-18: 18; vgg: 11, 13, 16 or 19; vit:
        blocks, 12 as published.
    width
        wide-resnet: the widening factor; airbench: a multiple of 16, 64 and 64 channels, 4 as
        published; resnet-18 and vgg: a multiple of the published channels;
        vit: heads of 64 dimensions, 3 in ViT-Ti and 6 in ViT-S.
    stem_stride
        Stride of the first convolution, 1 as published for small images; vit: the size of a patch,
        4 for images of 32 pixels.
    size_px
        Side of the images that it is trained on.
    whitening
        Whether the first convolution of a wide-resnet is one that is not trained and whitens
        patches of 2 x 2 pixels; an airbench's is always.

    Returns
    -------
    nn.Module
        With `features`, `head` and `n_features`; its output is ``head(features(images))``.

    Raises
    ------
    InputError
        If the model is unknown, or has no such depth, width or stride.

    References
    ----------
    As in each model's own function.
    """
    if width < 1 or stem_stride < 1:
        raise InputError(
            f"width {width} and stem_stride {stem_stride} of the classifier {name} must be at "
            "least 1; raise them in params.yaml"
        )
    if whitening and name not in ("wide-resnet", "airbench"):
        raise InputError(
            f"whitening is for wide-resnet and airbench; set it to false for {name} in params.yaml"
        )
    match name:
        case "wide-resnet":
            return WideResNet(depth, width, n_classes, stem_stride, whitening)
        case "resnet-18":
            if depth != 18:
                raise InputError(f"depth {depth} of resnet-18 must be 18; change it in params.yaml")
            stem, stages, n_features = cifar_resnet(name, width, stem_stride)
            features = nn.Sequential(stem, stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
            return FeaturesAndHead(features, n_features, n_classes)
        case "airbench":
            if depth != 8 or size_px < 10 * stem_stride:
                raise InputError(
                    f"airbench has a depth of 8, not {depth}, and reads images of "
                    f"{10 * stem_stride} pixels or more, not {size_px}; change it in params.yaml"
                )
            return FeaturesAndHead(*airbench(width, stem_stride), n_classes)
        case "vgg":
            return vgg(depth, width, stem_stride, n_classes, size_px)
        case "vit":
            return vit(depth, width, stem_stride, n_classes, size_px)
    raise InputError(f"classifier name {name!r} must be {', '.join(MODELS[:-1])} or {MODELS[-1]}")


def vgg(depth: int, width: int, stem_stride: int, n_classes: int, size_px: int) -> FeaturesAndHead:
    """Make a VGG with BatchNorm for small images.

    Deviation: global average pooling and one linear layer in the place of the last max-pooling and
    three linear layers, which expect maps of 7 x 7.

    References
    ----------
    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    2015, table 1, configurations A, B, D and E.
    """
    configurations = {11: "A", 13: "B", 16: "D", 19: "E"}
    if depth not in configurations:
        raise InputError(f"depth {depth} of vgg must be 11, 13, 16 or 19; change it in params.yaml")
    if size_px < 16 * stem_stride:
        raise InputError(
            f"images of {size_px} pixels are too small for vgg, which halves them four times after "
            f"a stride of {stem_stride}; take another classifier or a crop_px of "
            f"{16 * stem_stride} or more"
        )
    from torchvision.models.vgg import cfgs, make_layers

    published = cfgs[configurations[depth]][:-1]
    channels = [layer if layer == "M" else width * layer for layer in published]
    layers = make_layers(channels, batch_norm=True)
    layers[0].stride = (stem_stride, stem_stride)
    for module in layers:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
    features = nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return FeaturesAndHead(features, width * 512, n_classes)


def vit(depth: int, width: int, patch_px: int, n_classes: int, size_px: int) -> FeaturesAndHead:
    """Make a Vision Transformer for square images of `size_px`, the class token as its features.

    References
    ----------
    Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, section 3.1; ViT-Ti and ViT-S of
    Touvron et al., "Training data-efficient image transformers" (DeiT), 2021, table 1.
    """
    if depth < 1 or size_px % patch_px:
        raise InputError(
            f"a vit of {depth} blocks cannot cut {size_px} pixels into patches of stem_stride "
            f"{patch_px}; take 1 block or more, and a stem_stride that divides crop_px"
        )
    from torchvision.models import VisionTransformer

    n_features = width * VIT_HEAD_DIMS
    features = VisionTransformer(
        size_px,
        patch_px,
        num_layers=depth,
        num_heads=width,
        hidden_dim=n_features,
        mlp_dim=4 * n_features,
    )
    features.heads = nn.Identity()
    return FeaturesAndHead(features, n_features, n_classes)
