"""What the commands ask, answered by this machine's store or by a server: the same JSON shapes either way.

The shapes are those of ``facesvc.views``; errors are ``FaceServiceError`` with the same codes.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from facesvc.errors import RequestError

if TYPE_CHECKING:
    from datetime import datetime
    from typing import BinaryIO

    from facesvc.config import Settings
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


def open_backend(
    settings: "Settings", server: str | None = None, cluster: Cluster | None = None
) -> AbstractContextManager[Backend]:
    """The server at ``server``, or the local store, with its photographs processed here or by ``cluster``; closed when
    the context ends."""
    if server:
        from facesvc.cli.remote import open_remote

        return open_remote(server, settings.workers, api_key(settings))
    from facesvc.cli import local  # here: loads the networks' runtime and the database driver

    return local.open_on_cluster(settings, cluster) if cluster else local.open_local(settings)


def api_key(settings: "Settings") -> str | None:
    """What to bring to a server. Raises RequestError for a file that can't be read."""
    if settings.api_key_file is None:
        return settings.api_key.get_secret_value() if settings.api_key else None
    try:
        return settings.api_key_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise RequestError(f"{settings.api_key_file}: {reason}") from error
