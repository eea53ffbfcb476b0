"""Failures of those who may not, too often, or not any more: the second half of ``facesvc.errors``.

::

    request   --authenticate--> Caller     unauthenticated, forbidden
    Caller    --ask----------> answer      rate_limited, identity_budget_spent, image_url_refused
    Subject   --enrol--------> Reference   too_many_references
    stored    --open---------> value       master_key_unavailable, seal_broken
    keys, tenants                          api_key_not_found, tenant_not_found, tenant_exists
    audit, receipts                        audit_broken, receipt_invalid
"""

from facesvc.errors import FaceServiceError, RequestError, StoreError


class Unauthenticated(RequestError):
    """No API key came with the request, or none that is valid (any more): which of these is not said."""

    code, title = "unauthenticated", "API key missing or not valid"


class Forbidden(RequestError):
    code, title = "forbidden", "This API key may not do that"


class RateLimited(FaceServiceError):
    """Too many requests of one key or address. retry_after: seconds until asking again makes sense."""

    code, title = "rate_limited", "Too many requests"

    def __init__(self, detail: str | None = None, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class IdentityBudgetSpent(RateLimited):
    """The key has been told of as many different subjects as it may within a day."""

    code, title = "identity_budget_spent", "Identity budget spent"


class ImageUrlRefused(RequestError):
    """A photograph's address that is not fetched: URLs are off, or this one is not of a public image."""

    code, title = "image_url_refused", "Photograph's address refused"


class TooManyReferences(StoreError):
    """The subject has as many references as one may have, or would with these."""

    code, title = "too_many_references", "Too many references of one subject"


class MasterKeyUnavailable(StoreError):
    """Without the master key nothing that is stored can be opened."""

    code, title = "master_key_unavailable", "Master key not available"


class SealBroken(StoreError):
    """Stored bytes that were changed, moved to another row, or sealed with another key."""

    code, title = "seal_broken", "Stored value damaged or exchanged"


class ApiKeyNotFound(StoreError):
    code, title = "api_key_not_found", "API key not found"


class TenantNotFound(StoreError):
    code, title = "tenant_not_found", "Tenant not found"


class TenantExists(StoreError):
    code, title = "tenant_exists", "Tenant exists already"


class AuditBroken(StoreError):
    """A line of the audit log was altered, taken out, put in or moved."""

    code, title = "audit_broken", "Audit log altered"


class ReceiptInvalid(RequestError):
    code, title = "receipt_invalid", "Receipt not valid"
