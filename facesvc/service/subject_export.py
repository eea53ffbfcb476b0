"""All that is kept of a subject, in one archive, for the person it is about (GDPR, article 15).

::

    subject.json      the subject and its references: names, metadata, face geometry, quality, template
    photographs/      those that were kept, as they were sent
    audit.jsonl       the audit log's lines about the subject, names by their stand-ins
    README.txt        what is what
"""

import base64
import json
import mimetypes
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from facesvc.core.types import Photograph, Reference, Subject, every
from facesvc.errors import PhotographNotFound, ReferenceNotFound
from facesvc.schemas import galleries
from facesvc.service.audit import Trail
from facesvc.service.disclosure import Watch
from facesvc.storage.store import Store

README = """What facesvc keeps of one subject of one gallery.

subject.json    The subject, and each of its references: where the face was in the photograph (pixels), how good the
                sample was, and its template: 128 little-endian float32 numbers in base64, made by the model named by
                template_version. Templates of other models, while the gallery moves from one to another, are made of
                the same photographs.
photographs/    The photographs, where they were kept, by the id of their reference.
audit.jsonl     When the subject was asked for, enrolled, changed or told of, and with which API key. In place of names
                stand keyed digests; this subject's is {token}.
"""


class SubjectExports:
    """Write what is kept of a subject into an archive, for one caller."""

    def __init__(self, store: Store, audit: Trail, watch: Watch) -> None:
        self.store, self.audit, self.watch = store, audit, watch

    def archive(self, gallery: str, subject: str) -> Iterator[bytes]:
        """Return the archive (zip), in pieces: one photograph at a time is in memory, and nothing of it on any disk.
        The line in the audit log is written before this returns.

        Raises GalleryNotFound, SubjectNotFound, IdentityBudgetSpent, StoreUnavailable; so does the iterator where the
        subject is erased, or the database leaves, while it is read: what came before is no whole archive then."""
        with self.audit.question("export_subject", gallery, subject) as outcome:
            kept = self.store.subjects.get(gallery, subject)
            self.watch.told([kept], self.audit.caller)
            references = list(every(partial(self.store.references.list, gallery, subject)))
            outcome.told = {"references": len(references)}
        return filter(None, self._written(kept, references, outcome.head.sequence))

    def _written(self, kept: Subject, references: Sequence[Reference], last_line: int) -> Generator[bytes, None, None]:
        token, pieces = self.audit.subject(kept.gallery, kept.id), _Pieces()
        described = galleries.Subject.of(kept).model_dump(mode="json")
        described |= {"references": [_reference(reference) for reference in references]}
        with ZipFile(pieces, "w", ZIP_DEFLATED) as written:
            written.writestr("README.txt", README.format(token=token))
            written.writestr("subject.json", json.dumps(described, ensure_ascii=False, indent=2) + "\n")
            for reference in references:
                if reference.has_photograph:
                    with suppress(ReferenceNotFound, PhotographNotFound):  # deleted since the archive was begun
                        photograph = self.store.references.photograph(kept.gallery, kept.id, reference.id)
                        written.writestr(_named(reference, photograph), photograph.content, ZIP_STORED)
                    yield pieces.taken()
            with written.open("audit.jsonl", "w") as lines:
                for line in self._lines(token, last_line):
                    lines.write(line + b"\n")
                    yield pieces.taken()
        yield pieces.taken()

    def _lines(self, token: str, last: int) -> Iterator[bytes]:
        """In which the subject comes up at all, until this one."""
        wanted = f'"{token}"'.encode()
        for line in self.audit.lines(until=last):
            if wanted in line.entry:
                yield line.entry


class _Pieces:
    """A file without a place: what is written to it is taken away."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, piece: bytes, /) -> int:
        self._written += piece
        return len(piece)

    def flush(self) -> None:
        """There is nothing behind it."""

    def close(self) -> None:
        """Nor to be given back."""

    def taken(self) -> bytes:
        """All that was written since; perhaps nothing, while it is compressed."""
        taken, self._written = bytes(self._written), bytearray()
        return taken


def _named(reference: Reference, photograph: Photograph) -> str:
    return f"photographs/{reference.id}{mimetypes.guess_extension(photograph.media_type) or ''}"


def _reference(reference: Reference) -> dict[str, Any]:
    vector = reference.sample.template.vector.astype("<f4").tobytes()
    described = galleries.Reference.of(reference).model_dump(mode="json")
    return described | {"template": base64.b64encode(vector).decode() if vector else None}
