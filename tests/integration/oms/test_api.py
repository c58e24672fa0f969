"""The order API over HTTP: its responses, its refusals, and the trace that it starts."""

import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import httpx2
import pytest
from opentelemetry import baggage, metrics
from starlette.types import ASGIApp

from services.contracts.events import DeliveryWindow, OrderPlaced
from services.messaging import semconv
from services.messaging.errors import Unavailable
from services.messaging.readiness import Readiness
from services.oms import store
from services.oms.api import MAX_BODY_BYTES, create_app
from tests.support.orders import OrderService
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans

LINE = {"sku": "sku_ok", "quantity": 2, "unit_price": {"amount": 150, "currency": "EUR"}}
ORDER = {
    "customer_id": "c-1",
    "items": [LINE],
    "payment_method": "pm_ok",
}
WINDOW = {"earliest": "2026-03-02T08:00:00Z", "latest": "2026-03-02T12:00:00+01:00"}
CALLER = "0af7651916cd43dd8448eb211c80319c"
SECRET = "4111 1111"


@pytest.fixture
async def client(oms: OrderService, spans: RecordedSpans) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the API, with the spans of the test recorded."""
    assert not spans.finished
    async with _client_of(create_app(oms.orders, Readiness())) as opened:
        yield opened


def _client_of(app: ASGIApp) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://oms")


async def test_an_order_is_accepted_with_its_ids(client: httpx2.AsyncClient, spans: RecordedSpans) -> None:
    """A new order gets 202, its location, and the id of the trace whose entry is the request's span."""
    answer = await client.post("/orders", json=ORDER)
    assert answer.status_code == HTTPStatus.ACCEPTED
    placed = answer.json()
    assert answer.headers["location"] == f"/orders/{placed['order_id']}"
    entry = spans.one("POST /orders")
    assert entry.parent is None
    assert f"{entry.context.trace_id:032x}" == placed["trace_id"]
    assert attributes_of(entry)[semconv.SAGA_ID] == placed["saga_id"]
    assert attributes_of(entry)[semconv.ORDER_ID] == placed["order_id"]


async def test_a_callers_trace_is_continued(client: httpx2.AsyncClient) -> None:
    """With a `traceparent` the saga belongs to the caller's trace."""
    answer = await client.post("/orders", json=ORDER, headers={"traceparent": f"00-{CALLER}-b7ad6b7169203331-01"})
    assert answer.json()["trace_id"] == CALLER


