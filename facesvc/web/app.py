"""The HTTP application: routes under /v1, the page at /, operations at /healthz, /readyz and /metrics."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import version

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from facesvc.config import Settings
from facesvc.service.tenants import Tenants
from facesvc.web.access import LoopbackOnly, announce_first_key, authorise, require_loopback
from facesvc.web.errors import install_error_handlers
from facesvc.web.fetch import FetchLimits, PhotographFetcher
from facesvc.web.limits import BodyLimits
from facesvc.web.observe import Metrics, Observed, Readiness, json_logger, log_alarm
from facesvc.web.openapi import install_openapi
from facesvc.web.rates import AddressRates, Rates
from facesvc.web.routes import api_keys, decisions, galleries, model_changes, operations, references, subjects
from facesvc.web.routes.operations import mount_page

SPARE_THREADS = 16
"""Threads beyond those that may wait at the pipeline, so that listings and health checks still get one."""
ROUTERS = (
    decisions.router,
    galleries.router,
    model_changes.router,
    subjects.router,
    references.router,
    api_keys.router,
    operations.audit_router,
    galleries.model_router,
    operations.router,
)
INTAKES = (
    decisions.verify_intake,
    decisions.identify_intake,
    decisions.detect_intake,
    galleries.creation,
    galleries.change,
    model_changes.start,
    subjects.creation,
    subjects.change,
    references.intake,
    api_keys.creation,
    api_keys.rotation,
)


def create_app(settings: Settings, open_tenants: Callable[[], AbstractContextManager[Tenants]]) -> FastAPI:
    """The application over the services that ``open_tenants`` opens when the server starts. Raises RequestError for
    development mode on another address than loopback."""
    require_loopback(settings)
    logger, threads = json_logger(), settings.workers + settings.queue + SPARE_THREADS

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = threads
        with open_tenants() as tenants:
            app.state.tenants = tenants
            tenants.alarms.listen(app.state.metrics.record_alarm)
            tenants.alarms.listen(partial(log_alarm, logger))
            if not settings.dev:
                announce_first_key(tenants)
            app.state.metrics.model.labels(tenants.extractors.default.template_version).set(1)
            yield

    app = FastAPI(
        title="facesvc",
        version=version("facesvc"),
        summary="Face verification with its error rate said.",
        lifespan=lifespan,
        dependencies=[Depends(authorise)],
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.settings, app.state.metrics, app.state.rates = settings, Metrics(), Rates()
    app.state.fetcher, app.state.readiness = fetcher(settings), Readiness()
    for router in ROUTERS:
        app.include_router(router)
    mount_page(app)
    install_error_handlers(app)
    install_openapi(app, (body for intake in INTAKES for body in intake.models))
    app.add_middleware(BodyLimits, max_bytes=settings.max_request_bytes, most=threads)
    if settings.dev:
        app.add_middleware(LoopbackOnly)
    else:
        app.add_middleware(AddressRates, per_minute=settings.requests_per_minute_per_address)
    app.add_middleware(Observed, logger=logger, metrics=app.state.metrics)  # added last, so outermost
    return app


def fetcher(settings: Settings) -> PhotographFetcher | None:
    """What fetches photographs by their address, where that is on."""
    limits = FetchLimits(settings.max_image_bytes, settings.image_url_seconds, settings.image_urls_http)
    return PhotographFetcher(limits) if settings.image_urls else None


def _operation_id(route: APIRoute) -> str:
    return route.name
