"""FaceNet's line: Inception-ResNet-v1, the network of David Sandberg's FaceNet, as facenet-pytorch builds it."""

from torch import nn

from facesvc.core.types import DIMENSION
from facesvc.models.converters import build


def inception_resnet_v1() -> nn.Module:
    """Inception-ResNet-v1 (Szegedy et al. 2017, "Inception-v4, Inception-ResNet and the impact of residual
    connections on learning"), random weights, nothing downloaded.

    facenet-pytorch's class ends in 512 numbers; FaceNet (Schroff et al. 2015) in 128: the last linear layer and its
    batch normalisation are replaced, with the same settings.
    """
    network = build()
    network.last_linear = nn.Linear(1792, DIMENSION, bias=False)
    network.last_bn = nn.BatchNorm1d(DIMENSION, eps=0.001, momentum=0.1)
    return network.train()
