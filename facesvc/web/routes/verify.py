"""1:1: do two photographs, or a photograph and a subject, show one person?"""

from typing import Annotated

from fastapi import APIRouter, Depends

from facesvc import views
from facesvc.core.access import Role
from facesvc.core.answers import Verification
from facesvc.service.decisions import FaceService
from facesvc.web import schemas
from facesvc.web.access import MetricsDep, ServiceDep, SettingsDep
from facesvc.web.intake import Intake
from facesvc.web.openapi import CHANGE
from facesvc.web.permissions import allows
from facesvc.web.requests import VerifyForm, VerifyJson

router = APIRouter(prefix="/v1", tags=["decisions"])
intake = Intake[VerifyForm | VerifyJson](form=VerifyForm, json=VerifyJson)
Asked = Annotated[VerifyForm | VerifyJson, Depends(intake)]


@router.post("/verify", response_model=schemas.Verification, responses=CHANGE, openapi_extra=intake.openapi)
@allows(Role.VERIFY)
def verify(asked: Asked, service: ServiceDep, settings: SettingsDep, metrics: MetricsDep) -> views.View:
    """Compares a probe with a reference photograph, or with all references of a subject.

    `match` is `distance < threshold`. `decision` says `inconclusive` where a face failed its quality checks.
    """
    answer = _decide(asked, service, settings.default_gallery)
    metrics.record_decision("verify", answer.decision.value)
    metrics.record_stages(answer.timings)
    return views.verification(answer)


def _decide(asked: VerifyForm | VerifyJson, service: FaceService, default_gallery: str) -> Verification:
    against = asked.against
    if isinstance(against, bytes):
        return service.verify(asked.photograph, against, asked.choice, asked.rule)
    gallery = against.gallery or default_gallery
    return service.verify_subject(asked.photograph, gallery, against.subject, asked.choice, asked.rule)
