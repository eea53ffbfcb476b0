"""Where are the faces of a photograph, and what are they worth?"""

from typing import Annotated

from fastapi import APIRouter, Depends

from facesvc import views
from facesvc.core.access import Role
from facesvc.web import schemas
from facesvc.web.access import MetricsDep, ServiceDep
from facesvc.web.intake import Intake
from facesvc.web.openapi import BODY
from facesvc.web.permissions import allows
from facesvc.web.requests import DetectForm, DetectJson

router = APIRouter(prefix="/v1", tags=["decisions"])
intake = Intake[DetectForm | DetectJson](form=DetectForm, json=DetectJson)
Asked = Annotated[DetectForm | DetectJson, Depends(intake)]


@router.post("/detect", response_model=schemas.Detection, responses=BODY, openapi_extra=intake.openapi)
@allows(Role.VERIFY)
def detect(asked: Asked, service: ServiceDep, metrics: MetricsDep) -> views.View:
    """Finds all faces with box, landmarks and quality. A photograph without a face answers an empty list."""
    capture = service.detect(asked.photograph)
    metrics.record_stages(capture.timings)
    return views.detection(capture)
