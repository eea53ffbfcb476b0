"""Galleries: named sets of subjects."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from facesvc import views
from facesvc.core.access import Role
from facesvc.web import schemas
from facesvc.web.access import ServiceDep
from facesvc.web.addresses import gallery_address
from facesvc.web.intake import SMALL_JSON, Intake
from facesvc.web.names import GalleryPath
from facesvc.web.openapi import BODY, CHANGE, READ, problems
from facesvc.web.paging import Cursor, Limit
from facesvc.web.permissions import allows
from facesvc.web.requests import GalleryChange, NewGallery

router = APIRouter(prefix="/v1/galleries", tags=["galleries"])
creation = Intake[NewGallery](json=NewGallery, max_json=SMALL_JSON)
change = Intake[GalleryChange](json=GalleryChange, max_json=SMALL_JSON)


@router.get("", response_model=schemas.Page[schemas.Gallery], responses=problems(422, 503))
@allows(Role.IDENTIFY, Role.ENROL)
def list_galleries(service: ServiceDep, limit: Limit = 50, cursor: Cursor = None) -> views.View:
    """All galleries, each once; in an order that lasts, and tells nothing of their names."""
    return views.page(service.store.galleries(limit, cursor), views.gallery)


@router.post(
    "",
    status_code=201,
    response_model=schemas.Gallery,
    responses=BODY | problems(409),
    openapi_extra=creation.openapi,
)
@allows(Role.ADMINISTER)
def create_gallery(
    asked: Annotated[NewGallery, Depends(creation)], service: ServiceDep, response: Response
) -> views.View:
    """Creates a gallery for templates of the model pack in use."""
    made = service.create_gallery(asked.name, asked.keep_photographs, asked.metadata)
    response.headers["Location"] = gallery_address(made.name)
    return views.gallery(made)


@router.get("/{gallery}", response_model=schemas.Gallery, responses=READ)
@allows(Role.IDENTIFY, Role.ENROL)
def read_gallery(gallery: GalleryPath, service: ServiceDep) -> views.View:
    return views.gallery(service.store.gallery(gallery))


@router.patch("/{gallery}", response_model=schemas.Gallery, responses=CHANGE, openapi_extra=change.openapi)
@allows(Role.ADMINISTER)
def change_gallery(
    gallery: GalleryPath, asked: Annotated[GalleryChange, Depends(change)], service: ServiceDep
) -> views.View:
    """Changes the fields that are given."""
    return views.gallery(
        service.update_gallery(gallery, keep_photographs=asked.keep_photographs, metadata=asked.metadata)
    )


@router.delete("/{gallery}", status_code=204, responses=READ)
@allows(Role.ADMINISTER)
def delete_gallery(gallery: GalleryPath, service: ServiceDep) -> None:
    """Deletes the gallery with its subjects, references and photographs, for good."""
    service.delete_gallery(gallery)
