"""The stand-in operators against their definition, and torchvision and its dependants in fresh processes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facesvc.models.torchvision_ops import nms

IMPORTS = """
import warnings; warnings.simplefilter("error")
from facesvc.models import torchvision_ops
first, second = torchvision_ops.install(), torchvision_ops.install()
import torch, torchvision, facenet_pytorch
from torchvision.transforms import v2
boxes = torch.tensor([[0., 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30]])
scores = torch.tensor([.5, .9, .7])
print(first == second, torchvision.ops.nms(boxes, scores, .5).tolist(),
      torchvision.ops.batched_nms(boxes, scores, torch.tensor([0, 1, 0]), .5).tolist(),
      v2.functional.horizontal_flip(torch.arange(4).reshape(1, 2, 2)).flatten().tolist())
"""

OPERATORS_ARE_THERE = """
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from facesvc.models import torchvision_ops
print(torchvision_ops.install())
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def nms_longhand(boxes: np.ndarray, scores: np.ndarray, limit: float) -> list[int]:
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        for k in kept:
            width = min(boxes[i, 2], boxes[k, 2]) - max(boxes[i, 0], boxes[k, 0])
            height = min(boxes[i, 3], boxes[k, 3]) - max(boxes[i, 1], boxes[k, 1])
            shared = max(width, 0) * max(height, 0)
            union = sum((boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1]) for j in (i, k)) - shared
            if union > 0 and shared / union > limit:
                break
        else:
            kept.append(int(i))
    return kept


@given(st.integers(0, 12).flatmap(lambda n: arrays(np.int64, (n, 5), elements=st.integers(0, 9))))
def test_suppression_is_greedy_by_its_definition(rows: np.ndarray) -> None:
    boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]).astype(np.float64)
    got = nms(torch.from_numpy(boxes), torch.from_numpy(rows[:, 4] / 10), 0.4)
    assert got.tolist() == nms_longhand(boxes, rows[:, 4] / 10, 0.4)


def test_quantised_boxes_are_compared_without_overflow() -> None:
    boxes = torch.tensor([[0, 0, 200, 200], [10, 0, 210, 200], [220, 220, 250, 250]], dtype=torch.uint8)
    assert nms(boxes, torch.tensor([9, 8, 7], dtype=torch.uint8), 0.5).tolist() == [0, 2]


@pytest.mark.slow
def test_torchvision_and_facenet_pytorch_import_and_work_in_a_fresh_process() -> None:
    assert run(IMPORTS) == "True [1, 2] [1, 2, 0] [1, 0, 3, 2]"


@pytest.mark.slow
def test_it_steps_aside_where_operators_are_registered() -> None:
    assert run(OPERATORS_ARE_THERE) == "False"
