"""Galleries: named sets of subjects."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from facesvc.core import types
from facesvc.core.access import Role
from facesvc.schemas.base import Page
from facesvc.schemas.galleries import Gallery, Model
from facesvc.web.access import EVERY_ROLE, ServiceDep, allows
from facesvc.web.intake import SMALL_JSON, Intake
from facesvc.web.openapi import BODY, CHANGE, READ, problems
from facesvc.web.requests import Cursor, GalleryChange, GalleryPath, Limit, NewGallery, gallery_address

router = APIRouter(prefix="/v1/galleries", tags=["galleries"])
creation = Intake[types.NewGallery](json=NewGallery, max_json=SMALL_JSON)
change = Intake[types.GalleryChange](json=GalleryChange, max_json=SMALL_JSON)


@router.get("", responses=problems(422, 503))
@allows(Role.IDENTIFY, Role.ENROL)
def list_galleries(service: ServiceDep, limit: Limit = 50, cursor: Cursor = None) -> Page[Gallery]:
    """All galleries, each once; in an order that lasts, and tells nothing of their names."""
    return Page[Gallery].of(service.galleries.list(limit, cursor), Gallery.of)


@router.post(
    "",
    status_code=201,
    responses=BODY | problems(409),
    openapi_extra=creation.openapi,
)
@allows(Role.ADMINISTER)
def create_gallery(
    asked: Annotated[types.NewGallery, Depends(creation)], service: ServiceDep, response: Response
) -> Gallery:
    """Creates a gallery for templates of the model pack in use."""
    made = service.galleries.create(asked)
    response.headers["Location"] = gallery_address(made.name)
    return Gallery.of(made)


@router.get("/{gallery}", responses=READ)
@allows(Role.IDENTIFY, Role.ENROL)
def read_gallery(gallery: GalleryPath, service: ServiceDep) -> Gallery:
    return Gallery.of(service.galleries.get(gallery))


@router.patch("/{gallery}", responses=CHANGE, openapi_extra=change.openapi)
@allows(Role.ADMINISTER)
def change_gallery(
    gallery: GalleryPath, asked: Annotated[types.GalleryChange, Depends(change)], service: ServiceDep
) -> Gallery:
    """Changes the fields that are given."""
    return Gallery.of(service.galleries.update(gallery, asked))


@router.delete("/{gallery}", status_code=204, responses=READ)
@allows(Role.ADMINISTER)
def delete_gallery(gallery: GalleryPath, service: ServiceDep) -> None:
    """Deletes the gallery with its subjects, references and photographs, for good."""
    service.galleries.delete(gallery)


model_router = APIRouter(prefix="/v1", tags=["model"])


@model_router.get("/model")
@allows(*EVERY_ROLE)
def read_model(service: ServiceDep) -> Model:
    """Template version, threshold and what the error rates rest on."""
    return Model.of(service.decisions.model())


@model_router.get("/galleries/{gallery}/model", responses=READ | problems(409))
@allows(*EVERY_ROLE)
def read_gallery_model(gallery: GalleryPath, service: ServiceDep) -> Model:
    """The same of a gallery, which may be served by another pack than the one in use."""
    return Model.of(service.decisions.model(gallery))
