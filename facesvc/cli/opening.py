"""Opens what answers a command: this machine's store, or a server."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from facesvc.cli.backend import Backend, Cluster
from facesvc.errors import RequestError

if TYPE_CHECKING:
    from facesvc.config import Settings


def open_backend(
    settings: "Settings", server: str | None = None, cluster: Cluster | None = None, photographs: bool = True
) -> AbstractContextManager[Backend]:
    """Open the server at ``server``, or else the local store; close it when the context ends.

    cluster: processes the local store's photographs in place of this process; photographs: whether any will be sent:
    without, no model is loaded here before it is needed.
    """
    if server:
        from facesvc.cli.remote import open_remote

        return open_remote(server, settings.workers, api_key(settings))
    from facesvc.cli import local  # here: loads the networks' runtime and the database driver

    return local.open_on_cluster(settings, cluster) if cluster else local.open_local(settings, lazily=not photographs)


def api_key(settings: "Settings") -> str | None:
    """Return the API key to send to a server, None without one. Raises RequestError for a file that can't be read."""
    if settings.api_key_file is None:
        return settings.api_key.get_secret_value() if settings.api_key else None
    try:
        return settings.api_key_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise RequestError(f"{settings.api_key_file}: {reason}") from error
