"""What the stored codes of an index mean, apart from the codes themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facesvc.core.ports import TemplateIndex

Codes = NDArray[np.uint8]
"""(n b) bytes, as an index stores vectors."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """kind: of the index; code_size: bytes of a vector; arrays: what else was learnt or measured, by name."""

    kind: str
    code_size: int
    arrays: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class Storable(TemplateIndex, Protocol):
    """An index that can be put away and made again from its codes; see index.dense for what each method says."""

    def keys(self) -> NDArray[np.int64]: ...
    def codes(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], Codes]: ...
    def frame(self) -> Frame: ...
    def adopt(self, frame: Frame) -> None: ...
    def restore(self, keys: NDArray[np.int64], codes: Codes) -> None: ...
