"""API keys of the caller's tenant, and who the caller is."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from facesvc.core.access import Role
from facesvc.schemas.access import ApiKey, ApiKeys, Caller, IssuedApiKey
from facesvc.web.access import EVERY_ROLE, CallerDep, ServiceDep, SettingsDep, allows
from facesvc.web.intake import SMALL_JSON, Intake
from facesvc.web.openapi import BODY, CHANGE, READ, problems
from facesvc.web.requests import KeyPath, NewApiKey, Rotation

router = APIRouter(prefix="/v1", tags=["API keys"])
creation = Intake[NewApiKey](json=NewApiKey, max_json=SMALL_JSON)
rotation = Intake[Rotation](json=Rotation, max_json=SMALL_JSON)


@router.get("/caller")
@allows(*EVERY_ROLE)
def read_caller(caller: CallerDep, settings: SettingsDep) -> Caller:
    """Who you are to this service, and what you may."""
    return Caller.of(caller, settings.dev)


@router.get("/api-keys", responses=problems(503))
@allows(Role.ADMINISTER)
def list_api_keys(service: ServiceDep) -> ApiKeys:
    """The keys of your tenant, without their secrets."""
    return ApiKeys.of(service.api_keys.list())


@router.post("/api-keys", status_code=201, responses=BODY, openapi_extra=creation.openapi)
@allows(Role.ADMINISTER)
def create_api_key(
    asked: Annotated[NewApiKey, Depends(creation)], service: ServiceDep, response: Response
) -> IssuedApiKey:
    """Makes a key for your tenant. Its text is in this answer and nowhere else."""
    issued = service.api_keys.issue(asked.rights, asked.lifetime)
    response.headers["Location"] = f"/v1/api-keys/{issued.key.id}"
    return IssuedApiKey.of(issued)


@router.get("/api-keys/{key}", responses=READ)
@allows(Role.ADMINISTER)
def read_api_key(key: KeyPath, service: ServiceDep) -> ApiKey:
    return ApiKey.of(service.api_keys.get(key))


@router.post(
    "/api-keys/{key}/rotate",
    status_code=201,
    responses=CHANGE,
    openapi_extra=rotation.openapi,
)
@allows(Role.ADMINISTER)
def rotate_api_key(
    key: KeyPath,
    asked: Annotated[Rotation, Depends(rotation)],
    service: ServiceDep,
    response: Response,
) -> IssuedApiKey:
    """Makes a key with the same rights; the old one stays valid for the overlap, and no longer than it was to."""
    issued = service.api_keys.rotate(key, asked.overlap, asked.lifetime)
    response.headers["Location"] = f"/v1/api-keys/{issued.key.id}"
    return IssuedApiKey.of(issued)


@router.delete("/api-keys/{key}", status_code=204, responses=READ)
@allows(Role.ADMINISTER)
def revoke_api_key(key: KeyPath, service: ServiceDep) -> None:
    """Revokes the key, for every process at once. It stays in the list."""
    service.api_keys.revoke(key)
