"""Health, metrics, the audit log, explanations of errors, and the page.

What an error code means: the address that every problem's `type` points to.
"""

from itertools import islice
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from facesvc import views
from facesvc.core.access import Role
from facesvc.web import proofs, schemas
from facesvc.web.access import MetricsDep, ReadinessDep, ServiceDep, SettingsDep, TenantsDep, allows, public
from facesvc.web.errors import kind_of, status_of
from facesvc.web.openapi import problems
from facesvc.web.requests import Limit

audit_router = APIRouter(prefix="/v1/audit", tags=["audit"])
After = Annotated[int, Query(ge=0, lt=2**63, description="Lines after this number.")]


@audit_router.get("", response_model=proofs.AuditLines, responses=problems(422, 503))
@allows(Role.ADMINISTER)
def list_audit_lines(service: ServiceDep, after: After = 0, limit: Limit = 50) -> views.View:
    """Who asked what, with which API key, and what was decided; names by their stand-ins."""
    return {"items": [views.audit_line(line) for line in islice(service.trail.log.lines(after), limit)]}


router = APIRouter(tags=["operations"])


@router.get("/errors/{code}", response_model=schemas.ErrorExplained, responses=problems(404, 422))
@public
async def explain_error(
    code: Annotated[str, PathParameter(max_length=64, examples=["no_face"])],
) -> dict[str, str | int]:
    """The meaning of an error code and what to do about it."""
    kind = kind_of(code)
    return {"code": code, "title": kind.title, "status": status_of(kind), "advice": kind.advice}


@router.get("/healthz", response_model=schemas.Health)
@public
async def healthz(settings: SettingsDep) -> dict[str, str | bool]:
    """The process answers."""
    return {"status": "ok", "development": settings.dev}


@router.get("/readyz", response_model=schemas.Readiness, responses=problems(503))
@public
async def readyz(tenants: TenantsDep, readiness: ReadinessDep) -> dict[str, str]:
    """The model is loaded and the database answers, or did a second ago."""
    await readiness.require(tenants.ready)
    return {"status": "ready"}


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
