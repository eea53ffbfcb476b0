"""The API keys of one tenant, as administrators make, replace and revoke them: each with a line in the audit log."""

from datetime import timedelta

from facesvc.apikeys import ApiKeys
from facesvc.core.access import ApiKey, IssuedKey, Rights
from facesvc.trail import Trail


class KeyDesk:
    """Raises what ``apikeys.ApiKeys`` raises."""

    def __init__(self, keys: ApiKeys, tenant: str, trail: Trail) -> None:
        self._keys, self._tenant, self._trail = keys, tenant, trail

    def all(self) -> list[ApiKey]:
        """Also those that are not valid any more, oldest first."""
        return self._keys.of_tenant(self._tenant)

    def find(self, key: str) -> ApiKey:
        return self._keys.find(self._tenant, key)

    def issue(self, rights: Rights, lifetime: timedelta | None) -> IssuedKey:
        with self._trail.changing("create_api_key") as outcome:
            issued = self._keys.issue(self._tenant, rights, lifetime)
            outcome.told = {"api_key": issued.key.id, "roles": sorted(rights.roles)}
        return issued

    def issue_first(self) -> IssuedKey | None:
        """As ``ApiKeys.issue_first``. Its line comes after it, so that starts that make none leave none; until then
        nobody knows its text."""
        issued = self._keys.issue_first(self._tenant)
        if issued is not None:
            with self._trail.asked("create_api_key") as outcome:
                outcome.told = {"api_key": issued.key.id, "roles": sorted(issued.key.rights.roles)}
        return issued

    def rotate(self, key: str, overlap: timedelta, lifetime: timedelta | None) -> IssuedKey:
        with self._trail.changing("rotate_api_key") as outcome:
            issued = self._keys.rotate(self._tenant, key, overlap, lifetime)
            outcome.told = {"api_key": key, "replaced_by": issued.key.id}
        return issued

    def revoke(self, key: str) -> None:
        with self._trail.changing("revoke_api_key") as outcome:
            outcome.told = {"api_key": key}
            self._keys.revoke(self._tenant, key)
