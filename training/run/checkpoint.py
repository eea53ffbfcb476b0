"""All of a run's state in one file, written so that a kill at any moment leaves the old one or the new one."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from facesvc.files import SHARED, replacing, write_whole
from training.errors import CheckpointUnusable


def save_checkpoint(file: Path, state: dict[str, Any]) -> None:
    """state: tensors, numbers, texts, and lists and dicts of these; nothing else could be loaded again."""
    with replacing(file, SHARED) as stream:
        torch.save(state, stream)


def save_weights(file: Path, weights: dict[str, Tensor]) -> None:
    """A state dict as safetensors, on the CPU."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_whole(file, save(tensors), SHARED)


def load_checkpoint(file: Path, identity: dict[str, str]) -> dict[str, Any]:
    """The state of a run of this very identity (config, data, network), tensors on the CPU.

    No pickled object is ever made (``weights_only``). Raises CheckpointUnusable.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file provokes in zipfile or torch
        raise CheckpointUnusable(f"{file} can't be read: {type(error).__name__}") from error
    found = state.get("identity") if isinstance(state, dict) else None
    if not isinstance(found, dict):
        raise CheckpointUnusable(f"{file} is no checkpoint of this trainer")
    changed = [name for name, value in identity.items() if found.get(name) != value]
    if changed:
        raise CheckpointUnusable(f"{file} was made with another {' and another '.join(changed)}")
    return state


def digest(*parts: str) -> str:
    """SHA-256 over texts, each with its length before it."""
    result = hashlib.sha256()
    for part in parts:
        data = part.encode()
        result.update(f"{len(data)}:".encode() + data)
    return result.hexdigest()
