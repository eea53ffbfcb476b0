"""The change of a gallery's model pack, while it is served."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from facesvc import views
from facesvc.core.access import Role
from facesvc.web import model_change, schemas
from facesvc.web.access import ServiceDep, allows
from facesvc.web.intake import SMALL_JSON, Intake
from facesvc.web.model_change import LeaveBehind, NewModel, Sample, Seed
from facesvc.web.openapi import CHANGE, READ, problems
from facesvc.web.requests import Cursor, GalleryPath, Limit, gallery_address

router = APIRouter(prefix="/v1/galleries/{gallery}/model-change", tags=["model change"])
start = Intake[NewModel](json=NewModel, max_json=SMALL_JSON)
ACT = READ | problems(409)


@router.get("", response_model=model_change.ModelChange, responses=READ)
@allows(Role.ADMINISTER)
def read_model_change(gallery: GalleryPath, service: ServiceDep) -> views.View:
    """Where the change is: which version answers, how many references have which template."""
    return views.model_change(service.store.gallery(gallery))


@router.post(
    "", status_code=201, response_model=model_change.ModelChange, responses=CHANGE, openapi_extra=start.openapi
)
@allows(Role.ADMINISTER)
def start_model_change(
    gallery: GalleryPath, asked: Annotated[NewModel, Depends(start)], service: ServiceDep, response: Response
) -> views.View:
    """Begins to hold templates of another pack beside those that answer. Enrolments get both from now on; references
    that were there before get theirs from `facesvc galleries model run`, which takes no core from this server."""
    started = service.model_changes.start(gallery, asked.pack)
    response.headers["Location"] = f"{gallery_address(gallery)}/model-change"
    return views.model_change(started)


@router.delete("", response_model=model_change.ModelChange, responses=ACT)
@allows(Role.ADMINISTER)
def abandon_model_change(gallery: GalleryPath, service: ServiceDep) -> views.View:
    """Deletes the templates of the version that was to follow."""
    return views.model_change(service.model_changes.abandon(gallery))


@router.post("/cut-over", response_model=model_change.ModelChange, responses=ACT)
@allows(Role.ADMINISTER)
def cut_over(gallery: GalleryPath, service: ServiceDep, leave_behind: LeaveBehind = False) -> views.View:
    """The other version answers from now on, for every process at once."""
    return views.model_change(service.model_changes.cut_over(gallery, leave_behind))


@router.post("/roll-back", response_model=model_change.ModelChange, responses=ACT)
@allows(Role.ADMINISTER)
def roll_back(gallery: GalleryPath, service: ServiceDep, leave_behind: LeaveBehind = False) -> views.View:
    """The version before the cut-over answers again."""
    return views.model_change(service.model_changes.roll_back(gallery, leave_behind))


@router.post("/finish", response_model=model_change.ModelChange, responses=ACT)
@allows(Role.ADMINISTER)
def finish_model_change(gallery: GalleryPath, service: ServiceDep) -> views.View:
    """Deletes the templates of the version before the cut-over: there is no way back then."""
    return views.model_change(service.model_changes.finish(gallery))


@router.get("/agreement", response_model=model_change.Agreement, responses=ACT)
@allows(Role.ADMINISTER)
def read_agreement(gallery: GalleryPath, service: ServiceDep, sample: Sample = 1_000, seed: Seed = 0) -> views.View:
    """How the two versions decide about references that have templates of both, each at its pack's threshold."""
    return views.agreement(service.model_changes.agreement(gallery, sample, seed))


@router.get("/left-behind", response_model=schemas.Page[model_change.LeftBehind], responses=READ)
@allows(Role.ADMINISTER)
def list_left_behind(gallery: GalleryPath, service: ServiceDep, limit: Limit = 50, cursor: Cursor = None) -> views.View:
    """References that a cut-over would leave without template, or that one has left so, with the reason."""
    return views.page(service.model_changes.left_behind(gallery, limit, cursor), views.left_behind)
