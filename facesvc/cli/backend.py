"""What the commands ask, answered by this machine's store or by a server: the same JSON shapes either way.

The shapes are those of ``facesvc.schemas``; errors are ``FaceServiceError`` with the same codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime
    from typing import BinaryIO

    from facesvc.core.decide import DecisionRule
    from facesvc.schemas.decisions import Identification, Verification
    from facesvc.schemas.galleries import (
        EnrolledPhotograph,
        ErasureReceipt,
        Gallery,
        Model,
        Reference,
        RejectedPhotograph,
        Subject,
    )


@dataclass(frozen=True, slots=True)
class Cluster:
    """The Ray cluster that photographs are sent to. address: of a running one, None: one of the run's own; workers:
    None: one for each of its CPUs."""

    address: str | None
    workers: int | None


class Backend(Protocol):
    """Thread-safe. ``face`` is a ``FaceChoice`` by value; photographs are whole files."""

    workers: int
    """Photographs to give it at once."""

    def model(self, gallery: str) -> "Model":
        """The gallery's pack: template version, threshold, calibration."""
        ...

    def verify(self, probe: bytes, reference: bytes, face: str, rule: "DecisionRule") -> "Verification": ...

    def identify(
        self, photograph: bytes, gallery: str, top_k: int, face: str, rule: "DecisionRule"
    ) -> "Identification": ...

    def enrol(
        self, gallery: str, subject: str, photograph: bytes, face: str, strict: bool
    ) -> "EnrolledPhotograph | RejectedPhotograph":
        """Enrol one photograph."""
        ...

    def galleries(self) -> "Iterator[Gallery]": ...

    def gallery(self, name: str) -> "Gallery": ...

    def create_gallery(self, name: str, keep_photographs: bool = False) -> "Gallery": ...

    def delete_gallery(self, name: str) -> None: ...

    def subjects(self, gallery: str) -> "Iterator[Subject]": ...

    def subject(self, gallery: str, subject: str) -> "Subject": ...

    def rename_subject(self, gallery: str, subject: str, display_name: str) -> "Subject": ...

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None: ...

    def retain_subject(
        self, gallery: str, subject: str, consent: str | None, expires_at: "datetime | None"
    ) -> "Subject":
        """Sets what is not None."""
        ...

    def delete_subject(self, gallery: str, subject: str) -> None: ...

    def erase_subject(self, gallery: str, subject: str) -> "ErasureReceipt":
        """The signed receipt."""
        ...

    def export_subject(self, gallery: str, subject: str, file: "BinaryIO") -> None:
        """Writes the archive of all that is kept of it, see ``facesvc.service.subject_export``."""
        ...

    def references(self, gallery: str, subject: str) -> "Iterator[Reference]": ...
