"""Development mode: no API key is needed, and therefore nobody but this machine's own programs may ask.

A page in somebody's browser runs on this machine too: what it sends is told from what was meant by the names it sends
it to and from (DNS rebinding, cross-site requests; the Fetch standard, section 3.1, Origin header).
"""

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from facesvc.config import Settings
from facesvc.errors import Forbidden, RequestError
from facesvc.web.errors import problem


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
