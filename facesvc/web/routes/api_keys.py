"""API keys of the caller's tenant, and who the caller is."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from facesvc import key_views
from facesvc.core.access import Role
from facesvc.service.api_keys import KeyDesk
from facesvc.views import View
from facesvc.web import api_keys as shapes
from facesvc.web.access import EVERY_ROLE, CallerDep, ServiceDep, SettingsDep, TenantsDep, allows
from facesvc.web.api_keys import KeyPath, NewApiKey, Rotation
from facesvc.web.intake import SMALL_JSON, Intake
from facesvc.web.openapi import BODY, CHANGE, READ, problems

router = APIRouter(prefix="/v1", tags=["API keys"])
creation = Intake[NewApiKey](json=NewApiKey, max_json=SMALL_JSON)
rotation = Intake[Rotation](json=Rotation, max_json=SMALL_JSON)


def _desk(caller: CallerDep, service: ServiceDep, tenants: TenantsDep) -> KeyDesk:
    return KeyDesk(tenants.api_keys, caller.tenant, service.trail)


DeskDep = Annotated[KeyDesk, Depends(_desk)]


@router.get("/caller", response_model=shapes.Caller)
@allows(*EVERY_ROLE)
def read_caller(caller: CallerDep, settings: SettingsDep) -> View:
    """Who you are to this service, and what you may."""
    return key_views.caller(caller) | {"development": settings.dev}


@router.get("/api-keys", response_model=shapes.ApiKeys, responses=problems(503))
@allows(Role.ADMINISTER)
def list_api_keys(desk: DeskDep) -> View:
    """The keys of your tenant, without their secrets."""
    return {"items": [key_views.api_key(key) for key in desk.all()]}


@router.post(
    "/api-keys", status_code=201, response_model=shapes.IssuedApiKey, responses=BODY, openapi_extra=creation.openapi
)
@allows(Role.ADMINISTER)
def create_api_key(asked: Annotated[NewApiKey, Depends(creation)], desk: DeskDep, response: Response) -> View:
    """Makes a key for your tenant. Its text is in this answer and nowhere else."""
    issued = desk.issue(asked.rights, asked.lifetime)
    response.headers["Location"] = f"/v1/api-keys/{issued.key.id}"
    return key_views.issued_key(issued)


@router.get("/api-keys/{key}", response_model=shapes.ApiKey, responses=READ)
@allows(Role.ADMINISTER)
def read_api_key(key: KeyPath, desk: DeskDep) -> View:
    return key_views.api_key(desk.find(key))


@router.post(
    "/api-keys/{key}/rotate",
    status_code=201,
    response_model=shapes.IssuedApiKey,
    responses=CHANGE,
    openapi_extra=rotation.openapi,
)
@allows(Role.ADMINISTER)
def rotate_api_key(
    key: KeyPath,
    asked: Annotated[Rotation, Depends(rotation)],
    desk: DeskDep,
    response: Response,
) -> View:
    """Makes a key with the same rights; the old one stays valid for the overlap, and no longer than it was to."""
    issued = desk.rotate(key, asked.overlap, asked.lifetime)
    response.headers["Location"] = f"/v1/api-keys/{issued.key.id}"
    return key_views.issued_key(issued)


@router.delete("/api-keys/{key}", status_code=204, responses=READ)
@allows(Role.ADMINISTER)
def revoke_api_key(key: KeyPath, desk: DeskDep) -> None:
    """Revokes the key, for every process at once. It stays in the list."""
    desk.revoke(key)
