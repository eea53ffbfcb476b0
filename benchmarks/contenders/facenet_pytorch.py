"""facenet-pytorch 2.5.3: its MTCNN, then InceptionResnetV1. Weights are random: the time is the same."""

from facesvc.models import torchvision_ops

torchvision_ops.install()

import torch  # noqa: E402  after the operators
from facenet_pytorch import MTCNN, InceptionResnetV1  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks.contenders.loop import answer  # noqa: E402

torch.set_num_threads(1)
mtcnn, network = MTCNN(), InceptionResnetV1(pretrained=None).eval()


@torch.inference_mode()
def compare(a: str, b: str) -> tuple[float, dict[str, float]]:
    first, second = (network(mtcnn(Image.open(file))[None])[0] for file in (a, b))
    return float(((first - second) ** 2).sum()), {}


answer(compare)
