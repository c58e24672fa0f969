"""The order API against its own OpenAPI document: schemathesis makes up requests that fit it, and some that do not.

`SAGATRACE_API_EXAMPLES` says how many of each are made per operation.
"""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

# Loaded here, and not when the document is read: pytest parses what it loads of schemathesis, the API's thread parses
# where it writes a traceback, and CPython 3.11 fails when both do at the same time.
from schemathesis.specs.openapi.schemas import OpenApiSchema

from services.oms.saga import Status
from tests.runs.sizes import size
from tests.support.api_server import running_api
from tests.support.databases import sqlite_url

EXAMPLES = size(20, 20, "SAGATRACE_API_EXAMPLES")
TOKEN = "a-token-of-the-tests"
# Where an order fits the document and is refused all the same, it breaks one of these, which no JSON schema can say.
RULES = {
    "all lines of an order have one currency",
    "the order's total is too large",
    "this Idempotency-Key was used for another order",
    "it ends after it begins",
    # JSON Schema takes 3.0 for an integer.
    "int_type",
}
# Of a request for sagas that was made up to be wrong, the wrong part may never be sent: the client leaves out what has
# no text, and the token is always put right. So what was sent and taken has to be this.
TAKEN: dict[str, set[str]] = {"status": {*Status}, "limit": {str(number) for number in range(1, 501)}}
# What the two checks would refuse, and the test judges itself.
JUDGED_HERE = {"/orders": [positive_data_acceptance], "/sagas": [negative_data_rejection]}
OPERATIONS = [
    ("POST", "/orders"),
    ("GET", "/orders/{order_id}"),
    ("POST", "/orders/{order_id}/cancel"),
    ("POST", "/orders/{order_id}/refund"),
    ("GET", "/sagas"),
    ("GET", "/sagas/{saga_id}"),
]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApiSchema]:
    """The document that the running API gives to a client with the token."""
    with running_api(sqlite_url(tmp_path_factory.mktemp("api")), TOKEN) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})


def test_the_document_has_every_operation(schema: Any) -> None:
    """What is asked below is all that the API offers."""
    assert {(operation.ok().method.upper(), operation.ok().path) for operation in schema.get_all_operations()} == {
        *OPERATIONS
    }


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{method} {path}" for method, path in OPERATIONS])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_as_documented(schema: Any, mode: GenerationMode, method: str, path: str) -> None:
    """Whatever is asked, the status, its content type and its body are in the document, and it is no server error."""

    @settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call_and_validate(
            headers={"Authorization": f"Bearer {TOKEN}"},
            excluded_checks=JUDGED_HERE.get(path, []),
        )
        if path == "/orders" and mode.is_positive and answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
            assert {error["rule"] for error in answer.json()["errors"]} <= RULES
        if path == "/sagas" and answer.status_code == HTTPStatus.OK:
            sent = parse_qsl(urlsplit(answer.request.url).query, keep_blank_values=True)
            assert [name for name, value in sent if value not in TAKEN.get(name, set())] == []

    ask()
