"""facenet-pytorch's InceptionResnetV1 (Schroff et al. 2015, "FaceNet"; port of David Sandberg's weights).

Input: (n 3 160 160) float32 RGB, (value - 127.5) / 128. Output: (n 512), unit length.
"""

import io
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from facesvc.errors import PackInvalid

if TYPE_CHECKING:
    from torch.nn import Module

CLASSIFIER = "logits."
"""Prefix of the training classes' layer, which embedding doesn't use."""


def convert(content: bytes, target: Path) -> None:
    """A state dict (.pt) -> ONNX with a free batch axis. Raises PackInvalid."""
    export(load(content), target)


def load(content: bytes) -> "Module":
    """Nothing in the file is run: torch reads tensors only. Raises PackInvalid."""
    import torch

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        network = build()
        network.load_state_dict({k: v for k, v in state.items() if not k.startswith(CLASSIFIER)})
    except (RuntimeError, UnpicklingError, EOFError, AttributeError, KeyError, ValueError) as error:
        raise PackInvalid(f"no weights of facenet-pytorch's InceptionResnetV1: {error}") from error
    return network


def build() -> "Module":
    """The network with random weights, in evaluation mode."""
    from facesvc.models import torchvision_ops

    torchvision_ops.install()  # facenet_pytorch imports torchvision
    from facenet_pytorch import InceptionResnetV1

    return InceptionResnetV1(pretrained=None, classify=False).eval()


def export(network: "Module", target: Path) -> None:
    import torch

    chips = torch.zeros(2, 3, 160, 160)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own dependencies' deprecations
        torch.onnx.export(
            network,
            (chips,),
            str(target),
            input_names=["image"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=4096)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
