"""The order API: it validates requests, calls `Orders` and returns the response."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Header, Query, Response, Security
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import ConfigDict, Field, SecretStr, Strict
from starlette.types import ASGIApp

from services.contracts import Item
from services.contracts.envelope import Identifier, Value
from services.contracts.events import DeliveryWindow
from services.messaging import asyncapi
from services.messaging.readiness import Readiness
from services.oms import problems
from services.oms.middleware import HEALTH, with_token, without_baggage
from services.oms.order import MAX_LINES
from services.oms.orders import Orders
from services.oms.reads import WithoutReads
from services.oms.records import SagaFilter
from services.oms.saga import Status
from services.oms.views import OrderView, Placed, SagaHistoryView, SagaView

MAX_BODY_BYTES = 256 * 1024

_UNKNOWN = HTTPStatus.NOT_FOUND
_BAD_BODY = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

OrderId = Annotated[Identifier, InPath(description="The order's id")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A repeated key gets the first answer, for 30 days",
    ),
]


class PlaceOrder(Value):
    """What a customer orders, and the token of the payment method."""

    customer_id: Identifier
    # `total_of` holds these limits; here they are only documented. FastAPI passes a list, which no strict tuple takes.
    items: Annotated[
        tuple[Item, ...], Strict(strict=False), Field(json_schema_extra={"minItems": 1, "maxItems": MAX_LINES})
    ]
    payment_method: Identifier
    delivery_window: Annotated[DeliveryWindow | None, Field(description="Without one, any time will do.")] = None


class ListSagas(Value):
    """Which sagas to list; an unknown parameter is refused rather than ignored. A query is text, and so not strict."""

    model_config = ConfigDict(strict=False)

    status: Status | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100


def create_app(
    orders: Orders, readiness: Readiness, token: SecretStr | None = None, *, trace_reads: bool = False
) -> ASGIApp:
    """Build the API.

    The caller's `traceparent` is continued and its `baggage` is dropped: what a stranger sends must not travel on.

    Args:
        orders: Carries out the requests.
        readiness: The state that `/readyz` reports.
        token: The bearer token that every request needs, except health checks.
        trace_reads: Whether a request that only reads has a span outside anybody's trace, too.
    """
    app = FastAPI(
        title="Sagatrace order API",
        # Only documents the token; `with_token` checks it.
        dependencies=[Security(HTTPBearer(auto_error=False, description="SAGATRACE_API_TOKEN, where it is set"))],
        max_body_size=MAX_BODY_BYTES,
        telemetry={
            "operation_spans": False,
            "exclude": lambda scope: scope["path"] in HEALTH,
            "tracer_provider": None if trace_reads else WithoutReads(),
        },
    )
    problems.install(app)
    _add_orders(app, orders)
    _add_sagas(app, orders)
    _add_documents(app)
    _add_health(app, readiness)
    return without_baggage(with_token(app, token) if token else app)


def _add_orders(app: FastAPI, orders: Orders) -> None:
    @app.post("/orders", status_code=HTTPStatus.ACCEPTED, responses=problems.documented(*_BAD_BODY))
    async def place_order(order: PlaceOrder, response: Response, idempotency_key: IdempotencyKey = None) -> Placed:
        """Accept an order; its saga goes on after the response."""
        placed = await orders.place(
            customer_id=order.customer_id,
            items=order.items,
            payment_method=order.payment_method,
            delivery_window=order.delivery_window,
            idempotency_key=idempotency_key,
        )
        response.headers["location"] = f"/orders/{placed.order_id}"
        return placed

    @app.get("/orders/{order_id}", responses=problems.documented(_UNKNOWN))
    async def get_order(order_id: OrderId) -> OrderView:
        """Return where an order and its saga stand."""
        return await orders.order(order_id)

    asked = problems.documented(_UNKNOWN, HTTPStatus.CONFLICT)

    @app.post("/orders/{order_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=asked)
    async def cancel_order(order_id: OrderId) -> Placed:
        """Cancel an order that is not paid yet; a repeated request gets the first answer."""
        return await orders.cancel(order_id)

    @app.post("/orders/{order_id}/refund", status_code=HTTPStatus.ACCEPTED, responses=asked)
    async def refund_order(order_id: OrderId) -> Placed:
        """Refund a completed order; a repeated request gets the first answer."""
        return await orders.refund(order_id)


def _add_sagas(app: FastAPI, orders: Orders) -> None:
    @app.get("/sagas", responses=problems.documented())
    async def list_sagas(listed: Annotated[ListSagas, Query()]) -> list[SagaView]:
        """Return sagas, longest idle first."""
        return await orders.sagas(SagaFilter(statuses=(listed.status,) if listed.status else ()), listed.limit)

    @app.get("/sagas/{saga_id}", responses=problems.documented(_UNKNOWN))
    async def get_saga(saga_id: Annotated[Identifier, InPath(description="The saga's id")]) -> SagaHistoryView:
        """Return one saga with its whole history."""
        return await orders.saga(saga_id)


def _add_documents(app: FastAPI) -> None:
    document = asyncapi.COMMITTED.read_bytes()

    @app.get("/asyncapi.json", include_in_schema=False)
    async def asyncapi_document() -> Response:
        """Return the AsyncAPI document of all topics and messages, as FastAPI does the OpenAPI document of this API."""
        return Response(document, media_type="application/json")


def _add_health(app: FastAPI, readiness: Readiness) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        """Return 200 while the process lives: a loop that dies ends the process."""
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        """Return 200 when every part works, else 503 and the parts that do not."""
        reasons = readiness.reasons()
        body = {"status": "unready", "reasons": reasons} if reasons else {"status": "ready"}
        return JSONResponse(body, HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK)
