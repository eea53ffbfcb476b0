"""Packs of the user's own: a network, a manifest and a head."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesvc.errors import CarrierMissing, ModelError, PackInvalid
from facesvc.models import head, manifest
from facesvc.models.graph import GraphWriter
from facesvc.models.packs import MANIFESTS, Packs
from facesvc.pipeline.embed import OnnxEmbedder
from tests.packs import my_manifest, my_network, written


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    return Packs(tmp_path / "packs")


def test_a_users_network_becomes_a_pack(packs: Packs, tmp_path: Path) -> None:
    """BGR, normalised, with a head: the template is what the formula says."""
    matrix = my_network(tmp_path / "net.onnx", features=256, batch=1)
    random = np.random.default_rng(6)
    layer = head.LinearHead(random.standard_normal((128, 256)).astype("f"), random.standard_normal(128).astype("f"))
    head.save(tmp_path / "head.safetensors", layer)
    described = my_manifest(
        tmp_path / "m.json",
        **{"colour": "BGR", "mean": [10, 20, 30], "std": [2, 4, 8], "norm": 3.0, "head": {"features": 256}},
    )
    with pytest.raises(CarrierMissing, match="--head FILE"):
        packs.build("mine", weights=tmp_path / "net.onnx", manifest=described)
    pack = packs.build("mine", weights=tmp_path / "net.onnx", manifest=described, head=tmp_path / "head.safetensors")
    chip = random.integers(0, 256, (1, 16, 16, 3), np.uint8)
    bgr = (chip[0, :, :, ::-1].mean((0, 1)) - [10, 20, 30]) / [2, 4, 8]
    features = bgr @ matrix
    expected = layer.weight @ (features / np.linalg.norm(features)) + layer.bias
    expected *= 3 / np.linalg.norm(expected)
    np.testing.assert_allclose(OnnxEmbedder(pack).embed(chip)[0], expected, atol=1e-5)
    assert packs.names() == ["dlib", "facenet", "facenet-casia", "mine", "sface"]
    assert packs.build("mine").template_version == pack.template_version
    assert pack.manifest.source.sha256 == hashlib.sha256((tmp_path / "net.onnx").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("size", "features", "changes", "fault"),
    [
        (16, 127, {}, r"gives \(2, 127\) for two chips, not \(2, 128\)"),
        (17, 128, {}, "doesn't run on"),
        (16, 128, {"head": {"features": 256, "stand_in": True}}, r"not \(2, 256\)"),
        (16, 128, {"name": "yours"}, "can't become pack 'mine'"),
        (16, 128, {"source": {"file": "n", "licence": "", "sha256": "0" * 64}}, "asks for 000000"),
    ],
)
def test_a_network_that_is_not_what_its_manifest_says_is_refused(
    packs: Packs, tmp_path: Path, size: int, features: int, changes: dict[str, Any], fault: str
) -> None:
    my_network(tmp_path / "net.onnx", size, features)
    with pytest.raises(ModelError, match=fault):
        packs.build("mine", weights=tmp_path / "net.onnx", manifest=my_manifest(tmp_path / "m.json", **changes))
    assert packs.built() == []


def test_a_network_that_mixes_the_batch_up_is_refused(packs: Packs, tmp_path: Path) -> None:
    writer = GraphWriter()
    value = writer.node("ReduceMean", ["image"], "mean", axes=[0], keepdims=1)
    value = writer.node("Sub", ["image", value], "centred")
    value = writer.node("Flatten", [writer.node("GlobalAveragePool", [value], "pooled")], "flat", axis=1)
    bias = writer.constant("bias", np.ones(128, np.float32))
    matrix = writer.constant("matrix", np.random.default_rng(0).standard_normal((3, 128)).astype(np.float32))
    writer.node("Add", [writer.node("MatMul", [value, matrix], "product"), bias], "vector")
    writer.write(tmp_path / "net.onnx", {"image": ["n", 3, 16, 16]}, {"vector": ["n", 128]})
    with pytest.raises(PackInvalid, match="another vector in a batch than alone"):
        packs.build("mine", weights=tmp_path / "net.onnx", manifest=my_manifest(tmp_path / "m.json"))


def test_a_committed_pack_is_not_replaced_by_a_users(packs: Packs, tmp_path: Path) -> None:
    described = my_manifest(tmp_path / "m.json", name="sface")
    with pytest.raises(PackInvalid, match="can't become pack 'sface'"):
        packs.build("sface", weights=tmp_path / "net.onnx", manifest=described)


def test_the_stand_in_head_is_orthonormal_and_the_committed_one() -> None:
    stand_in = head.projection(512)
    np.testing.assert_allclose(stand_in.weight @ stand_in.weight.T, np.eye(128), atol=1e-6)
    committed = manifest.read(MANIFESTS / "facenet.json").head
    assert committed
    assert head.digest(stand_in) == committed.sha256


def test_the_stand_in_head_keeps_distances_as_it_says() -> None:
    points = np.random.default_rng(1).standard_normal((400, 512)).astype(np.float32)
    before = np.square(points[::2] - points[1::2]).sum(1)
    projected = head.projection(512)(points)
    ratio = np.square(projected[::2] - projected[1::2]).sum(1) / before * 4
    assert abs(ratio.mean() - 1) < 0.03
    assert 0.08 < ratio.std() < 0.15


@pytest.mark.parametrize("features", [64, 500, 513])
def test_the_stand_in_head_needs_a_power_of_two(features: int) -> None:
    with pytest.raises(PackInvalid, match="power of two"):
        head.projection(features)


@pytest.mark.parametrize(
    ("weight", "bias", "fault"),
    [
        (np.ones((128, 9), np.float32), np.ones(128, np.float32), "weight is float32 "),
        (np.ones((128, 512)), np.ones(128, np.float32), "weight is float64"),
        (np.ones((128, 512), np.float32), np.ones(1, np.float32), "bias is float32 "),
        (np.full((128, 512), np.nan, np.float32), np.ones(128, np.float32), "not finite"),
    ],
)
def test_a_head_that_is_none_is_refused(tmp_path: Path, weight: np.ndarray, bias: np.ndarray, fault: str) -> None:
    head.save(tmp_path / "h", head.LinearHead(weight, bias))
    with pytest.raises(PackInvalid, match=fault):
        head.load(tmp_path / "h", 512)


@given(st.binary(max_size=100))
def test_any_bytes_are_no_head(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = written(tmp_path_factory.getbasetemp() / "any.safetensors", content)
    with pytest.raises(PackInvalid, match="is no head file"):
        head.load(file, 512)
