"""Checkpoints: what comes back, what is refused, and that no pickle is ever opened."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from training.errors import CheckpointUnusable
from training.run.checkpoint import digest, load_checkpoint, save_checkpoint, save_weights

IDENTITY = {"config": "a", "data set": "b"}


class Trap:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.file,)


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    weights = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    state = {"identity": IDENTITY, "weights": weights, "position": {"step": 7, "tar": 0.1 + 0.2, "best": None}}
    save_checkpoint(tmp_path / "c.pt", state)
    found = load_checkpoint(tmp_path / "c.pt", IDENTITY)
    assert found["weights"].numpy().tobytes() == weights.numpy().tobytes()
    assert found["position"] == {"step": 7, "tar": 0.30000000000000004, "best": None}


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"identity": IDENTITY, "step": 1})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(tmp_path / "c.pt", {"identity": IDENTITY, "step": 2, "wrong": lambda: None})
    assert load_checkpoint(tmp_path / "c.pt", IDENTITY)["step"] == 1


def test_another_identity_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.pt", {"identity": IDENTITY})
    with pytest.raises(CheckpointUnusable, match="made with another data set"):
        load_checkpoint(tmp_path / "c.pt", {**IDENTITY, "data set": "c"})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", pickle.dumps({"identity": IDENTITY, "a": {1, 2}})])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(CheckpointUnusable, match="can't be read"):
        load_checkpoint(tmp_path / "c.pt", IDENTITY)


def test_a_pickled_object_is_never_made(tmp_path: Path) -> None:
    torch.save({"identity": IDENTITY, "trap": Trap(tmp_path / "sprung")}, tmp_path / "c.pt")
    with pytest.raises(CheckpointUnusable, match="UnpicklingError"):
        load_checkpoint(tmp_path / "c.pt", IDENTITY)
    assert not (tmp_path / "sprung").exists()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(2), tmp_path / "c.pt")
    with pytest.raises(CheckpointUnusable, match="no checkpoint of this trainer"):
        load_checkpoint(tmp_path / "c.pt", IDENTITY)


def test_weights_as_safetensors(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 3)
    save_weights(tmp_path / "w.safetensors", network.state_dict())
    found = load_file(tmp_path / "w.safetensors")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "weight": network.weight.tolist(),
        "bias": network.bias.tolist(),
    }


def test_digests_keep_texts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab", "c") == digest("ab", "c")
