"""Galleries to export, and their files, for tests."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from facesvc.core.types import Entry, KeptReference, NewReference
from facesvc.exchange.layout import FORMAT, Header
from facesvc.exchange.writer import Written, write
from tests.support.databases import VERSION, new_reference

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789012, UTC)
JPEG = b"\xff\xd8\xff a photograph"


def entry(seed: int, subject: str = "ada", photograph: bytes | None = None) -> Entry:
    """An entry whose every value follows from ``seed``."""
    new = new_reference(seed)
    if photograph is not None:
        new = NewReference(new.sample, hashlib.sha256(photograph).hexdigest(), photograph, "image/jpeg")
    kept = KeptReference(f"ref_{seed:026x}", new, MOMENT + timedelta(seconds=seed))
    return Entry(subject, subject.title(), {"subject": subject, "half": 0.5}, MOMENT, kept)


def bare(subject: str) -> Entry:
    """A subject without references."""
    return Entry(subject, None, {}, MOMENT, None)


def people(count: int) -> list[Entry]:
    """``count`` entries of subjects with two references each, in the order of an export."""
    return [entry(seed, f"subject {seed // 2:06}") for seed in range(count)]


def header(**changed: Any) -> Header:
    values = {
        "format": FORMAT,
        "facesvc": "1.2.3",
        "gallery": "staff",
        "template_version": VERSION,
        "keep_photographs": True,
        "photographs": True,
        "metadata": {"site": "north"},
        "pack": None,
        "norm": 1.0,
    }
    return Header(**{**values, **changed})


def write_file(path: Path, entries: Iterable[Entry], **changed: Any) -> Written:
    with path.open("wb") as stream:
        return write(entries, header(**changed), stream, lambda: None)


def values(found: Iterable[Entry], ids: bool = True) -> list[dict[str, Any]]:
    """Entries as plain values, bit for bit; without the references' ids where they are not to be compared."""
    return [plain(each, ids) for each in found]


def plain(found: Entry, ids: bool) -> dict[str, Any]:
    shown = {
        "subject": found.subject,
        "display_name": found.display_name,
        "metadata": found.metadata,
        "subject_created_at": found.subject_created_at,
    }
    if found.reference is None:
        return shown
    kept, new = found.reference, found.reference.new
    return shown | {
        "id": kept.id if ids else None,
        "created_at": kept.created_at,
        "image_sha256": new.image_sha256,
        "photograph": new.photograph,
        "vector": new.sample.template.vector.tobytes(),
        "version": new.sample.template.version,
        "box": new.sample.face.box.tobytes(),
        "landmarks": new.sample.face.landmarks.tobytes(),
        "score": new.sample.face.score,
        "quality": asdict(new.sample.quality),
    }
