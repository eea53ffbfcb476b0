"""Manifests: what the template version depends on, what it doesn't, and what is refused."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesvc.errors import PackInvalid
from facesvc.models import manifest

FOLDER = Path(manifest.__file__).parent / "manifests"
SFACE = json.loads((FOLDER / "sface.json").read_text())
FUSION = json.loads((FOLDER / "fusion.json").read_text())
FACENET = json.loads((FOLDER / "facenet.json").read_text())
DIGEST = "ab" * 32


def version(content: dict[str, Any]) -> str:
    return manifest.parse(json.dumps(content)).template_version


def changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at ``a.b.0`` replaced."""
    copy = json.loads(json.dumps(content))
    *way, last = path.split(".")
    place = copy
    for key in way:
        place = place[int(key) if isinstance(place, list) else key]
    place[int(last) if isinstance(place, list) else last] = value
    return copy


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sface", "sha256:dca938f2b8be27350cec2cdef16ddfcb13b4fdc7cff0afd86d18b458c8f5a98c"),
        ("dlib", "sha256:855aafcc92600c5de9647f3a2af5737c4f30c20987ac2d08ceda70192d95e358"),
        ("facenet", "sha256:5f9934ae882567215b7675d3384a8b0feeecb210ce81d0d7ce18963396a3f75e"),
    ],
)
def test_the_committed_versions_stay_what_stored_templates_say(name: str, expected: str) -> None:
    """A change here orphans every stored template of the pack: it must be meant."""
    assert manifest.read(FOLDER / f"{name}.json").template_version == expected


@given(st.randoms(use_true_random=False))
def test_key_order_is_irrelevant(chance: random.Random) -> None:
    assert version(shuffled(FACENET, chance)) == version(FACENET)


def test_an_integer_is_the_same_number_as_a_float() -> None:
    assert version(changed(SFACE, "networks.0.mean", [0, 0, 0])) == version(SFACE)


@given(
    st.sampled_from(
        ["title", "provenance", "licence", "notes"]
        + [f"networks.0.source.{field}" for field in ("file", "licence", "requirement")]
    ),
    st.text(st.characters(codec="utf-8")),
)
def test_prose_does_not_change_the_version(path: str, text: str) -> None:
    assert version(changed(SFACE, path, text)) == version(SFACE)


@given(st.floats(0.01, 3.9))
def test_recalibrating_the_threshold_does_not_change_the_version(threshold: float) -> None:
    assert version(changed(SFACE, "threshold", threshold)) == version(SFACE)


RELEVANT = {
    "detector": st.sampled_from(["mtcnn", "yunet", "haar"]),
    "networks.0.converter": st.sampled_from(["onnx", "dlib"]),
    "networks.0.revision": st.integers(2, 10**6),
    "networks.0.crop.size": st.integers(113, 1024),
    "networks.0.crop.landmarks.2.0": st.floats(0, 111).filter(
        lambda x: x != SFACE["networks"][0]["crop"]["landmarks"][2][0]
    ),
    "networks.0.colour": st.just("BGR"),
    "networks.0.mean.1": st.floats(-255, 255).filter(bool),
    "networks.0.std.2": st.floats(1.5, 255),
    "networks.0.flip": st.just(False),
    "norm": st.floats(1.001, 10),
    "networks.0.source.sha256": st.text("0123456789abcdef", min_size=64, max_size=64),
    "head": st.just({"features": 128, "sha256": DIGEST}),
}


@given(st.sampled_from(sorted(RELEVANT)).flatmap(lambda path: st.tuples(st.just(path), RELEVANT[path])))
def test_whatever_determines_vectors_changes_the_version(change: tuple[str, Any]) -> None:
    assert version(changed(SFACE, *change)) != version(SFACE)


def test_another_head_is_another_version() -> None:
    assert version(changed(FACENET, "head.sha256", DIGEST)) != version(FACENET)
    assert version(changed(FUSION, "head.sha256", DIGEST)) != version(FUSION)


def test_every_network_its_weight_and_their_order_determine_the_version() -> None:
    first, second = FUSION["networks"]
    others = [
        changed(FUSION, "networks.0.weight", 2.0),
        changed(FUSION, "networks.1.weight", 2.0),
        changed(FUSION, "networks.1.source.sha256", DIGEST),
        changed(FUSION, "networks.1.crop.landmarks.0.0", 46.0),
        FUSION | {"networks": [second, first]},
        FUSION | {"networks": [first, first]},
    ]
    assert len({version(content) for content in [FUSION, *others]}) == len(others) + 1


