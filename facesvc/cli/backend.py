"""What the commands ask, answered by this machine's store or by a server: the same JSON shapes either way.

The shapes are those of ``facesvc.views``; errors are ``FaceServiceError`` with the same codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datetime import datetime
    from typing import BinaryIO

    from facesvc.core.decide import DecisionRule

View = dict[str, Any]


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

    def model(self, gallery: str) -> View:
        """The gallery's pack: template version, threshold, calibration."""
        ...

    def verify(self, probe: bytes, reference: bytes, face: str, rule: "DecisionRule") -> View: ...

    def identify(self, photograph: bytes, gallery: str, top_k: int, face: str, rule: "DecisionRule") -> View: ...

    def enrol(self, gallery: str, subject: str, photograph: bytes, face: str, strict: bool) -> View:
        """The outcome of one photograph: ``status`` is enrolled or rejected."""
        ...

    def galleries(self) -> Iterator[View]: ...

    def gallery(self, name: str) -> View: ...

    def create_gallery(self, name: str, keep_photographs: bool = False) -> View: ...

    def delete_gallery(self, name: str) -> None: ...

    def subjects(self, gallery: str) -> Iterator[View]: ...

    def subject(self, gallery: str, subject: str) -> View: ...

    def rename_subject(self, gallery: str, subject: str, display_name: str) -> View: ...

    def mark_canary(self, gallery: str, subject: str, canary: bool) -> None: ...

    def retain_subject(self, gallery: str, subject: str, consent: str | None, expires_at: "datetime | None") -> View:
        """Sets what is not None."""
        ...

    def delete_subject(self, gallery: str, subject: str) -> None: ...

    def erase_subject(self, gallery: str, subject: str) -> View:
        """The signed receipt."""
        ...

    def export_subject(self, gallery: str, subject: str, file: "BinaryIO") -> None:
        """Writes the archive of all that is kept of it, see ``facesvc.service.subject_export``."""
        ...

    def references(self, gallery: str, subject: str) -> Iterator[View]: ...
