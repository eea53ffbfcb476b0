"""Which share of labelled photographs each detector gets right, and how long it takes, beside its peers.

    python -m benchmarks.detection --data DIR [--limit 600] [--detectors yunet-onet ...] [--no-peers] [--json FILE]

DIR holds the folders of SETS, as many as there are. One thread, decoding not counted, detectors take turns on each
photograph, so that a busy neighbour slows all of them alike.
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

import cv2
import cv2.data
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facesvc.config import Settings
from facesvc.core.types import Pixels
from facesvc.models import torchvision_ops
from facesvc.models.packs import Packs
from facesvc.pipeline.decode import DecodeLimits, decode
from facesvc.pipeline.detect import DETECTORS, open_detector

Find = Callable[[Pixels], np.ndarray]
"""(h w 3) uint8 RGB -> boxes (n 4) px, in any order."""
Right = Callable[[Path, Pixels, np.ndarray], bool]

GROUPS = {
    "detection1": 1,
    "detection2": 1,
    "detection3": 1,
    "detection4": 3,  # the one in front out of focus, one of the two behind nearly in profile
    "detection5": 3,
    "detection6": 2,
    "identification1": 4,
}
"""People with a visible face, counted by eye."""
LIMITS = DecodeLimits(max_bytes=2**28, max_pixels=10**9)


def one_face(_: Path, __: Pixels, boxes: np.ndarray) -> bool:
    return len(boxes) == 1


def some_face(_: Path, __: Pixels, boxes: np.ndarray) -> bool:
    return len(boxes) > 0


def counted_faces(path: Path, _: Pixels, boxes: np.ndarray) -> bool:
    return len(boxes) == GROUPS[path.stem]


def largest_covers_centre(_: Path, pixels: Pixels, boxes: np.ndarray) -> bool:
    if not len(boxes):
        return False
    largest = boxes[np.argmax((boxes[:, 2:] - boxes[:, :2]).prod(1))]
    centre = np.array(pixels.shape[1::-1]) / 2
    return bool((largest[:2] < centre).all() and (centre < largest[2:]).all())


@dataclass(frozen=True)
class Set:
    """What the photographs of one folder should give."""

    folder: str
    expected: str
    is_right: Right


SETS = (
    Set("london", "exactly one face", one_face),
    Set("lfw_dev", "the largest face's box covers the centre of the photograph", largest_covers_centre),
    Set("people", "the largest face's box covers the centre of the photograph", largest_covers_centre),
    Set("whole", "at least one face", some_face),
    Set("groups", "as many faces as people counted by eye", counted_faces),
)


@dataclass
class Tally:
    """One detector on one set."""

    right: list[bool] = field(default_factory=list)
    alone: list[bool] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def report(self) -> dict:
        return {
            "photographs": len(self.right),
            "right": mean(self.right),
            "exactly_one": mean(self.alone),
            "median_ms": median(self.milliseconds),
            "wrong": self.wrong,
        }


def ours(name: str, packs: Packs) -> Find:
    detector = open_detector(name, packs.detector_file)
    return lambda pixels: np.array([face.box for face in detector.detect(pixels)]).reshape(-1, 4)


def facenet_pytorch() -> Find:
    """facenet-pytorch's MTCNN as shipped (faces from 20 px on)."""
    torchvision_ops.install()
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    mtcnn = MTCNN(keep_all=True)

    def find(pixels: Pixels) -> np.ndarray:
        try:
            boxes, _ = mtcnn.detect(pixels)  # type: ignore[misc]
        except (RuntimeError, ValueError):  # it raises where a stage leaves no candidates
            boxes = None
        return np.zeros((0, 4)) if boxes is None else np.asarray(boxes, float)

    return find


def opencv_haar() -> Find:
    """OpenCV's tutorial: grey, full size, 1.1, 5 neighbours."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")

    def find(pixels: Pixels) -> np.ndarray:
        found = cascade.detectMultiScale(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), 1.1, 5)
        boxes = np.array(found, float).reshape(-1, 4)
        return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])

    return find


def opencv_yunet(packs: Packs) -> Find:
    """OpenCV Zoo's demo: full size, score 0.9."""
    network = cv2.FaceDetectorYN.create(str(packs.detector_file("yunet.onnx")), "", (320, 320), 0.9, 0.3, 5000)

    def find(pixels: Pixels) -> np.ndarray:
        network.setInputSize(pixels.shape[1::-1])
        rows = network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
        boxes = np.zeros((0, 4)) if rows is None else rows[:, :4]
        return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])

    return find


def peers(packs: Packs) -> dict[str, Find]:
    return {
        "facenet-pytorch MTCNN": facenet_pytorch(),
        "OpenCV Haar": opencv_haar(),
        "OpenCV YuNet": opencv_yunet(packs),
    }


def photographs(folder: Path, limit: int) -> list[Path]:
    """At most ``limit``, drawn with a fixed seed."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return paths if len(paths) <= limit else random.Random(0).sample(paths, limit)


def run(folder: Path, limit: int, finders: dict[str, Find]) -> dict[str, dict[str, dict]]:
    """Set -> detector -> report."""
    reports: dict[str, dict[str, dict]] = {}
    for each in (s for s in SETS if (folder / s.folder).is_dir()):
        tallies = {name: Tally() for name in finders}
        for path in track(photographs(folder / each.folder, limit), each.folder):
            pixels = decode(path.read_bytes(), LIMITS).pixels
            for name, find in finders.items():
                record(tallies[name], find, each, path, pixels)
        reports[each.folder] = {name: tally.report() for name, tally in tallies.items()}
    return reports


def record(tally: Tally, find: Find, each: Set, path: Path, pixels: Pixels) -> None:
    start = time.perf_counter()
    boxes = find(pixels)
    tally.milliseconds.append(1000 * (time.perf_counter() - start))
    tally.alone.append(len(boxes) == 1)
    tally.right.append(each.is_right(path, pixels, boxes))
    if not tally.right[-1]:
        tally.wrong.append(f"{path.parent.name}/{path.name}")


def show(reports: dict[str, dict[str, dict]]) -> None:
    console = Console(width=120)
    table = Table(show_lines=True)
    table.add_column("detector", no_wrap=True)
    for name, by_detector in reports.items():
        table.add_column(f"{name} ({next(iter(by_detector.values()))['photographs']})", no_wrap=True)
    for name in next(iter(reports.values())):
        cells = (reports[each][name] for each in reports)
        table.add_row(name, *(f"{c['right']:.2%}\n{c['exactly_one']:.1%}\n{c['median_ms']:.1f} ms" for c in cells))
    console.print(table)
    console.print("Share of photographs as expected, share with exactly one face, median time on one thread. Expected:")
    for each in SETS:
        console.print(f"  {each.folder}: {each.expected}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, default=list(DETECTORS))
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--limit", type=int, default=600, help="photographs of each set")
    parser.add_argument("--json", type=Path, help="also written there, with the names of photographs gone wrong")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    packs = Packs(Settings().packs)
    finders = {name: ours(name, packs) for name in arguments.detectors} | (peers(packs) if arguments.peers else {})
    reports = run(arguments.data, arguments.limit, finders)
    if not reports:
        parser.error(f"{arguments.data} has none of the folders {', '.join(s.folder for s in SETS)}")
    show(reports)
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=1))


if __name__ == "__main__":
    main()
