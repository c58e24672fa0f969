"""The order API against its own OpenAPI document: schemathesis makes requests up that fit it, and that do not.

`SAGATRACE_API_EXAMPLES` says how many of each are made for an operation.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from tests.support.api_server import running_api
from tests.support.databases import sqlite_url
from tests.support.sizes import size

EXAMPLES = size("SAGATRACE_API_EXAMPLES", 20)
TOKEN = "a-token-of-the-tests"
NOT_IN_A_SCHEMA = {
    # That all lines of an order have one currency, and what they may add up to, no JSON schema says.
    "/orders": [positive_data_acceptance],
    # A parameter without a name or a value never reaches the application: the server's parser drops it.
    "/sagas": [negative_data_rejection],
}
OPERATIONS = [
    ("POST", "/orders"),
    ("GET", "/orders/{order_id}"),
    ("POST", "/orders/{order_id}/cancel"),
    ("POST", "/orders/{order_id}/refund"),
    ("GET", "/sagas"),
    ("GET", "/sagas/{saga_id}"),
]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document that the running API gives of itself to who has the token."""
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
        case.call_and_validate(
            headers={"Authorization": f"Bearer {TOKEN}"},
            excluded_checks=NOT_IN_A_SCHEMA.get(path, []),
        )

    ask()
