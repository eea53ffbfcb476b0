"""What the person behind a subject may ask for: all that is kept of them, and that it be erased."""

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from facesvc import views
from facesvc.core.access import Role
from facesvc.service.subject_export import archive
from facesvc.web import proofs
from facesvc.web.access import ServiceDep
from facesvc.web.names import GalleryPath, SubjectPath
from facesvc.web.openapi import READ, Responses
from facesvc.web.permissions import allows

router = APIRouter(prefix="/v1/galleries/{gallery}/subjects", tags=["subjects"])
ARCHIVE: Responses = READ | {
    200: {"description": "The archive", "content": {"application/zip": {"schema": {"type": "string"}}}}
}


@router.post("/{subject}/erasure", response_model=proofs.ErasureReceipt, responses=READ)
@allows(Role.ENROL)
def erase_subject(gallery: GalleryPath, subject: SubjectPath, service: ServiceDep) -> views.View:
    """Erases the subject from database, indexes and snapshots, looks whether anything is left, and answers a receipt
    signed with Ed25519 over the statement's canonical JSON. Other processes forget it within seconds. Safe to repeat:
    an erasure that ended early goes on, and for a day the same receipt is given again."""
    return views.erasure_receipt(service.erase(gallery, subject))


@router.get("/{subject}/export", response_class=StreamingResponse, responses=ARCHIVE)
@allows(Role.ADMINISTER)
def export_subject(gallery: GalleryPath, subject: SubjectPath, service: ServiceDep) -> StreamingResponse:
    """All that is kept of the subject, its templates too, as a zip archive for the person it is about."""
    pieces = archive(service, gallery, subject)
    headers = {"Content-Disposition": 'attachment; filename="subject.zip"'}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)
