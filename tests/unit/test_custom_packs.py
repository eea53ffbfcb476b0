"""Packs of the user's own: a network, a manifest and a head."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesvc.errors import CarrierMissing, ModelError, PackDamaged, PackInvalid
from facesvc.models import head, manifest
from facesvc.models.assembly import HEADS
from facesvc.models.graph import GraphWriter
from facesvc.models.packs import MANIFESTS, Pack, Packs
from facesvc.pipeline.embed import OnnxEmbedder
from tests.support.packs import MY_NETWORK, my_manifest, my_network, written


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
        {"colour": "BGR", "mean": [10, 20, 30], "std": [2, 4, 8], "features": 256},
        norm=3.0,
        head={"features": 256},
    )
    with pytest.raises(CarrierMissing, match="--head FILE"):
        packs.build("mine", weights=[tmp_path / "net.onnx"], manifest=described)
    pack = packs.build("mine", weights=[tmp_path / "net.onnx"], manifest=described, head=tmp_path / "head.safetensors")
    chip = random.integers(0, 256, (1, 16, 16, 3), np.uint8)
    bgr = (chip[0, :, :, ::-1].mean((0, 1)) - [10, 20, 30]) / [2, 4, 8]
    features = bgr @ matrix
    expected = layer.weight @ (features / np.linalg.norm(features)) + layer.bias
    expected *= 3 / np.linalg.norm(expected)
    np.testing.assert_allclose(OnnxEmbedder(pack).embed([(chip[0],)])[0], expected, atol=1e-5)
    assert packs.names() == ["dlib", "facenet", "facenet-casia", "fusion", "mine", "sface"]
    assert packs.build("mine").template_version == pack.template_version
    assert pack.manifest.networks[0].source.sha256 == hashlib.sha256((tmp_path / "net.onnx").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("size", "features", "changes", "fault"),
    [
        (16, 127, {}, r"gives \(2, 127\) for two chips, not \(2, 128\)"),
        (17, 128, {}, "doesn't run on"),
        (16, 128, {"features": 256, "head": {"features": 256, "stand_in": True}}, r"not \(2, 256\)"),
        (16, 128, {"name": "yours"}, "can't become pack 'mine'"),
        (16, 128, {"source": {"file": "n", "licence": "", "sha256": "0" * 64}}, "asks for 000000"),
    ],
)
def test_a_network_that_is_not_what_its_manifest_says_is_refused(
    packs: Packs, tmp_path: Path, size: int, features: int, changes: dict[str, Any], fault: str
) -> None:
    my_network(tmp_path / "net.onnx", size, features)
    network = {key: changes[key] for key in changes.keys() & {"features", "source"}}
    described = my_manifest(tmp_path / "m.json", network, **{k: v for k, v in changes.items() if k not in network})
    with pytest.raises(ModelError, match=fault):
        packs.build("mine", weights=[tmp_path / "net.onnx"], manifest=described)
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
        packs.build("mine", weights=[tmp_path / "net.onnx"], manifest=my_manifest(tmp_path / "m.json"))


def test_a_committed_pack_is_not_replaced_by_a_users(packs: Packs, tmp_path: Path) -> None:
    described = my_manifest(tmp_path / "m.json", name="sface")
    with pytest.raises(PackInvalid, match="can't become pack 'sface'"):
        packs.build("sface", weights=[tmp_path / "net.onnx"], manifest=described)


def test_several_networks_become_one_pack(packs: Packs, tmp_path: Path) -> None:
    """Each with its own chip, mirror image and weight, no head: 64 features beside 64 are a template."""
    first = my_network(tmp_path / "a.onnx", features=64)
    second = my_network(tmp_path / "b.onnx", size=20, features=64, seed=6)
    described = my_manifest(
        tmp_path / "m.json",
        {"features": 64, "weight": 3.0},
        {"features": 64, "weight": 4.0, "flip": True, "mean": [9, 8, 7], "crop": MY_NETWORK["crop"] | {"size": 20}},
        norm=2.0,
    )
    pack = packs.build("mine", weights=[tmp_path / "a.onnx", tmp_path / "b.onnx"], manifest=described)
    random = np.random.default_rng(7)
    small, large = random.integers(0, 256, (16, 16, 3), np.uint8), random.integers(0, 256, (20, 20, 3), np.uint8)
    features = small.mean((0, 1)) @ first, (large.mean((0, 1)) - [9, 8, 7]) @ second
    shares = [vector / np.linalg.norm(vector) for vector in features]
    expected = 2 * np.concatenate([0.6 * shares[0], 0.8 * shares[1]])  # 3 and 4 to 5
    np.testing.assert_allclose(OnnxEmbedder(pack).embed([(small, large)])[0], expected, atol=1e-5)
    digests = [network.source.sha256 for network in pack.manifest.networks]
    assert digests == [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.onnx", "b.onnx")]
    assert packs.build("mine").template_version == pack.template_version


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_weights_than_networks_is_refused(packs: Packs, tmp_path: Path, count: int) -> None:
    my_network(tmp_path / "net.onnx", features=64)
    described = my_manifest(tmp_path / "m.json", {"features": 64}, {"features": 64})
    with pytest.raises(PackInvalid, match=f"pack mine has 2 networks, not {count}: give --weights FILE 2 times"):
        packs.build("mine", weights=[tmp_path / "net.onnx"] * count, manifest=described)
    assert packs.built() == []


SHIPPED = json.loads((MANIFESTS / "fusion.json").read_text())["head"]
"""The head of fusion as its manifest describes it: 256 features."""


def build_with_head(packs: Packs, folder: Path, described: dict[str, Any], own: Path | None = None) -> Pack:
    """A pack of two networks of 128 features each."""
    my_network(folder / "net.onnx")
    file = my_manifest(folder / "m.json", {}, {}, head=described)
    return packs.build("mine", weights=[folder / "net.onnx"] * 2, manifest=file, head=own)


def test_a_shipped_head_is_found_by_its_file(packs: Packs, tmp_path: Path) -> None:
    layer = build_with_head(packs, tmp_path, SHIPPED).head()
    shipped = head.load(HEADS / "fusion.safetensors", 256)
    assert layer
    np.testing.assert_array_equal(layer.weight, shipped.weight)
    np.testing.assert_array_equal(layer.bias, shipped.bias)
    assert head.digest(shipped) == SHIPPED["sha256"]


@pytest.mark.parametrize(
    ("changes", "error", "fault"),
    [
        ({"file": "nobody.safetensors"}, CarrierMissing, "pack mine needs its head: .* --head FILE"),
        ({"sha256": "ab" * 32}, PackDamaged, "has another digest than its manifest says"),
        ({"features": 128}, PackInvalid, "they give 256 features, but its head takes 128"),
    ],
)
def test_a_shipped_head_that_is_not_the_manifests_is_refused(
    packs: Packs, tmp_path: Path, changes: dict[str, Any], error: type[ModelError], fault: str
) -> None:
    with pytest.raises(error, match=fault):
        build_with_head(packs, tmp_path, SHIPPED | changes)
    assert packs.built() == []


@pytest.mark.parametrize(
    ("features", "error", "fault"),
    [(256, PackDamaged, "has another digest than"), (128, PackInvalid, r"weight is float32 \(128, 128\)")],
)
def test_another_head_does_not_take_a_shipped_ones_place(
    packs: Packs, tmp_path: Path, features: int, error: type[ModelError], fault: str
) -> None:
    own = head.LinearHead(np.eye(128, features, dtype=np.float32), np.zeros(128, np.float32))
    head.save(tmp_path / "own.safetensors", own)
    with pytest.raises(error, match=fault):
        build_with_head(packs, tmp_path, SHIPPED, tmp_path / "own.safetensors")


def test_a_built_packs_head_is_checked_against_its_manifest(packs: Packs, tmp_path: Path) -> None:
    pack = build_with_head(packs, tmp_path, SHIPPED)
    wrong = replace(pack.manifest, head=replace(pack.manifest.head, sha256="ab" * 32))  # type: ignore[type-var]
    with pytest.raises(PackDamaged, match="is not the head of its manifest"):
        OnnxEmbedder(replace(pack, manifest=wrong))


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
