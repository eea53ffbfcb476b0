"""Galleries and subjects as their rows name and keep them: in the clear, or by tokens and sealed.

What is of a gallery is sealed with the tenant's data key, what is of a subject with the subject's own. Rows that were
written before the tenant had keys are found and read all the same, until all of them are sealed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy.orm import Session

from facesvc.errors import RequestError
from facesvc.storage.cipher import Codec, require_plain
from facesvc.storage.columns import require_json, require_text
from facesvc.storage.keys import latest_data_key
from facesvc.storage.tables import GalleryRow, Table
from facesvc.storage.transactions import Transactions


@dataclass(frozen=True, slots=True)
class GalleryDetails:
    """What a gallery's row seals."""

    name: str
    metadata: Mapping[str, Any]


def gallery_names(codec: Codec, name: str) -> tuple[str, ...]:
    """What the row of the gallery of this name may say its name is. Raises RequestError for text that can't be one."""
    return stored_names(codec, "gallery", name)


def subject_names(codec: Codec, gallery_key: int, name: str) -> tuple[str, ...]:
    """The same of a subject. One who is in two galleries has two tokens."""
    return stored_names(codec, f"subject {gallery_key}", name)


def stored_names(codec: Codec, kind: str, name: str) -> tuple[str, ...]:
    """The first is how it is written; further ones are how it may have been."""
    if not codec.sealing:
        return (name,)
    token = codec.token(kind, checked(name).encode())
    return (token, name) if codec.admits_plain else (token,)


def is_token(stored: str) -> bool:
    """Whether a stored name stands for another; no name begins so."""
    return stored.startswith("/")


def data_key_of(session: Session, rows: Transactions) -> int | None:
    """Version of the data key that this transaction seals with; None where nothing is sealed."""
    return latest_data_key(session, rows.tenant) if rows.codec.sealing else None


def gallery_columns(session: Session, rows: Transactions, details: GalleryDetails) -> dict[str, Any]:
    """Columns of GalleryRow."""
    version = data_key_of(session, rows)
    if version is None:
        return {"name": details.name, "details": dict(details.metadata)}
    name, content = gallery_names(rows.codec, details.name)[0], packed(asdict(details))
    sealed = rows.codec.tenants(version).seal(content, owner_of_gallery(name))
    return {"name": name, "details": {}, "sealed": sealed, "data_key": version}


def open_gallery(codec: Codec, row: GalleryRow) -> GalleryDetails:
    """Raises SealBroken."""
    if row.sealed is None:
        require_plain(codec, "a gallery")
        return GalleryDetails(row.name, row.details)
    assert row.data_key is not None
    return GalleryDetails(**json.loads(codec.tenants(row.data_key).open(row.sealed, owner_of_gallery(row.name))))


def put(row: Table, columns: Mapping[str, Any]) -> None:
    """Into a row that is there."""
    for name, value in columns.items():
        setattr(row, name, value)


def owner_of_gallery(stored_name: str) -> str:
    return f"gallery {stored_name}"


def packed(details: Mapping[str, Any]) -> bytes:
    """Raises RequestError for what the database would refuse where it is stored in the clear."""
    try:
        return require_json(details)
    except (ValueError, TypeError) as error:
        raise unstorable(error) from error


def checked(text: str) -> str:
    """Raises RequestError for text that the database would refuse."""
    try:
        return require_text(text)
    except ValueError as error:
        raise unstorable(error) from error


def unstorable(error: Exception) -> RequestError:
    return RequestError(f"a value can't be stored: {error}")
