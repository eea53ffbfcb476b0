"""Schemathesis: requests made from the committed OpenAPI document, against the live server."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.support.live import Live
from tests.support.snapshot import SNAPSHOT

CHECKS = [not_a_server_error, response_schema_conformance, status_code_conformance]

schema = schemathesis.openapi.from_path(str(SNAPSHOT))


@pytest.mark.slow
@schema.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],  # photographs in base64 are large, and slow to invent
)
def test_no_request_breaks_the_service(case: schemathesis.Case, live: Live) -> None:
    case.call_and_validate(base_url=live.url, checks=CHECKS)
