"""The line of image classification, LeNet to ResNet, each with a 128-d layer in the place of its classifier."""

from torch import nn

from facesvc.core.types import DIMENSION
from facesvc.models import torchvision_ops


def lenet() -> nn.Module:
    """LeNet-5 (LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition").

    Adapted: three colours in place of grey, full connections between its convolutions, and a last pooling that gives
    5 x 5 for chips of any side; at 32 px, LeNet's own, that is its 2 x 2 mean.
    """
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AdaptiveAvgPool2d(5)),
        nn.Flatten(),
        *(nn.Linear(16 * 5 * 5, 120), nn.Tanh()),
        *(nn.Linear(120, 84), nn.Tanh()),
        nn.Linear(84, DIMENSION),
    )


def alexnet() -> nn.Module:
    """AlexNet (Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks"; torchvision's).

    Its three fully connected layers, 56 of its 61 million parameters, give way to one over a 2 x 2 map.
    """
    torchvision_ops.install()
    from torchvision import models

    return _with_embedding(models.alexnet(weights=None).features, 256)


def vgg11() -> nn.Module:
    """VGG-11 with batch normalisation (Simonyan & Zisserman 2015; torchvision's).

    Its three fully connected layers, 124 of its 133 million parameters, give way to one over a 2 x 2 map.
    """
    torchvision_ops.install()
    from torchvision import models

    return _with_embedding(models.vgg11_bn(weights=None).features, 512)


def googlenet() -> nn.Module:
    """GoogLeNet (Szegedy et al. 2015, "Going deeper with convolutions"; torchvision's, with batch normalisation and
    without auxiliary classifiers)."""
    torchvision_ops.install()
    from torchvision import models

    return models.googlenet(weights=None, num_classes=DIMENSION, aux_logits=False, init_weights=False)


def resnet18() -> nn.Module:
    """ResNet-18 (He, Zhang, Ren, Sun 2016, "Deep residual learning for image recognition"; torchvision's)."""
    torchvision_ops.install()
    from torchvision import models

    return models.resnet18(weights=None, num_classes=DIMENSION)


def _with_embedding(features: nn.Module, channels: int) -> nn.Module:
    """Ends as facenet-pytorch's networks do: batch normalisation keeps the vectors of a network without any apart, or
    triplet training would draw AlexNet's to one point."""
    embedding = nn.Linear(channels * 2 * 2, DIMENSION, bias=False), nn.BatchNorm1d(DIMENSION)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(2), nn.Flatten(), *embedding)
