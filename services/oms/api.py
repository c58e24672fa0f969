"""The order API: validate, call, answer."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.contracts import Item
from services.contracts.envelope import Identifier, Value
from services.messaging.readiness import Readiness
from services.oms import problems
from services.oms.desk import OrderDesk
from services.oms.records import Wanted
from services.oms.saga import Status
from services.oms.views import OrderView, Placed, SagaHistoryView, SagaView

MAX_BODY_BYTES = 256 * 1024
_HEALTH = frozenset({"/healthz", "/readyz"})

OrderId = Annotated[Identifier, InPath(description="The order's id")]
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=255, description="The same key gets the first answer"),
]


class PlaceOrder(Value):
    """What a customer orders, and the token of the payment method."""

    customer_id: Identifier
    items: tuple[Item, ...]
    payment_method: Identifier


def create_app(desk: OrderDesk, readiness: Readiness) -> ASGIApp:
    """Build the API over an order desk.

    The caller's `traceparent` is continued and its `baggage` is dropped: what a stranger sends must not travel on.
    """
    app = FastAPI(
        title="Sagatrace order API",
        max_body_size=MAX_BODY_BYTES,
        telemetry={"operation_spans": False, "exclude": lambda scope: scope["path"] in _HEALTH},
    )
    problems.install(app)
    _add_orders(app, desk)
    _add_sagas(app, desk)
    _add_health(app, readiness)
    return without_baggage(app)


def without_baggage(app: ASGIApp) -> Callable[[Scope, Receive, Send], Any]:
    """Wrap an application so that a request's `baggage` header is gone before anything reads it."""

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        if "headers" in scope:
            kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"baggage"]
            scope = {**scope, "headers": kept}
        await app(scope, receive, send)

    return outer


def _add_orders(app: FastAPI, desk: OrderDesk) -> None:
    @app.post("/orders", status_code=HTTPStatus.ACCEPTED)
    async def place_order(order: PlaceOrder, response: Response, idempotency_key: IdempotencyKey = None) -> Placed:
        """Accept an order; its saga goes on behind this answer."""
        placed = await desk.place(
            customer_id=order.customer_id,
            items=order.items,
            payment_method=order.payment_method,
            idempotency_key=idempotency_key,
        )
        response.headers["location"] = f"/orders/{placed.order_id}"
        return placed

    @app.get("/orders/{order_id}")
    async def get_order(order_id: OrderId) -> OrderView:
        """Tell where an order and its saga are."""
        return await desk.order(order_id)

    @app.post("/orders/{order_id}/cancel", status_code=HTTPStatus.ACCEPTED)
    async def cancel_order(order_id: OrderId) -> Placed:
        """Cancel an order that is not paid yet; a repeated request gets the first answer."""
        return await desk.cancel(order_id)

    @app.post("/orders/{order_id}/refund", status_code=HTTPStatus.ACCEPTED)
    async def refund_order(order_id: OrderId) -> Placed:
        """Take a completed order back; a repeated request gets the first answer."""
        return await desk.refund(order_id)


def _add_sagas(app: FastAPI, desk: OrderDesk) -> None:
    @app.get("/sagas")
    async def list_sagas(
        status: Status | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> list[SagaView]:
        """List sagas, the one that has not moved for longest first."""
        return await desk.sagas(Wanted(statuses=(status,) if status else ()), limit)

    @app.get("/sagas/{saga_id}")
    async def get_saga(saga_id: Annotated[Identifier, InPath(description="The saga's id")]) -> SagaHistoryView:
        """Show one saga with its whole history."""
        return await desk.saga(saga_id)


def _add_health(app: FastAPI, readiness: Readiness) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        """Answer as long as the process does: a dead loop ends the process."""
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        """Answer 200 when every part works, or 503 and which does not."""
        reasons = readiness.reasons()
        body = {"status": "unready", "reasons": reasons} if reasons else {"status": "ready"}
        return JSONResponse(body, HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK)
