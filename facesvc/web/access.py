"""Who asks, whether they may, and how routes reach what the application keeps in its state."""

import hmac
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from facesvc.config import Settings
from facesvc.core.access import DEFAULT_TENANT, Caller
from facesvc.errors import Forbidden, Unauthenticated
from facesvc.service.api_keys import claimed_id
from facesvc.service.audited import AuditedService
from facesvc.service.tenants import Tenants
from facesvc.web.metrics import Metrics
from facesvc.web.permissions import permission_of
from facesvc.web.rates import count_caller
from facesvc.web.readiness import Readiness

DEVELOPER = Caller(DEFAULT_TENANT, "development")
"""Who asks in development mode."""


async def authorise(request: Request) -> None:
    """Runs before anything else of any operation: finds out who asks (``request.state.caller``) and whether they may.
    Nothing of the request's body was read until then.

    Raises Unauthenticated; Forbidden, also where the operation does not say who may; StoreUnavailable."""
    permission = permission_of(request.scope["endpoint"])
    if permission is None:
        raise Forbidden("nobody may do this")
    if permission.public:
        return
    token = bearer_token(request)
    if permission.operator and _is_metrics_token(request, token):
        return
    request.state.caller = await _caller(request, token)
    if not request.app.state.settings.dev:
        count_caller(request, request.state.caller)
    permission.require(request.state.caller)


def bearer_token(request: Request) -> str | None:
    """The API key that came with the request, as it is (RFC 6750, section 2.1); None where none did."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


async def _caller(request: Request, token: str | None) -> Caller:
    settings: Settings = request.app.state.settings
    if settings.dev:
        return DEVELOPER
    if token is None:
        raise Unauthenticated("send an API key: Authorization: Bearer facesvc_...")
    tenants: Tenants = request.app.state.tenants
    try:
        caller = (await run_in_threadpool(tenants.api_keys.authenticate, token)).caller
    except Unauthenticated:
        request.state.claimed_key = claimed_id(token)
        raise
    return replace(caller, identities_per_day=caller.identities_per_day or settings.identities_per_day)


def _is_metrics_token(request: Request, token: str | None) -> bool:
    wanted: Settings = request.app.state.settings
    if wanted.metrics_token is None or token is None:
        return False
    return hmac.compare_digest(token.encode(), wanted.metrics_token.get_secret_value().encode())


# These are coroutines so that they take no thread: /healthz answers where all are taken.


async def _settings(request: Request) -> Settings:
    return request.app.state.settings


async def _tenants(request: Request) -> Tenants:
    return request.app.state.tenants


async def _metrics(request: Request) -> Metrics:
    return request.app.state.metrics


async def _readiness(request: Request) -> Readiness:
    return request.app.state.readiness


async def _asking(request: Request) -> Caller:
    return request.state.caller


SettingsDep = Annotated[Settings, Depends(_settings)]
TenantsDep = Annotated[Tenants, Depends(_tenants)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
ReadinessDep = Annotated[Readiness, Depends(_readiness)]
CallerDep = Annotated[Caller, Depends(_asking)]


def _service(request: Request, caller: CallerDep, tenants: TenantsDep) -> AuditedService:
    return tenants.of(caller.tenant).by(caller, request.state.request_id).seen_by(caller.galleries)


ServiceDep = Annotated[AuditedService, Depends(_service)]
"""The service of the caller's tenant, with the galleries that the caller may use; what is asked is noted as theirs."""
