"""Lets torchvision, and all that stands on it, work where its compiled operators can't be loaded.

torchvision's wheels on PyPI are built for CUDA; beside a CPU build of torch their ``_C`` library doesn't load and
``import torchvision`` fails with "operator torchvision::nms does not exist". Everything that this project needs of
torchvision is written in Python on top of torch; only the two operators whose schemas are looked up at import are
missing, and torch's own operations can stand in for them.
"""

from importlib.machinery import PathFinder
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_lock = Lock()
_libraries: list[Any] = []
"""Holds the torch.library registration: it lasts as long as its object does."""


def install() -> bool:
    """Defines torchvision::nms and ::qnms with torch's own operations where the compiled ones can't be loaded.

    Must run before the first ``import torchvision`` of the process; further calls change nothing.
    Returns True where the stand-ins serve, False where torchvision is absent or its own operators loaded.
    """
    with _lock:
        if not _libraries and not _compiled_operators_load():
            _define()
        return bool(_libraries)


def _compiled_operators_load() -> bool:
    """True too where torchvision is not installed: there is nothing to stand in for."""
    import torch

    package = find_spec("torchvision")
    if package is None or hasattr(torch.ops.torchvision, "nms"):
        return True
    extension = PathFinder.find_spec("_C", list(package.submodule_search_locations or ()))
    if extension is None or extension.origin is None:
        return False
    try:
        torch.ops.load_library(extension.origin)
    except OSError:
        return False
    return True


def _define() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        for device in ("CPU", "CUDA"):
            library.impl(name, nms, device)
    _libraries.append(library)
    from torchvision.ops import boxes

    boxes._assert_has_ops = lambda: None  # it looks for the library file, not for the operators


def nms(dets: "Tensor", scores: "Tensor", iou_threshold: float) -> "Tensor":
    """Greedy non-maximum suppression with the meaning of torchvision.ops.nms.

    dets (n 4) x1 y1 x2 y2, scores (n,) -> (m,) int64 indices of the boxes kept, by falling score: a box goes
    where its intersection over union with a kept one is above ``iou_threshold``.
    """
    import torch

    order = scores.argsort(descending=True, stable=True)
    boxes = dets[order] if dets.is_floating_point() else dets[order].float()
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    alive = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for i in range(len(boxes)):
        if alive[i]:
            low, high = torch.maximum(boxes[i, :2], boxes[i + 1 :, :2]), torch.minimum(boxes[i, 2:], boxes[i + 1 :, 2:])
            shared = (high - low).clamp(min=0).prod(1)
            alive[i + 1 :] &= ~(shared / (areas[i] + areas[i + 1 :] - shared) > iou_threshold)
    return order[alive]
