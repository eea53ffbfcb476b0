"""What a process holds in its memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoadedIndex:
    """An index in memory: its gallery's name, the references it holds, the revision it stands at; its kind, and the
    bytes that its vectors and keys take."""

    gallery: str
    references: int
    revision: int
    kind: str
    nbytes: int
