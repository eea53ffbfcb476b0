"""Reads PyTorch's first file format (``torch.save`` before 1.6) with NumPy alone, so that a server never loads PyTorch.

A file is four pickles (magic number, protocol, sizes of the machine's types, the state dict), a fifth with the keys of
the storages in their order, then each storage: its length as int64 and its values. Only plain tensors are rebuilt;
every other class in the pickles is refused, so that nothing in the file is run.
"""

import pickle
from collections import OrderedDict
from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facesvc.errors import PackInvalid

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Tensor(NamedTuple):
    """The arguments of ``torch._utils._rebuild_tensor_v2``."""

    storage: str
    offset: int
    size: Sequence[int]
    stride: Sequence[int]
    requires_grad: bool
    hooks: object

    def read(self, storages: dict[str, bytes]) -> NDArray[np.float32]:
        """Return the values in C order. Raises ValueError, TypeError where they are not within the storage."""
        strides = [4 * step for step in self.stride]
        return np.ndarray(self.size, "<f4", storages[self.storage], 4 * self.offset, strides).copy("C")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": _Tensor,
            "torch.FloatStorage": np.float32,
        }
        if f"{module}.{name}" not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a file of weights")
        return allowed[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> str:
        """Return the key of a storage, ("storage", type, key, device, length, view)."""
        return pid[2]


def read(content: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a state dict by their names. Raises PackInvalid."""
    file = BytesIO(content)
    try:
        if [_Unpickler(file).load() for _ in range(2)] != [MAGIC, PROTOCOL]:
            raise PackInvalid("the weights are no file of PyTorch's first format")
        _, state, keys = (_Unpickler(file).load() for _ in range(3))
        storages = {key: _storage(file) for key in keys}
        return {name: tensor.read(storages) for name, tensor in state.items()}
    except (pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise PackInvalid(f"the weights can't be read: {error}") from error


def _storage(file: BytesIO) -> bytes:
    length = int.from_bytes(file.read(8), "little")
    return file.read(4 * length)
