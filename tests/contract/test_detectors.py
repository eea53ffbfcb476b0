"""One contract for every detector, on real photographs; MTCNN against facenet-pytorch's own cascade."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from facesvc.core.ports import Detector
from facesvc.core.types import Face, Pixels
from facesvc.errors import PackDamaged, PackInvalid
from facesvc.models import mtcnn, torchvision_ops
from facesvc.models.network import open_network
from facesvc.models.packs import Packs
from facesvc.pipeline.detect import DETECTORS, open_detector
from facesvc.pipeline.detect.refine import RefinedDetector

PORTRAITS = ("obama", "obama2", "obama3", "biden", "astronaut")
LEARNT = ("yunet-onet", "mtcnn", "yunet")
"""The detectors of which more is asked than of the historic baseline."""
Theirs = dict[str, tuple[np.ndarray, np.ndarray]]
"""Name of a photograph -> boxes (n 4) and landmarks (n 5 2), px."""


@pytest.fixture(scope="module")
def file(packs_folder: Path) -> Callable[[str], Path]:
    def locked(name: str) -> Path:
        with FileLock(packs_folder / "detectors.lock"):
            return Packs(packs_folder).detector_file(name)

    return locked


@pytest.fixture(scope="module", params=DETECTORS)
def detector(request: pytest.FixtureRequest, file: Callable[[str], Path]) -> Detector:
    return open_detector(request.param, file)


@pytest.fixture(scope="module")
def theirs(pixels: dict[str, Pixels]) -> Theirs:
    """What facenet-pytorch's MTCNN finds: the slow, exact form, its landmarks the oracle of all detectors."""
    torchvision_ops.install()
    from facenet_pytorch import MTCNN

    cascade = MTCNN(keep_all=True, min_face_size=40)
    found = {}
    for name in (*PORTRAITS, "group"):
        boxes, *_, landmarks = cascade.detect(pixels[name], landmarks=True)
        found[name] = np.asarray(boxes, float), np.asarray(landmarks, float)
    return found


def agreement(face: Face, boxes: np.ndarray, landmarks: np.ndarray) -> tuple[float, float]:
    """Mean distance to the nearest of their faces, of landmarks and of box corners, in sides of their box."""
    distances = np.hypot(*np.moveaxis(landmarks - face.landmarks, 2, 0)).mean(1)
    nearest = int(np.argmin(distances))
    side = float(np.sqrt(np.prod(boxes[nearest, 2:] - boxes[nearest, :2])))
    return float(distances[nearest]) / side, float(np.abs(boxes[nearest] - face.box).mean()) / side


# --- every detector -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_portrait_holds_one_face_where_facenet_pytorch_sees_it(
    name: str, detector: Detector, pixels: dict[str, Pixels], theirs: Theirs
) -> None:
    faces = detector.detect(pixels[name])
    assert len(faces) == len(theirs[name][0]) == 1
    landmarks, box = agreement(faces[0], *theirs[name])
    assert landmarks < 0.06
    assert box < 0.25  # each draws its boxes in a manner of its own
    assert 0.5 < faces[0].score <= 1


@pytest.mark.parametrize("name", PORTRAITS)
def test_landmarks_come_in_the_domains_order(name: str, detector: Detector, pixels: dict[str, Pixels]) -> None:
    face = detector.detect(pixels[name])[0]
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])
    assert (face.box[:2] < face.landmarks).all()
    assert (face.landmarks < face.box[2:]).all()
    assert (face.box.dtype, face.landmarks.dtype) == (np.float32, np.float32)


def test_a_group_comes_complete_and_largest_first(
    detector: Detector, pixels: dict[str, Pixels], theirs: Theirs
) -> None:
    faces = detector.detect(pixels["group"])
    assert len(faces) == len(theirs["group"][0]) == 3
    assert [face.size for face in faces] == sorted((face.size for face in faces), reverse=True)
    assert max(agreement(face, *theirs["group"])[0] for face in faces) < 0.06


def test_a_picture_without_a_face_gives_none(detector: Detector, pixels: dict[str, Pixels]) -> None:
    assert detector.detect(pixels["no_face"]) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (11, 13), (7, 3000), (40, 40)])
@pytest.mark.parametrize("value", [0, 127, 255])
def test_tiny_and_narrow_pictures_give_none(shape: tuple[int, int], value: int, detector: Detector) -> None:
    """Each several times: where OpenCV's YuNet reads memory that was never written, faces come at random."""
    assert [detector.detect(np.full((*shape, 3), value, np.uint8)) for _ in range(4)] == [[]] * 4


def test_a_mirrored_photograph_gives_mirrored_landmarks(detector: Detector, pixels: dict[str, Pixels]) -> None:
    photograph = pixels["biden"]
    face, mirrored = detector.detect(photograph)[0], detector.detect(photograph[:, ::-1])[0]
    expected = face.landmarks[[1, 0, 2, 4, 3]] * [-1, 1] + [photograph.shape[1] - 1, 0]
    assert np.abs(mirrored.landmarks - expected).mean() < 0.05 * face.size


