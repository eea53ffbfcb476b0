"""1:N: who of a gallery is in a photograph?"""

from typing import Annotated

from fastapi import APIRouter, Depends

from facesvc import views
from facesvc.core.access import Role
from facesvc.web import schemas
from facesvc.web.access import MetricsDep, ServiceDep, SettingsDep
from facesvc.web.intake import Intake
from facesvc.web.openapi import CHANGE
from facesvc.web.permissions import allows
from facesvc.web.requests import IdentifyForm, IdentifyJson

router = APIRouter(prefix="/v1", tags=["decisions"])
intake = Intake[IdentifyForm | IdentifyJson](form=IdentifyForm, json=IdentifyJson)
Asked = Annotated[IdentifyForm | IdentifyJson, Depends(intake)]


@router.post("/identify", response_model=schemas.Identification, responses=CHANGE, openapi_extra=intake.openapi)
@allows(Role.IDENTIFY)
def identify(asked: Asked, service: ServiceDep, settings: SettingsDep, metrics: MetricsDep) -> views.View:
    """Names the nearest subjects for each face of a photograph.

    A face whose nearest subject is not below the threshold is `unknown`; its candidates are listed all the same,
    with `match: false`.
    """
    gallery = asked.gallery or settings.default_gallery
    answer = service.identify(asked.photograph, gallery, asked.top_k, asked.choice, asked.rule)
    for face in answer.faces:
        metrics.record_decision("identify", face.decision)
    metrics.record_stages(answer.timings)
    return views.identification(answer)
