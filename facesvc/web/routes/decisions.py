"""Verify (1:1), identify (1:N) and detect."""

from typing import Annotated

from fastapi import APIRouter, Depends

from facesvc.core import answers
from facesvc.core.access import Role
from facesvc.schemas.decisions import Detection, Identification, Verification
from facesvc.service.decisions import Decisions
from facesvc.web.access import MetricsDep, ServiceDep, SettingsDep, allows
from facesvc.web.intake import Intake
from facesvc.web.openapi import BODY, CHANGE
from facesvc.web.requests import (
    DetectForm,
    DetectJson,
    IdentifyForm,
    IdentifyJson,
    IdentifyRequest,
    VerifyForm,
    VerifyJson,
    VerifyRequest,
)

router = APIRouter(prefix="/v1", tags=["decisions"])
detect_intake = Intake[bytes](form=DetectForm, json=DetectJson)
AskedDetect = Annotated[bytes, Depends(detect_intake)]


@router.post("/detect", responses=BODY, openapi_extra=detect_intake.openapi)
@allows(Role.VERIFY)
def detect(photograph: AskedDetect, service: ServiceDep, metrics: MetricsDep) -> Detection:
    """Finds all faces with box, landmarks and quality. A photograph without a face answers an empty list."""
    capture = service.decisions.detect(photograph)
    metrics.record_stages(capture.timings)
    return Detection.of(capture)


identify_intake = Intake[IdentifyRequest](form=IdentifyForm, json=IdentifyJson)
AskedIdentify = Annotated[IdentifyRequest, Depends(identify_intake)]


@router.post("/identify", responses=CHANGE, openapi_extra=identify_intake.openapi)
@allows(Role.IDENTIFY)
def identify(asked: AskedIdentify, service: ServiceDep, settings: SettingsDep, metrics: MetricsDep) -> Identification:
    """Names the nearest subjects for each face of a photograph.

    A face whose nearest subject is not below the threshold is `unknown`; its candidates are listed all the same,
    with `match: false`.
    """
    gallery = asked.gallery or settings.default_gallery
    answer = service.decisions.identify(asked.photograph, gallery, asked.top_k, asked.choice, asked.rule)
    for face in answer.faces:
        metrics.record_decision("identify", face.decision)
    metrics.record_stages(answer.timings)
    return Identification.of(answer)


verify_intake = Intake[VerifyRequest](form=VerifyForm, json=VerifyJson)
AskedVerify = Annotated[VerifyRequest, Depends(verify_intake)]


@router.post("/verify", responses=CHANGE, openapi_extra=verify_intake.openapi)
@allows(Role.VERIFY)
def verify(asked: AskedVerify, service: ServiceDep, settings: SettingsDep, metrics: MetricsDep) -> Verification:
    """Compares a probe with a reference photograph, or with all references of a subject.

    `match` is `distance < threshold`. `decision` says `inconclusive` where a face failed its quality checks.
    """
    answer = _decide(asked, service.decisions, settings.default_gallery)
    metrics.record_decision("verify", answer.decision.value)
    metrics.record_stages(answer.timings)
    return Verification.of(answer)


def _decide(asked: VerifyRequest, decisions: Decisions, default_gallery: str) -> answers.Verification:
    against = asked.against
    if isinstance(against, bytes):
        return decisions.verify(asked.photograph, against, asked.choice, asked.rule)
    gallery = against.gallery or default_gallery
    return decisions.verify_subject(asked.photograph, gallery, against.subject, asked.choice, asked.rule)