def test_threads_share_one_detector(detector: Detector, pixels: dict[str, Pixels]) -> None:
    photographs = [pixels[name] for name in PORTRAITS] * 3
    alone = [detector.detect(photograph)[0] for photograph in photographs]
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda photograph: detector.detect(photograph)[0], photographs))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.landmarks, other.landmarks)
        np.testing.assert_array_equal(one.box, other.box)


# --- the learnt ones ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEARNT)
@pytest.mark.parametrize("photograph", ["obama", "biden"])
def test_a_face_that_fills_the_photograph_is_found_in_place(
    name: str, photograph: str, file: Callable[[str], Path], pixels: dict[str, Pixels]
) -> None:
    """Cut at the box itself: without padded crops and surroundings it would be missed or misplaced."""
    detector = open_detector(name, file)
    whole = detector.detect(pixels[photograph])[0]
    left, top, right, bottom = whole.box.round().astype(int)
    tight = detector.detect(pixels[photograph][top:bottom, left:right])
    assert len(tight) == 1
    assert np.abs(tight[0].landmarks + np.array([left, top]) - whole.landmarks).mean() < 0.03 * whole.size


@pytest.mark.parametrize("name", LEARNT)
def test_large_photographs_give_the_same_faces(
    name: str, file: Callable[[str], Path], pixels: dict[str, Pixels]
) -> None:
    """Every pixel repeated to 3 x 3."""
    detector = open_detector(name, file)
    small, large = detector.detect(pixels["obama2"]), detector.detect(pixels["obama2"].repeat(3, 0).repeat(3, 1))
    assert len(large) == len(small) == 1
    assert np.abs(large[0].landmarks / 3 - small[0].landmarks).mean() < 0.03 * small[0].size


# --- MTCNN ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_exported_networks_equal_facenet_pytorchs(name: str, runtime: str, file: Callable[[str], Path]) -> None:
    torchvision_ops.install()
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    original = {"pnet": PNet, "rnet": RNet, "onet": ONet}[name]()
    shape = {"pnet": (2, 3, 61, 90), "rnet": (7, 3, 24, 24), "onet": (3, 3, 48, 48)}[name]
    batch = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    with torch.inference_mode():
        expected = original(torch.from_numpy(batch))
    ours = open_network(file(f"{name}.onnx"), runtime)(batch)
    for a, b in zip(ours, expected, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-5)


def test_the_export_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    first, second = mtcnn.export(tmp_path / "a"), mtcnn.export(tmp_path / "b")
    assert [path.name for path in first] == ["pnet.onnx", "rnet.onnx", "onet.onnx"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("name", [*PORTRAITS, "group"])
def test_the_cascade_agrees_with_facenet_pytorchs(
    name: str, file: Callable[[str], Path], pixels: dict[str, Pixels], theirs: Theirs
) -> None:
    faces = open_detector("mtcnn", file).detect(pixels[name])
    assert len(faces) == len(theirs[name][0])
    for face in faces:
        landmarks, box = agreement(face, *theirs[name])
        assert landmarks < 0.03
        assert box < 0.08


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_runtimes_agree(runtime: str, file: Callable[[str], Path], pixels: dict[str, Pixels]) -> None:
    usual, other = open_detector("mtcnn", file), open_detector("mtcnn", file, runtime)
    for one, two in zip(usual.detect(pixels["group"]), other.detect(pixels["group"]), strict=True):
        np.testing.assert_allclose(one.landmarks, two.landmarks, atol=0.05)


# --- YuNet and O-Net ------------------------------------------------------------------------------


class Proposes:
    """A detector that always answers the same."""

    name = "fixed"

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, pixels: Pixels) -> list[Face]:
        return self.faces


def test_refined_landmarks_are_the_proposers_where_onet_sees_no_face(
    file: Callable[[str], Path], pixels: dict[str, Pixels]
) -> None:
    background = Face(np.array([10, 10, 60, 60], np.float32), np.eye(5, 2, dtype=np.float32) * 9 + 20, 0.8)
    real = open_detector("yunet", file).detect(pixels["biden"])[0]
    misplaced = Face(real.box, real.landmarks + np.float32(20), real.score)
    refined = RefinedDetector(Proposes(misplaced, background), open_network(file("onet.onnx"), "onnxruntime"))
    first, second = refined.detect(pixels["biden"])
    assert np.abs(first.landmarks - real.landmarks).mean() < 0.04 * real.size
    np.testing.assert_array_equal(first.box, real.box)
    np.testing.assert_array_equal(second.landmarks, background.landmarks)


def test_what_can_not_be_opened_has_a_typed_error(tmp_path: Path, file: Callable[[str], Path]) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(PackInvalid, match="yunet-onet, mtcnn, yunet, haar"):
        open_detector("retina", file)
    for name in DETECTORS:
        with pytest.raises(PackDamaged, match=r"broken\.onnx"):
            open_detector(name, lambda _: broken)
