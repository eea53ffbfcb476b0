"""Two tenants of one service, and every way in which one could ask for what is the other's."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

import httpx

from drills.ground import Real
from tests.support.snapshot import SNAPSHOT

PARAMETERS = ("gallery", "subject", "reference", "key")
"""Of paths: ids that belong to a tenant."""
BODIES: Mapping[str, Mapping[str, Any]] = {
    "create_subject": {"id": "new"},
    "change_subject": {"display_name": "new"},
    "change_gallery": {"metadata": {"new": True}},
    "start_model_change": {"pack": "sface"},
}
"""What operations are sent that want something certain; others an empty object, or photographs."""


@dataclass(frozen=True)
class Tenant:
    """ids: of what it has, by parameter."""

    client: httpx.Client
    ids: Mapping[str, str]

    @property
    def photograph(self) -> str:
        return "/v1/galleries/{gallery}/subjects/{subject}/references/{reference}/photograph".format_map(self.ids)


@dataclass(frozen=True)
class Ask:
    """An operation, and which of its parameters (of its path, or of its body where ``form`` is there) is to be
    another's. form: a template of its fields."""

    method: str
    path: str
    parameter: str
    operation: str = ""
    form: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path} ({self.parameter})"

    def names(self, attacker: Tenant, victim: Tenant, value: str) -> dict[str, str]:
        """What is of the attacker's own comes before ``value``, what is of the other's after it."""
        at = PARAMETERS.index(self.parameter)
        return {
            name: value if name == self.parameter else (attacker if PARAMETERS.index(name) < at else victim).ids[name]
            for name in PARAMETERS
        }


def settled(client: httpx.Client, key: str, real: Real) -> Tenant:
    """A tenant with a gallery that keeps photographs, a subject, and a reference."""
    gallery, subject = (token_hex(8) for _ in range(2))
    assert client.post("/v1/galleries", json={"name": gallery, "keep_photographs": True}).status_code == 201
    answer = client.post(
        f"/v1/galleries/{gallery}/subjects/{subject}/references", files={"images": real.photographs["obama"]}
    )
    assert answer.status_code == 201, answer.text
    reference = answer.json()["results"][0]["reference"]
    return Tenant(client, {"gallery": gallery, "subject": subject, "reference": reference, "key": key})


def unknown(like: str) -> str:
    """An id that is nobody's, of the same length and letters: what comes after its prefix is drawn anew."""
    prefix, separator, rest = like.rpartition("_")
    return f"{prefix}{separator}{token_hex(len(rest))[: len(rest)]}"


def asks() -> Iterator[Ask]:
    """Every operation with each parameter that belongs to a tenant, and those that name a gallery in their body."""
    for path, methods in json.loads(SNAPSHOT.read_text())["paths"].items():
        for method, operation in methods.items():
            for parameter in re.findall(r"\{(\w+)\}", path):
                if parameter in PARAMETERS:
                    yield Ask(method.upper(), path, parameter, operation["operationId"])
    yield Ask("POST", "/v1/identify", "gallery", "identify", ("gallery",))
    yield Ask("POST", "/v1/verify", "gallery", "verify", ("gallery", "subject"))
    yield Ask("POST", "/v1/verify", "subject", "verify", ("gallery", "subject"))


def request(ask: Ask, names: Mapping[str, str], real: Real) -> dict[str, Any]:
    """Of httpx's ``request``."""
    photograph = real.photographs["obama"]
    built: dict[str, Any] = {"method": ask.method, "url": ask.path.format_map(names)}
    if ask.form is not None:
        field = "image" if ask.operation == "identify" else "probe"
        return built | {"files": {field: photograph}, "data": {name: names[name] for name in ask.form}}
    if ask.operation == "enrol":
        return built | {"files": {"images": photograph}}
    return built | ({} if ask.method in ("GET", "DELETE") else {"json": BODIES.get(ask.operation, {})})
