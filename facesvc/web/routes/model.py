"""The model pack in use."""

from fastapi import APIRouter

from facesvc import views
from facesvc.web import schemas
from facesvc.web.access import ServiceDep
from facesvc.web.permissions import EVERY_ROLE, allows

router = APIRouter(prefix="/v1", tags=["model"])


@router.get("/model", response_model=schemas.Model)
@allows(*EVERY_ROLE)
def read_model(service: ServiceDep) -> views.View:
    """Template version, threshold and what the error rates rest on."""
    return views.model(service.extractors.default)
