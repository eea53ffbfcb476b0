"""What each operation asks of its caller. An operation that says nothing of it is refused to everybody."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from facesvc.core.access import DEFAULT_TENANT, Caller, Role
from facesvc.errors import Forbidden

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
