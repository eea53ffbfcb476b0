"""The administrator's key that the first start of a service prints, since there is no default one."""

import sys

from facesvc.core.access import DEFAULT_TENANT
from facesvc.service.api_keys import KeyDesk
from facesvc.service.tenants import Tenants


def announce_first_key(tenants: Tenants) -> None:
    """Makes and prints it, on standard error, where there is no key at all; of several processes that start at once,
    one does."""
    issued = KeyDesk(tenants.api_keys, DEFAULT_TENANT, tenants.of(DEFAULT_TENANT).trail).issue_first()
    if issued is not None:
        sys.stderr.write(f"the administrator's API key, shown this once and valid for a day: {issued.text}\n")
        sys.stderr.flush()
