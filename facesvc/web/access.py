"""Who asks, whether they may, and how routes reach what the application keeps in its state.

What each operation asks of its caller. An operation that says nothing of it is refused to everybody.

Development mode: no API key is needed, and therefore nobody but this machine's own programs may ask.

A page in somebody's browser runs on this machine too: what it sends is told from what was meant by the names it sends
it to and from (DNS rebinding, cross-site requests; the Fetch standard, section 3.1, Origin header).

The administrator's key that the first start of a service prints, since there is no default one.
"""

import hmac
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from facesvc.config import Settings
from facesvc.core.access import DEFAULT_TENANT, Caller, Role
from facesvc.errors import Forbidden, RequestError, Unauthenticated
from facesvc.service import FaceService
from facesvc.service.api_keys import claimed_id
from facesvc.service.tenants import Tenants
from facesvc.web.errors import problem
from facesvc.web.observe import Metrics, Readiness
from facesvc.web.rates import count_caller

EVERY_ROLE = tuple(Role)
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
ATTRIBUTE = "facesvc_permission"


@dataclass(frozen=True, slots=True)
class Permission:
    """roles: any of them is enough; operator: only for the default tenant, who runs the service; public: for everybody,
    without a key."""

    roles: frozenset[Role] = frozenset()
    operator: bool = False
    public: bool = False

    def require(self, caller: Caller) -> None:
        """Raises Forbidden."""
        if not caller.may(self.roles):
            raise Forbidden(f"this needs the role {' or '.join(sorted(self.roles))}")
        if self.operator and caller.tenant != DEFAULT_TENANT:
            raise Forbidden("this is for whoever runs the service")


def allows(*roles: Role, operator: bool = False) -> Callable[[Endpoint], Endpoint]:
    """For keys with one of these roles, and administrators'."""
    return _marked(Permission(frozenset(roles), operator))


def public(endpoint: Endpoint) -> Endpoint:
    """For everybody, without a key."""
    return _marked(Permission(public=True))(endpoint)


def permission_of(endpoint: Callable[..., Any]) -> Permission | None:
    """None where the operation says nothing."""
    return getattr(endpoint, ATTRIBUTE, None)


def _marked(permission: Permission) -> Callable[[Endpoint], Endpoint]:
    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, ATTRIBUTE, permission)
        return endpoint

    return mark


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


def _service(request: Request, caller: CallerDep, tenants: TenantsDep) -> FaceService:
    return tenants.of(caller.tenant).by(caller, request.state.request_id)


ServiceDep = Annotated[FaceService, Depends(_service)]
"""The service of the caller's tenant, with the galleries that the caller may use; what is asked is noted as theirs."""


def require_loopback(settings: Settings) -> None:
    """Raises RequestError where development mode is on and the service would listen to others than this machine."""
    if settings.dev and not is_loopback(settings.host):
        raise RequestError(f"development mode needs no API key: it listens on loopback only, not on {settings.host}")


def is_loopback(host: str | None) -> bool:
    """Of an address or a name that means this machine (RFC 6761, section 6.3)."""
    name = (host or "").lower().strip("[]").rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class LoopbackOnly:
    """ASGI middleware: refuses what did not come from this machine, to it, in its own name."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_local(scope):
            refused = Forbidden("in development mode this service answers nobody but this machine, called localhost")
            await problem(refused)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def is_local(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    ends = [(scope.get(end) or ("",))[0] for end in ("server", "client")]
    named = [urlsplit(f"//{headers.get('host', '')}").hostname]
    if "origin" in headers:
        named.append(urlsplit(headers["origin"]).hostname)
    return all(is_loopback(host) for host in (*ends, *named))


def announce_first_key(tenants: Tenants) -> None:
    """Makes and prints it, on standard error, where there is no key at all; of several processes that start at once,
    one does."""
    issued = tenants.of(DEFAULT_TENANT).api_keys.issue_first()
    if issued is not None:
        sys.stderr.write(f"the administrator's API key, shown this once and valid for a day: {issued.text}\n")
        sys.stderr.flush()
