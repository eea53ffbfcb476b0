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
from collections.abc import Iterator
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from facesvc import views
from facesvc.audited import AuditedService
from facesvc.core.types import Reference

README = """What facesvc keeps of one subject of one gallery.

subject.json    The subject, and each of its references: where the face was in the photograph (pixels), how good the
                sample was, and its template: 128 little-endian float32 numbers in base64, made by the model named by
                template_version. Templates of other models, while the gallery moves from one to another, are made of
                the same photographs.
photographs/    The photographs, where they were kept, by the id of their reference.
audit.jsonl     When the subject was asked for, enrolled, changed or told of, and with which API key. In place of names
                stand keyed digests; this subject's is {token}.
"""


def write_archive(service: AuditedService, gallery: str, subject: str, file: IO[bytes]) -> None:
    """Writes the archive (zip) into ``file``. Raises GalleryNotFound, SubjectNotFound, StoreUnavailable."""
    token = service.trail.subject(gallery, subject)
    with service.trail.asked("export_subject", gallery, subject) as outcome:
        kept = service.store.subject(gallery, subject)
        references = list(service.references(gallery, subject))
        outcome.told = {"references": len(references)}
        with ZipFile(file, "w", ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", README.format(token=token))
            told = views.subject(kept) | {"references": [_reference(reference) for reference in references]}
            archive.writestr("subject.json", json.dumps(told, ensure_ascii=False, indent=2) + "\n")
            for reference in references:
                if reference.has_photograph:
                    photograph = service.store.photograph(gallery, subject, reference.id)
                    name = f"photographs/{reference.id}{mimetypes.guess_extension(photograph.media_type) or ''}"
                    archive.writestr(name, photograph.content, ZIP_STORED)
            archive.writestr("audit.jsonl", b"".join(line + b"\n" for line in _lines(service, token)))


def _reference(reference: Reference) -> views.View:
    vector = reference.sample.template.vector.astype("<f4").tobytes()
    return views.reference(reference) | {"template": base64.b64encode(vector).decode() if vector else None}


def _lines(service: AuditedService, token: str) -> Iterator[bytes]:
    """In which the subject comes up at all."""
    wanted = f'"{token}"'.encode()
    for line in service.trail.log.lines():
        if wanted in line.entry:
            yield line.entry
