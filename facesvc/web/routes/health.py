"""Is the process alive, can it answer, and how is it doing?"""

from fastapi import APIRouter, Response

from facesvc.core.access import Role
from facesvc.web import schemas
from facesvc.web.access import MetricsDep, ReadinessDep, SettingsDep, TenantsDep
from facesvc.web.openapi import problems
from facesvc.web.permissions import allows, public

router = APIRouter(tags=["operations"])


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