async def test_a_callers_baggage_is_dropped(oms: OrderService, monkeypatch: pytest.MonkeyPatch) -> None:
    """Baggage that a caller sends is in no context behind the API."""
    seen: list[dict[str, object]] = []
    place = oms.orders.place

    async def look(**order: Any) -> Any:
        seen.append(dict(baggage.get_all()))
        return await place(**order)

    monkeypatch.setattr(oms.orders, "place", look)
    with RecordedSpans(instrumented=False):
        transport = httpx2.ASGITransport(create_app(oms.orders, Readiness()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://oms") as opened:
            await opened.post("/orders", json=ORDER, headers={"baggage": "user.id=alice"})
    assert seen == [{}]


async def test_the_same_key_gets_the_first_answer(client: httpx2.AsyncClient, oms: OrderService) -> None:
    """An order sent twice with one Idempotency-Key is one order with one answer; that key refuses another order."""
    key = {"idempotency-key": "k-1"}
    first = await client.post("/orders", json=ORDER, headers=key)
    again = await client.post("/orders", json=ORDER, headers=key)
    other = await client.post("/orders", json=ORDER | {"payment_method": "pm_slow"}, headers=key)
    assert first.json() == again.json()
    assert [message.event_type for message in await oms.messages()].count("order.created") == 1
    assert other.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


async def test_a_delivery_window_is_kept_and_told(client: httpx2.AsyncClient, oms: OrderService) -> None:
    """When to deliver is part of the order and of its event; a repeated key refuses another window."""
    key = {"idempotency-key": "k-1"}
    assert (await client.post("/orders", json=ORDER | {"delivery_window": WINDOW}, headers=key)).is_success
    assert (await client.post("/orders", json=ORDER | {"delivery_window": WINDOW}, headers=key)).is_success
    assert (await client.post("/orders", json=ORDER, headers=key)).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    (created,) = [message for message in await oms.messages() if message.event_type == "order.created"]
    assert isinstance(created.payload, OrderPlaced)
    assert created.payload.delivery_window == DeliveryWindow.model_validate(WINDOW)
    async with oms.database.reading() as connection:
        held = await store.hold_saga(connection, created.saga_id)
    assert held is not None
    assert held.order.delivery_window == created.payload.delivery_window


async def test_the_asyncapi_document_is_served(client: httpx2.AsyncClient) -> None:
    """Beside the OpenAPI document of the API, the order service has the one of all topics."""
    answer = await client.get("/asyncapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert "oms.order.events" in answer.json()["channels"]


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a missing field": ({"customer_id": None}, "customer_id"),
    "a bad id": ({"customer_id": SECRET}, "customer_id"),
    "no lines": ({"items": []}, "items"),
    "a line of none": ({"items": [LINE | {"quantity": 0}]}, "items.0.quantity"),
    "an unknown field": ({"card": SECRET}, "card"),
    "a window without an end": ({"delivery_window": {"earliest": WINDOW["earliest"]}}, "delivery_window.latest"),
    "a window in numbers": ({"delivery_window": WINDOW | {"latest": 1_700_000_000}}, "delivery_window.latest"),
    "a window that ends first": (
        {"delivery_window": {"earliest": WINDOW["latest"], "latest": WINDOW["earliest"]}},
        "delivery_window",
    ),
    "two currencies": (
        {"items": [LINE, LINE | {"unit_price": {"amount": 1, "currency": "USD"}}]},
        "items",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_bad_input_names_the_field_and_never_the_value(client: httpx2.AsyncClient, broken: str) -> None:
    """A bad order is a 422 problem that names the field; no value that was sent comes back."""
    changes, field = BROKEN[broken]
    answer = await client.post("/orders", json=ORDER | changes)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert [error["field"] for error in problem["errors"]] == [field]
    assert SECRET not in answer.text
    assert problem.keys() == {"type", "title", "status", "detail", "errors"}


@pytest.mark.parametrize("wrong", ["true", '"3"', "3.0", "3e0", "[3]", "null"])
@pytest.mark.parametrize("number", ["quantity", "amount"])
async def test_only_a_number_is_taken_for_a_number(client: httpx2.AsyncClient, number: str, wrong: str) -> None:
    """A truth, a text or a fraction where an order has a whole number is a 422 that names the field."""
    field = {"quantity": "items.0.quantity", "amount": "items.0.unit_price.amount"}[number]
    body = json.dumps(ORDER).replace(
        f'"{number}": {LINE["quantity"] if number == "quantity" else 150}', f'"{number}": {wrong}'
    )
    answer = await client.post("/orders", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_body_that_is_not_json_is_a_bad_request(client: httpx2.AsyncClient) -> None:
    """A body that can't be read at all is a 400 problem."""
    answer = await client.post("/orders", content=f"{{{SECRET}", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert SECRET not in answer.text


async def test_a_body_has_a_size_limit(client: httpx2.AsyncClient) -> None:
    """A body over the limit is refused with 413 before it is parsed."""
    body = json.dumps(ORDER | {"note": "x" * MAX_BODY_BYTES})
    answer = await client.post("/orders", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


async def test_cancel_is_accepted_until_the_charge_is_answered(client: httpx2.AsyncClient, oms: OrderService) -> None:
    """Cancel is 202 with the same answer each time while it can be honoured, and 409 once the order is paid."""
    early = (await client.post("/orders", json=ORDER)).json()
    first = await client.post(f"/orders/{early['order_id']}/cancel")
    again = await client.post(f"/orders/{early['order_id']}/cancel")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json() == again.json() == early
    late = (await client.post("/orders", json=ORDER)).json()
    await oms.answer("inventory.reserved")
    await oms.answer("payment.charged")
    assert (await client.post(f"/orders/{late['order_id']}/cancel")).status_code == HTTPStatus.CONFLICT


async def test_refund_is_accepted_after_completion_only(client: httpx2.AsyncClient, oms: OrderService) -> None:
    """Refund is 409 before the order is completed, and 202 with the same answer each time after it."""
    placed = (await client.post("/orders", json=ORDER)).json()
    refund = f"/orders/{placed['order_id']}/refund"
    assert (await client.post(refund)).status_code == HTTPStatus.CONFLICT
    await oms.answer("inventory.reserved")
    await oms.answer("payment.charged")
    answers = [await client.post(refund), await client.post(refund)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(202, placed)] * 2


async def test_a_saga_is_found_with_its_history(client: httpx2.AsyncClient, oms: OrderService) -> None:
    """Sagas are listed by status, and one is shown with each step, its attempt, and the span in which it happened."""
    placed = (await client.post("/orders", json=ORDER)).json()
    await oms.answer("inventory.rejected", reason="out_of_stock")
    assert [saga["saga_id"] for saga in (await client.get("/sagas?status=failed")).json()] == [placed["saga_id"]]
    assert (await client.get("/sagas?status=running")).json() == []
    saga = (await client.get(f"/sagas/{placed['saga_id']}")).json()
    assert [(entry["input"], entry["state"], entry["attempt"]) for entry in saga["history"]] == [
        ("start", "reserving", 1),
        ("inventory.rejected", "failed", 1),
    ]
    assert saga["history"][0]["trace_id"] == placed["trace_id"]
    assert (saga["status"], saga["reason"]) == ("failed", "out_of_stock")
    order = (await client.get(f"/orders/{placed['order_id']}")).json()
    assert (order["status"], order["order_status"]) == ("failed", "canceled")


async def test_a_misspelt_filter_is_refused(client: httpx2.AsyncClient) -> None:
    """An unknown parameter of the list is a 422 that names it: otherwise a typo would list everything."""
    answer = await client.get("/sagas?staus=failed")
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"field": "staus", "rule": "extra_forbidden"}])


@pytest.mark.parametrize("path", ["/orders/none", "/sagas/none", "/nowhere"])
async def test_what_does_not_exist_is_a_problem_too(client: httpx2.AsyncClient, path: str) -> None:
    """An unknown order, saga or path is a 404 problem."""
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_a_database_that_is_unreachable_is_a_503(
    client: httpx2.AsyncClient, oms: OrderService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database can't be reached nothing is accepted, and the caller is told when to try again."""

    def away(_write: object) -> None:
        raise Unavailable("the database is not available")

    monkeypatch.setattr(oms.database, "transaction", away)
    answer = await client.post("/orders", json=ORDER)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


READS = ["/orders/none", "/sagas", "/sagas/none", "/openapi.json"]


@pytest.mark.parametrize("path", READS)
async def test_a_read_is_no_trace_of_its_own(client: httpx2.AsyncClient, spans: RecordedSpans, path: str) -> None:
    """A request that only reads has a span in its caller's trace if that is recorded, and none otherwise."""
    for headers in ({}, {"traceparent": f"00-{CALLER}-b7ad6b7169203331-00"}):
        await client.get(path, headers=headers)
    assert spans.finished == []
    await client.get(path, headers={"traceparent": f"00-{CALLER}-b7ad6b7169203331-01"})
    (read,) = spans.finished
    assert f"{read.context.trace_id:032x}" == CALLER


async def test_reads_are_counted(oms: OrderService, spans: RecordedSpans, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metric of requests counts a read that has no span."""
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: spans.meter_provider)
    async with _client_of(create_app(oms.orders, Readiness())) as client:
        await client.get("/sagas")
    (point,) = spans.metric_points("http.server.request.duration")
    assert (point.count, dict(point.attributes)["http.route"]) == (1, "/sagas")


async def test_reads_are_traced_on_request(oms: OrderService, spans: RecordedSpans) -> None:
    """With all spans wanted each read is a trace of its own; a probe of the health is none even then."""
    async with _client_of(create_app(oms.orders, Readiness(), trace_reads=True)) as client:
        await client.get("/sagas")
        await client.get("/healthz")
    assert [span.name for span in spans.finished] == ["GET /sagas"]


async def test_an_unsuccessful_change_is_traced(client: httpx2.AsyncClient, spans: RecordedSpans) -> None:
    """A request that would have changed something has its span."""
    await client.post("/orders/none/cancel")
    assert spans.one("POST /orders/{order_id}/cancel").parent is None


async def test_health_is_not_traced(client: httpx2.AsyncClient, spans: RecordedSpans) -> None:
    """Liveness and readiness answer without a span."""
    assert (await client.get("/healthz")).json() == {"status": "alive"}
    await client.get("/readyz")
    assert spans.finished == []
