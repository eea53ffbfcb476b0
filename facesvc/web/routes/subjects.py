"""Subjects: the people of a gallery.

What the person behind a subject may ask for: all that is kept of them, and that it be erased.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from facesvc.core import types
from facesvc.core.access import Role
from facesvc.schemas.base import Page
from facesvc.schemas.galleries import ErasureReceipt, Subject
from facesvc.web.access import ServiceDep, allows
from facesvc.web.intake import SMALL_JSON, Intake
from facesvc.web.openapi import CHANGE, READ, Responses
from facesvc.web.requests import Cursor, GalleryPath, Limit, NewSubject, SubjectChange, SubjectPath, subject_address

router = APIRouter(prefix="/v1/galleries/{gallery}/subjects", tags=["subjects"])
creation = Intake[types.NewSubject](json=NewSubject, max_json=SMALL_JSON)
change = Intake[types.SubjectChange](json=SubjectChange, max_json=SMALL_JSON)


@router.get("", responses=READ)
@allows(Role.ENROL)
def list_subjects(gallery: GalleryPath, service: ServiceDep, limit: Limit = 50, cursor: Cursor = None) -> Page[Subject]:
    """The subjects of a gallery, each once; in an order that lasts, and tells nothing of their ids."""
    return Page[Subject].of(service.subjects.list(gallery, limit, cursor), Subject.of)


@router.post("", status_code=201, responses=CHANGE, openapi_extra=creation.openapi)
@allows(Role.ENROL)
def create_subject(
    gallery: GalleryPath, asked: Annotated[types.NewSubject, Depends(creation)], service: ServiceDep, response: Response
) -> Subject:
    """Creates a subject without references. Enrolling photographs creates it too, without a display name."""
    made = service.subjects.create(gallery, asked)
    response.headers["Location"] = subject_address(gallery, made.id)
    return Subject.of(made)


@router.get("/{subject}", responses=READ)
@allows(Role.ENROL)
def read_subject(gallery: GalleryPath, subject: SubjectPath, service: ServiceDep) -> Subject:
    return Subject.of(service.subjects.get(gallery, subject))


@router.patch("/{subject}", responses=CHANGE, openapi_extra=change.openapi)
@allows(Role.ENROL)
def change_subject(
    gallery: GalleryPath,
    subject: SubjectPath,
    asked: Annotated[types.SubjectChange, Depends(change)],
    service: ServiceDep,
) -> Subject:
    """Changes the fields that are given."""
    return Subject.of(service.subjects.update(gallery, subject, asked))


@router.put("/{subject}/canary", status_code=204, responses=READ)
@allows(Role.ADMINISTER)
def mark_canary(gallery: GalleryPath, subject: SubjectPath, service: ServiceDep) -> None:
    """Raises an alarm from now on where the subject matches. Nothing that other keys can read tells of it."""
    service.subjects.mark_canary(gallery, subject, True)


@router.delete("/{subject}/canary", status_code=204, responses=READ)
@allows(Role.ADMINISTER)
def unmark_canary(gallery: GalleryPath, subject: SubjectPath, service: ServiceDep) -> None:
    """It is a subject as any other again."""
    service.subjects.mark_canary(gallery, subject, False)


@router.delete("/{subject}", status_code=204, responses=READ)
@allows(Role.ENROL)
def delete_subject(gallery: GalleryPath, subject: SubjectPath, service: ServiceDep) -> None:
    """Deletes the subject with its references and photographs, for good."""
    service.subjects.delete(gallery, subject)


ARCHIVE: Responses = READ | {
    200: {"description": "The archive", "content": {"application/zip": {"schema": {"type": "string"}}}}
}


@router.post("/{subject}/erasure", responses=READ)
@allows(Role.ENROL)
def erase_subject(gallery: GalleryPath, subject: SubjectPath, service: ServiceDep) -> ErasureReceipt:
    """Erases the subject from database, indexes and snapshots, looks whether anything is left, and answers a receipt
    signed with Ed25519 over the statement's canonical JSON. Other processes forget it within seconds. Safe to repeat:
    an erasure that ended early goes on, and for a day the same receipt is given again."""
    return ErasureReceipt.of(service.subjects.erase(gallery, subject))


@router.get("/{subject}/export", response_class=StreamingResponse, responses=ARCHIVE)
@allows(Role.ADMINISTER)
def export_subject(gallery: GalleryPath, subject: SubjectPath, service: ServiceDep) -> StreamingResponse:
    """All that is kept of the subject, its templates too, as a zip archive for the person it is about."""
    pieces = service.subject_exports.archive(gallery, subject)
    headers = {"Content-Disposition": 'attachment; filename="subject.zip"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)
