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
        ("sface", "sha256:80a8d09c9d263f895f9585e7babca8d5474b0125360113c5e016efc8b5a40776"),
        ("dlib", "sha256:cf69983d1297b8c717c706393a0e79ceabfa4393a08518c206e3b09953f0d22d"),
        ("facenet", "sha256:2d17299b92b2d289a1327320e36072e7baba0240d9fc6ba384db41210023d00f"),
    ],
)
def test_the_committed_versions_stay_what_stored_templates_say(name: str, expected: str) -> None:
    """A change here orphans every stored template of the pack: it must be meant."""
    assert manifest.read(FOLDER / f"{name}.json").template_version == expected


@given(st.randoms(use_true_random=False))
def test_key_order_is_irrelevant(chance: random.Random) -> None:
    assert version(shuffled(FACENET, chance)) == version(FACENET)


def test_an_integer_is_the_same_number_as_a_float() -> None:
    assert version(changed(SFACE, "mean", [0, 0, 0])) == version(SFACE)


@given(
    st.sampled_from(["title", "provenance", "licence", "notes", "source.file", "source.licence", "source.requirement"]),
    st.text(st.characters(codec="utf-8")),
)
def test_prose_does_not_change_the_version(path: str, text: str) -> None:
    assert version(changed(SFACE, path, text)) == version(SFACE)


@given(st.floats(0.01, 3.9))
def test_recalibrating_the_threshold_does_not_change_the_version(threshold: float) -> None:
    assert version(changed(SFACE, "threshold", threshold)) == version(SFACE)


RELEVANT = {
    "detector": st.sampled_from(["mtcnn", "yunet", "haar"]),
    "converter": st.sampled_from(["onnx", "dlib"]),
    "revision": st.integers(2, 10**6),
    "crop.size": st.integers(113, 1024),
    "crop.landmarks.2.0": st.floats(0, 111).filter(lambda x: x != SFACE["crop"]["landmarks"][2][0]),
    "colour": st.just("BGR"),
    "mean.1": st.floats(-255, 255).filter(bool),
    "std.2": st.floats(1.5, 255),
    "flip": st.just(False),
    "norm": st.floats(1.001, 10),
    "source.sha256": st.text("0123456789abcdef", min_size=64, max_size=64),
    "head": st.just({"features": 512, "sha256": DIGEST}),
}


@given(st.sampled_from(sorted(RELEVANT)).flatmap(lambda path: st.tuples(st.just(path), RELEVANT[path])))
def test_whatever_determines_vectors_changes_the_version(change: tuple[str, Any]) -> None:
    assert version(changed(SFACE, *change)) != version(SFACE)


def test_another_head_is_another_version() -> None:
    assert version(changed(FACENET, "head.sha256", DIGEST)) != version(FACENET)


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
    assert casia.with_digests(DIGEST, casia.head.sha256 if casia.head else None, True).complete


def test_json_survives_a_round_trip() -> None:
    parsed = manifest.parse(json.dumps(FACENET))
    assert manifest.parse(parsed.to_json()) == parsed


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("name", "../etc", "name"),
        ("name", "detectors", "can't name a pack"),
        ("detector", "hog", "detector"),
        ("crop.size", 0, "crop.size"),
        ("crop.size", 10**9, "crop.size"),
        ("crop.size", 60, "crop.landmarks"),
        ("crop.landmarks", [[1, 2]], "crop.landmarks"),
        ("crop.landmarks.0.0", -3.0, "crop.landmarks"),
        ("colour", "GRB", "colour"),
        ("std.0", 0.0, "std.0"),
        ("mean.0", "127", "mean.0"),
        ("norm", -1.0, "norm"),
        ("dimension", 512, "dimension"),
        ("threshold", 0.0, "threshold"),
        ("flip", "yes", "flip"),
        ("source.sha256", "ABC", "source.sha256"),
        ("source.url", "file:///etc/passwd", "source.url"),
        ("head", {"features": 64}, "head.features"),
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