def test_where_a_head_is_shipped_is_no_part_of_the_version() -> None:
    assert version(changed(FUSION, "head.file", None)) == version(FUSION)


def test_features_are_those_of_all_networks() -> None:
    assert manifest.parse(json.dumps(FUSION)).features == 256
    assert manifest.parse(json.dumps(FACENET)).features == 512
    assert manifest.parse(json.dumps(SFACE)).features == 128


def test_an_overridden_detector_equals_a_manifest_written_with_it() -> None:
    overridden = manifest.parse(json.dumps(SFACE)).with_detector("mtcnn")
    assert overridden.detector == "mtcnn"
    assert overridden.template_version == version(changed(SFACE, "detector", "mtcnn"))


def test_an_unknown_detector_is_refused() -> None:
    with pytest.raises(PackInvalid, match="unknown detector 'hog'"):
        manifest.parse(json.dumps(SFACE)).with_detector("hog")  # type: ignore[arg-type]


def test_unknown_weights_have_no_version() -> None:
    casia = manifest.read(FOLDER / "facenet-casia.json")
    assert not casia.complete
    with pytest.raises(PackInvalid, match="weights of pack facenet-casia are not known"):
        _ = casia.template_version
    assert casia.with_digests([DIGEST], casia.head.sha256 if casia.head else None, True).complete


@pytest.mark.parametrize("content", [SFACE, FACENET, FUSION])
def test_json_survives_a_round_trip(content: dict[str, Any]) -> None:
    parsed = manifest.parse(json.dumps(content))
    assert manifest.parse(parsed.to_json()) == parsed


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("name", "../etc", "name"),
        ("name", "detectors", "can't name a pack"),
        ("detector", "hog", "detector"),
        ("networks.0.crop.size", 0, "networks.0.crop.size"),
        ("networks.0.crop.size", 10**9, "networks.0.crop.size"),
        ("networks.0.crop.size", 60, "networks.0.crop.landmarks"),
        ("networks.0.crop.landmarks", [[1, 2]], "networks.0.crop.landmarks"),
        ("networks.0.crop.landmarks.0.0", -3.0, "networks.0.crop.landmarks"),
        ("networks.0.colour", "GRB", "networks.0.colour"),
        ("networks.0.std.0", 0.0, "networks.0.std.0"),
        ("networks.0.mean.0", "127", "networks.0.mean.0"),
        ("norm", -1.0, "norm"),
        ("dimension", 512, "dimension"),
        ("threshold", 0.0, "threshold"),
        ("networks.0.flip", "yes", "networks.0.flip"),
        ("networks.0.source.sha256", "ABC", "networks.0.source.sha256"),
        ("networks.0.source.url", "file:///etc/passwd", "networks.0.source.url"),
        ("head", {"features": 64}, "head.features"),
        ("head", {"features": 512}, "they give 128 features, but its head takes 512"),
        ("head", {"features": 128, "sha256": DIGEST, "file": "../../x.safetensors"}, "head.file"),
        ("head", {"features": 128, "file": "x.safetensors"}, "head.file: a shipped head has its sha256"),
        ("head", {"features": 128, "sha256": DIGEST, "file": "x.safetensors", "stand_in": True}, "no stand-in"),
        ("networks", [], "networks: Tuple should have at least 1"),
        ("networks", SFACE["networks"] * 5, "networks: Tuple should have at most 4"),
        ("networks", SFACE["networks"] * 2, "they give 256 features, but a template without head is 128"),
        ("networks.0.features", 127, "they give 127 features"),
        ("networks.0.weight", 0.5, "networks.0.weight: a lone network's is 1"),
        ("networks.0.weight", 0.0, "networks.0.weight"),
        ("surprise", 1, "surprise"),
    ],
)
def test_faults_are_named(path: str, value: Any, fault: str) -> None:
    with pytest.raises(PackInvalid, match=fault):
        manifest.parse(json.dumps(changed(SFACE, path, value)))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"norm": NaN}', b"[" * 100_000])
def test_what_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(PackInvalid):
        manifest.parse(text)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackInvalid, match="No such file"):
        manifest.read(tmp_path / "none.json")
