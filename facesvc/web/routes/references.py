"""References: the stored templates of a subject, and the photographs they came from."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from facesvc.core import answers
from facesvc.core.access import Role
from facesvc.errors import RequestTooLarge
from facesvc.schemas.base import Page
from facesvc.schemas.galleries import Enrolment, Reference
from facesvc.service.enrolment import EnrolmentRequest, Once
from facesvc.web.access import CallerDep, MetricsDep, ServiceDep, SettingsDep, allows
from facesvc.web.errors import NothingEnrolled, problem
from facesvc.web.intake import IdempotencyKey, Intake, pack, ticket, unpack
from facesvc.web.openapi import CHANGE, NOTHING_ENROLLED_REF, PROBLEM_REF, READ, problem_response
from facesvc.web.requests import (
    Cursor,
    EnrolForm,
    EnrolJson,
    EnrolRequest,
    GalleryPath,
    Limit,
    ReferencePath,
    SubjectPath,
    reference_address,
    references_address,
)

router = APIRouter(prefix="/v1/galleries/{gallery}/subjects/{subject}/references", tags=["references"])
intake = Intake[EnrolRequest](form=EnrolForm, json=EnrolJson)
Asked = Annotated[EnrolRequest, Depends(intake)]

_refused = problem_response(
    "The request, or every photograph of it, was refused",
    {"anyOf": [{"$ref": NOTHING_ENROLLED_REF}, {"$ref": PROBLEM_REF}]},
)
ENROL: Any = CHANGE | dict.fromkeys((413, 415, 422), _refused)
PHOTOGRAPH: Any = READ | {
    200: {"description": "The file as it was enrolled", "content": {"image/*": {"schema": {"type": "string"}}}}
}


@router.get("", responses=READ)
@allows(Role.ENROL)
def list_references(
    gallery: GalleryPath, subject: SubjectPath, service: ServiceDep, limit: Limit = 50, cursor: Cursor = None
) -> Page[Reference]:
    """The references of a subject, oldest first, without their templates."""
    return Page[Reference].of(service.references.list(gallery, subject, limit, cursor), Reference.of)


@router.post("", status_code=201, response_model=Enrolment, responses=ENROL, openapi_extra=intake.openapi)
@allows(Role.ENROL)
def enrol(
    gallery: GalleryPath,
    subject: SubjectPath,
    asked: Asked,
    service: ServiceDep,
    caller: CallerDep,
    settings: SettingsDep,
    metrics: MetricsDep,
    key: IdempotencyKey = None,
) -> Response:
    """Enrols photographs of a subject, which is created if it is new; each photograph has its own outcome.

    201 when at least one was enrolled. When all were rejected, the problem of the first, with all `results`.
    Enrolling the same photograph again answers the reference that is already there. With an `Idempotency-Key` the
    request can be repeated when its answer was lost: it is done once, and answered the same.
    """
    if len(asked.photographs) > settings.max_images:
        raise RequestTooLarge(f"{len(asked.photographs)} photographs; one request may have {settings.max_images}")
    wanted = EnrolmentRequest(gallery, subject, asked.photographs, asked.choice, asked.strict)
    if key is None:
        answer = service.enrolments.enrol(wanted)
        metrics.record_enrolment(answer)
        return _answered(answer)
    named = ticket(caller.key, key, (gallery, subject, asked.choice.value, asked.strict), asked.photographs)
    kept, made = service.enrolments.enrol_once(Once(named, lambda answer: pack(_answered(answer))), wanted)
    if made:
        metrics.record_enrolment(made)
    return unpack(kept)


@router.get("/{reference}", responses=READ)
@allows(Role.ENROL)
def read_reference(
    gallery: GalleryPath, subject: SubjectPath, reference: ReferencePath, service: ServiceDep
) -> Reference:
    return Reference.of(service.references.get(gallery, subject, reference))


@router.delete("/{reference}", status_code=204, responses=READ)
@allows(Role.ENROL)
def delete_reference(gallery: GalleryPath, subject: SubjectPath, reference: ReferencePath, service: ServiceDep) -> None:
    """Deletes the reference and its photograph, for good."""
    service.references.delete(gallery, subject, reference)


@router.get("/{reference}/photograph", response_class=Response, responses=PHOTOGRAPH)
@allows(Role.ENROL)
def read_photograph(
    gallery: GalleryPath, subject: SubjectPath, reference: ReferencePath, service: ServiceDep
) -> Response:
    """The photograph of a reference, where the gallery keeps them."""
    kept = service.references.photograph(gallery, subject, reference)
    return Response(kept.content, media_type=kept.media_type)


def _answered(answer: answers.Enrolment) -> Response:
    location = _location(answer)
    if location is None:
        return _nothing_enrolled(answer)
    return JSONResponse(Enrolment.of(answer).model_dump(mode="json"), 201, {"Location": location})


def _location(answer: answers.Enrolment) -> str | None:
    """Return the address of the new reference, or of the list where there are several; None where nothing was
    enrolled."""
    made = [outcome.reference.id for outcome in answer.outcomes if outcome.reference]
    if len(made) == 1:
        return reference_address(answer.gallery, answer.subject, made[0])
    return references_address(answer.gallery, answer.subject) if made else None


def _nothing_enrolled(answer: answers.Enrolment) -> JSONResponse:
    error = answer.outcomes[0].error
    assert error is not None  # nothing was enrolled, and there is at least one photograph
    return problem(error, document=NothingEnrolled.of(error, **dict(Enrolment.of(answer))))
