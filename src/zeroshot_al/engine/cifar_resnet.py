"""ResNets for small images, taken apart: their body without the last layer."""

from torch import nn


def cifar_resnet(name: str, width: float, stem_stride: int = 1) -> tuple[nn.Module, nn.Module, int]:
    """Return stem, stages and the number of channels of a ResNet with the CIFAR stem.

    Parameters
    ----------
    name
        One that lightly's `ResNetGenerator` knows, such as "resnet-18".
    width
        Multiplies the 64 channels of the first stage.
    stem_stride
        Stride of the 3x3 convolution, which no max-pooling follows.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", 2016; the stem by Chen et al.,
    "A Simple Framework for Contrastive Learning" (SimCLR), 2020, appendix B.9.
    """
    # Here, not above: lightly takes seconds to import, and few trainings of labels use a ResNet.
    from lightly.models import ResNetGenerator

    network = ResNetGenerator(name, width=width)
    network.conv1.stride = (stem_stride, stem_stride)
    stem = nn.Sequential(network.conv1, network.bn1, nn.ReLU(inplace=True))
    stages = nn.Sequential(network.layer1, network.layer2, network.layer3, network.layer4)
    return stem, stages, network.linear.in_features
