"""How files of ours are kept on disk: as they are, or sealed."""

from typing import Protocol


class Seal(Protocol):
    """owner: which file it is and of what; what is sealed for one opens for no other."""

    def seal(self, content: bytes, owner: str) -> bytes: ...

    def open(self, stored: bytes, owner: str) -> bytes:
        """What ``seal`` was given. Raises StoreError for anything else."""
        ...


class NoSeal:
    """Leaves bytes as they are."""

    def seal(self, content: bytes, owner: str) -> bytes:
        return content

    def open(self, stored: bytes, owner: str) -> bytes:
        return stored
