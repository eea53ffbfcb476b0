"""The linear head of a pack: from a network's features to the 128 numbers of a template."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesvc.core.types import DIMENSION, Vectors
from facesvc.errors import PackInvalid

STAND_IN_SEED = 128


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """weight (128 k) float32, bias (128,) float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __call__(self, features: Vectors) -> Vectors:
        """(n k) float32, unit length -> (n 128) float32, not normalised; a row gives the same bits in any batch."""
        # a product for each row: BLAS sums in another order for several rows than for one, and micro-batches vary
        return (self.weight @ features[:, :, None])[:, :, 0] + self.bias


def digest(head: LinearHead) -> str:
    """Hex SHA-256 of the values: shape, then weight and bias as little-endian float32. A file's metadata and
    key order don't count."""
    shape = np.array(head.weight.shape, "<i8")
    parts = (shape, head.weight.astype("<f4"), head.bias.astype("<f4"))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def projection(features: int) -> LinearHead:
    """A fixed projection that keeps distances as well as any can without training data: 128 orthonormal rows.

    A subsampled randomised Hadamard transform (Ailon & Chazelle 2009, "The Fast Johnson-Lindenstrauss Transform";
    Tropp 2011): random signs, then 128 random rows of the Hadamard matrix. Squared distances change by a
    relative standard deviation of about sqrt(2 / 128) = 12 %. Made of +-1 / sqrt(features) alone, so its bytes, and
    with them the template version, are the same on every machine, which a QR factorisation wouldn't promise.
    ``features`` must be a power of two; raises PackInvalid otherwise.
    """
    if features < DIMENSION or features & (features - 1):
        raise PackInvalid(f"the stand-in head needs a power of two of at least {DIMENSION} features, not {features}")
    random = np.random.RandomState(STAND_IN_SEED)  # its stream is frozen for good, that of default_rng is not
    signs = random.choice([-1.0, 1.0], features)
    rows = np.sort(random.permutation(features)[:DIMENSION])
    parity = np.bitwise_count(rows[:, None] & np.arange(features)) & 1  # Sylvester's: H[i, j] = (-1)^popcount(i & j)
    weight = (1.0 - 2.0 * parity) * signs / np.sqrt(features)
    return LinearHead(weight.astype(np.float32), np.zeros(DIMENSION, np.float32))


def save(path: Path, head: LinearHead) -> None:
    """Writes what ``load`` reads."""
    from safetensors.numpy import save as pack

    tensors = {"weight": np.ascontiguousarray(head.weight), "bias": np.ascontiguousarray(head.bias)}
    path.write_bytes(pack(tensors))  # its save_file makes files that nobody but their owner may read


def load(path: Path, features: int) -> LinearHead:
    """Reads a safetensors file with ``weight`` (128 features) and ``bias`` (128,), float32.

    Raises PackInvalid for anything else, values that are not finite among it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        head = LinearHead(tensors["weight"], tensors["bias"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise PackInvalid(f"{path} is no head file with weight and bias: {error}") from error
    expected = {"weight": (DIMENSION, features), "bias": (DIMENSION,)}
    for name, values in (("weight", head.weight), ("bias", head.bias)):
        if values.shape != expected[name] or values.dtype != np.float32:
            raise PackInvalid(f"{path}: {name} is {values.dtype} {values.shape}, not float32 {expected[name]}")
        if not np.isfinite(values).all():
            raise PackInvalid(f"{path}: {name} has values that are not finite")
    return head
