"""The audit log of the caller's tenant."""

from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Query

from facesvc import views
from facesvc.core.access import Role
from facesvc.web import proofs
from facesvc.web.access import ServiceDep
from facesvc.web.openapi import problems
from facesvc.web.paging import Limit
from facesvc.web.permissions import allows

router = APIRouter(prefix="/v1/audit", tags=["audit"])
After = Annotated[int, Query(ge=0, lt=2**63, description="Lines after this number.")]


@router.get("", response_model=proofs.AuditLines, responses=problems(422, 503))
@allows(Role.ADMINISTER)
def list_audit_lines(service: ServiceDep, after: After = 0, limit: Limit = 50) -> views.View:
    """Who asked what, with which API key, and what was decided; names by their stand-ins."""
    return {"items": [views.audit_line(line) for line in islice(service.trail.log.lines(after), limit)]}
