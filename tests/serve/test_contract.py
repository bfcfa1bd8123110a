"""Whatever the contract lets one ask is answered as it says, and never by a failure of the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import flambeau as fb
from flambeau.serve import Doors, background_server

ADMIN = "a" * 20
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def contract(predictor: fb.Predictor, rows_predictor: fb.Predictor) -> Iterator[Any]:
    with background_server({"wines": rows_predictor, "digits": predictor}, doors=Doors(admin_keys=[ADMIN])) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_every_request_is_answered_as_the_contract_says(contract: Any) -> None:
    operations = [result.ok() for result in contract.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:

        @hypothesis.settings(max_examples=8, deadline=None, derandomize=True, database=None,
                             suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def asked(case: schemathesis.Case) -> None:
            headers = {"X-API-Key": ADMIN} if case.path.startswith("/admin/") else {}
            case.call_and_validate(checks=CHECKS, headers=headers)

        asked()
