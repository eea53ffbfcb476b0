"""Is the process alive, can it answer, and how is it doing?"""

from fastapi import APIRouter, Response

from facesvc.web import schemas
from facesvc.web.access import MetricsDep, ServiceDep
from facesvc.web.openapi import problems

router = APIRouter(tags=["operations"])


@router.get("/healthz", response_model=schemas.Health)
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", response_model=schemas.Health, responses=problems(503))
def readyz(service: ServiceDep) -> dict[str, str]:
    """The model is loaded and the database answers."""
    service.ready()
    return {"status": "ready"}


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus's text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
def read_metrics(metrics: MetricsDep, service: ServiceDep) -> Response:
    """Requests, decisions, stages, enrolments and indexes, for Prometheus."""
    metrics.record_indexes(service.indexes.loaded())
    return Response(metrics.text(), media_type="text/plain; version=0.0.4")
