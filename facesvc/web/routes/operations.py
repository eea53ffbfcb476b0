"""Health, metrics, the audit log, explanations of errors, and the page.

What an error code means: the address that every problem's `type` points to.
"""

from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, FastAPI, Query, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from pydantic import Field
from starlette.staticfiles import StaticFiles

from facesvc.core.access import Role
from facesvc.schemas.access import AuditLines
from facesvc.schemas.base import Answer
from facesvc.web.access import MetricsDep, ReadinessDep, ServiceDep, SettingsDep, TenantsDep, allows, public
from facesvc.web.errors import ErrorExplained, kind_of
from facesvc.web.openapi import problems
from facesvc.web.requests import Limit

audit_router = APIRouter(prefix="/v1/audit", tags=["audit"])
After = Annotated[int, Query(ge=0, lt=2**63, description="Lines after this number.")]


@audit_router.get("", responses=problems(422, 503))
@allows(Role.ADMINISTER)
def list_audit_lines(service: ServiceDep, after: After = 0, limit: Limit = 50) -> AuditLines:
    """Who asked what, with which API key, and what was decided; names by their stand-ins."""
    return AuditLines.of(islice(service.audit.lines(after), limit))


router = APIRouter(tags=["operations"])


class Health(Answer):
    status: Literal["ok"]
    development: bool = Field(description="Development mode: nobody needs an API key.")


class Readiness(Answer):
    status: Literal["ready"]


@router.get("/errors/{code}", responses=problems(404, 422))
@public
async def explain_error(
    code: Annotated[str, PathParameter(max_length=64, examples=["no_face"])],
) -> ErrorExplained:
    """The meaning of an error code and what to do about it."""
    return ErrorExplained.of(kind_of(code))


@router.get("/healthz")
@public
async def healthz(settings: SettingsDep) -> Health:
    """The process answers."""
    return Health(status="ok", development=settings.dev)


@router.get("/readyz", responses=problems(503))
@public
async def readyz(tenants: TenantsDep, readiness: ReadinessDep) -> Readiness:
    """The model is loaded and the database answers, or did a second ago."""
    await readiness.require(tenants.ready)
    return Readiness(status="ready")


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus's text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
@allows(Role.ADMINISTER, operator=True)
def read_metrics(metrics: MetricsDep, tenants: TenantsDep) -> Response:
    """Requests, decisions, stages, enrolments and indexes, for Prometheus: of all tenants together, and therefore for
    an administrator of the default tenant, or with the service's metrics token in place of an API key."""
    metrics.record_indexes(tenants.loaded())
    return Response(metrics.text(), media_type="text/plain; version=0.0.4")


FOLDER = Path(__file__).parents[1] / "page"

page_router = APIRouter(include_in_schema=False)


@page_router.get("/", response_class=FileResponse)
@public
def page() -> FileResponse:
    return FileResponse(FOLDER / "index.html")


def mount_page(app: FastAPI) -> None:
    app.include_router(page_router)
    app.mount("/page", StaticFiles(directory=FOLDER))
