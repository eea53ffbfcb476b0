"""The change of a gallery's model pack, while it is served."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from facesvc.core.access import Role
from facesvc.schemas.base import Page
from facesvc.schemas.model_changes import Agreement, LeftBehind, ModelChange
from facesvc.web.access import ServiceDep, allows
from facesvc.web.intake import SMALL_JSON, Intake
from facesvc.web.openapi import CHANGE, READ, problems
from facesvc.web.requests import (
    Cursor,
    GalleryPath,
    LeaveBehind,
    Limit,
    NewModel,
    SampleSize,
    Seed,
    gallery_address,
)

router = APIRouter(prefix="/v1/galleries/{gallery}/model-change", tags=["model change"])
start = Intake[NewModel](json=NewModel, max_json=SMALL_JSON)
ACT = READ | problems(409)


@router.get("", responses=READ)
@allows(Role.ADMINISTER)
def read_model_change(gallery: GalleryPath, service: ServiceDep) -> ModelChange:
    """Where the change is: which version answers, how many references have which template."""
    return ModelChange.of(service.galleries.get(gallery))


@router.post("", status_code=201, responses=CHANGE, openapi_extra=start.openapi)
@allows(Role.ADMINISTER)
def start_model_change(
    gallery: GalleryPath, asked: Annotated[NewModel, Depends(start)], service: ServiceDep, response: Response
) -> ModelChange:
    """Begins to hold templates of another pack beside those that answer. Enrolments get both from now on; references
    that were there before get theirs from `facesvc galleries model run`, which takes no core from this server."""
    started = service.model_changes.start(gallery, asked.pack)
    response.headers["Location"] = f"{gallery_address(gallery)}/model-change"
    return ModelChange.of(started)


@router.delete("", responses=ACT)
@allows(Role.ADMINISTER)
def abandon_model_change(gallery: GalleryPath, service: ServiceDep) -> ModelChange:
    """Deletes the templates of the version that was to follow."""
    return ModelChange.of(service.model_changes.abandon(gallery))


@router.post("/cut-over", responses=ACT)
@allows(Role.ADMINISTER)
def cut_over(gallery: GalleryPath, service: ServiceDep, leave_behind: LeaveBehind = False) -> ModelChange:
    """The other version answers from now on, for every process at once."""
    return ModelChange.of(service.model_changes.cut_over(gallery, leave_behind))


@router.post("/roll-back", responses=ACT)
@allows(Role.ADMINISTER)
def roll_back(gallery: GalleryPath, service: ServiceDep, leave_behind: LeaveBehind = False) -> ModelChange:
    """The version before the cut-over answers again."""
    return ModelChange.of(service.model_changes.roll_back(gallery, leave_behind))


@router.post("/finish", responses=ACT)
@allows(Role.ADMINISTER)
def finish_model_change(gallery: GalleryPath, service: ServiceDep) -> ModelChange:
    """Deletes the templates of the version before the cut-over: there is no way back then."""
    return ModelChange.of(service.model_changes.finish(gallery))


@router.get("/agreement", responses=ACT)
@allows(Role.ADMINISTER)
def read_agreement(gallery: GalleryPath, service: ServiceDep, sample: SampleSize = 1_000, seed: Seed = 0) -> Agreement:
    """How the two versions decide about references that have templates of both, each at its pack's threshold."""
    return Agreement.of(service.model_changes.agreement(gallery, sample, seed))


@router.get("/left-behind", responses=READ)
@allows(Role.ADMINISTER)
def list_left_behind(
    gallery: GalleryPath, service: ServiceDep, limit: Limit = 50, cursor: Cursor = None
) -> Page[LeftBehind]:
    """References that a cut-over would leave without template, or that one has left so, with the reason."""
    return Page[LeftBehind].of(service.model_changes.left_behind(gallery, limit, cursor), LeftBehind.of)
