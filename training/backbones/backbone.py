"""What all backbones have in common: a unit vector of 128 numbers at the end."""

from torch import Tensor, nn
from torch.nn import functional


class Backbone(nn.Module):
    """body: (n 3 s s) -> (n 128); input_size: s, px."""

    def __init__(self, body: nn.Module, input_size: int) -> None:
        super().__init__()
        self.body = body
        self.input_size = input_size

    def forward(self, images: Tensor) -> Tensor:
        """(n 3 s s) float32 RGB, (value - 127.5) / 128 -> (n 128) float32, unit length (under autocast too)."""
        return functional.normalize(self.body(images).float())
