"""The model pack in use, and those of galleries."""

from fastapi import APIRouter

from facesvc import views
from facesvc.web import schemas
from facesvc.web.access import ServiceDep
from facesvc.web.names import GalleryPath
from facesvc.web.openapi import READ, problems
from facesvc.web.permissions import EVERY_ROLE, allows

router = APIRouter(prefix="/v1", tags=["model"])


@router.get("/model", response_model=schemas.Model)
@allows(*EVERY_ROLE)
def read_model(service: ServiceDep) -> views.View:
    """Template version, threshold and what the error rates rest on."""
    return views.model(service.model())


@router.get("/galleries/{gallery}/model", response_model=schemas.Model, responses=READ | problems(409))
@allows(*EVERY_ROLE)
def read_gallery_model(gallery: GalleryPath, service: ServiceDep) -> views.View:
    """The same of a gallery, which may be served by another pack than the one in use."""
    return views.model(service.model(gallery))
