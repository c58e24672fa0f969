"""What can be asked of an order; each request is one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import trace
from opentelemetry.trace import Link

from services.contracts import Item, new_id
from services.contracts.events import DeliveryWindow
from services.messaging import semconv
from services.messaging.storage import Database
from services.messaging.trace_context import bind_saga, restore, span_context
from services.oms import order as rules
from services.oms import store
from services.oms.placing import Placing
from services.oms.problems import Conflict, NotFound
from services.oms.records import Order, Saga, SagaFilter
from services.oms.saga import IllegalMove, Input, step
from services.oms.transitions import Transitions
from services.oms.views import HistoryEntry, OrderView, Placed, SagaHistoryView, SagaView
from services.oms.writes import OmsWrite
from tracing.binding import use_context


class Orders:
    """Accepts orders, cancellations and refunds, and shows how they stand."""

    def __init__(self, database: Database, transitions: Transitions) -> None:
        self._database = database
        self._transitions = transitions
        self._placing = Placing(database, transitions)

    async def place(
        self,
        *,
        customer_id: str,
        items: tuple[Item, ...],
        payment_method: str,
        delivery_window: DeliveryWindow | None = None,
        idempotency_key: str | None = None,
    ) -> Placed:
        """Accept an order and start its saga in the current trace.

        Raises:
            OrderError: the order breaks a rule.
            Problem: the idempotency key was used for another order.
        """
        total = rules.total_of(items)
        rules.check_window(delivery_window)
        order = Order(
            order_id=str(new_id()),
            customer_id=customer_id,
            items=items,
            total=total,
            payment_method=payment_method,
            delivery_window=delivery_window,
        )
        saga = await self._placing.place(order, idempotency_key)
        with _bind_ids(saga):
            return _placed(saga)

    async def cancel(self, order_id: str, *, actor: str | None = None) -> Placed:
        """Cancel an order before it is paid; `actor` is the operator who asked, if any.

        Raises:
            NotFound: there is no such order.
            Conflict: the charge's reply has been applied, or the saga is ending for another reason.
        """
        return await self._request(order_id, Input.CANCEL, actor)

    async def refund(self, order_id: str) -> Placed:
        """Refund a completed order.

        Raises:
            NotFound: there is no such order.
            Conflict: the order is not completed.
        """
        return await self._request(order_id, Input.REFUND)

    async def retry(self, order_id: str, *, actor: str | None = None) -> Placed:
        """Retry a saga that needs attention: send its command once more, and count its attempts from 1 again.

        Raises:
            NotFound: there is no such order.
            Conflict: the saga does not need attention.
        """
        return await self._request(order_id, Input.RETRY, actor)

    async def order(self, order_id: str) -> OrderView:
        """Return how an order stands.

        Raises:
            NotFound: there is no such order.
        """
        async with self._database.reading() as connection:
            saga = await store.read_saga_of(connection, order_id)
        if saga is None:
            raise NotFound("order")
        with _bind_ids(saga):
            return OrderView(
                **dict(_placed(saga)),
                status=saga.status,
                order_status=rules.status_of(saga.state),
                reason=saga.reason,
                created_at=saga.created_at,
                updated_at=saga.updated_at,
            )

    async def sagas(self, wanted: SagaFilter, limit: int) -> list[SagaView]:
        """Return sagas, longest idle first."""
        async with self._database.reading() as connection:
            return [_view(saga) for saga in await store.list_sagas(connection, wanted, limit)]

    async def saga(self, saga_id: str) -> SagaHistoryView:
        """Return a saga and its history.

        Raises:
            NotFound: there is no such saga.
        """
        async with self._database.reading() as connection:
            saga = await store.read_saga(connection, saga_id)
            if saga is None:
                raise NotFound("saga")
            entries = await store.read_history(connection, saga_id)
        with _bind_ids(saga):
            history = tuple(HistoryEntry.model_validate(entry) for entry in entries)
            return SagaHistoryView(**dict(_view(saga)), history=history)

    async def _request(self, order_id: str, request: Input, actor: str | None = None) -> Placed:
        async with self._database.transaction(OmsWrite.ORDER_REQUEST) as connection:
            held = await store.hold_saga_of(connection, order_id)
            if held is None:
                raise NotFound("order")
            saga = held.saga
            with _bind_ids(saga):
                if saga.requested is request:
                    return _placed(saga)
                _check(saga, request)
                with _in_saga_trace(saga, request):
                    await self._transitions.move(connection, held, request, actor=actor)
        return _placed(saga)


def _check(saga: Saga, request: Input) -> None:
    if request is Input.RETRY and not saga.needs_attention:
        raise Conflict(f"the saga is {saga.status}: only one that needs attention is retried")
    try:
        step(saga.definition, saga.state, request)
    except IllegalMove:
        raise Conflict(f"the order is {saga.status} and can't take a {request} request") from None


@contextmanager
def _in_saga_trace(saga: Saga, request: Input) -> Iterator[None]:
    """Continue the saga's trace with a span that links to the request, which keeps a trace of its own."""
    asking = trace.get_current_span().get_span_context()
    links = [Link(asking)] if asking.is_valid else []
    tracer = trace.get_tracer(semconv.SCOPE_OMS)
    with (
        use_context(restore(saga.trace_context)),
        _bind_ids(saga),
        tracer.start_as_current_span(semconv.request_span(request), links=links),
    ):
        yield


def _bind_ids(saga: Saga) -> AbstractContextManager[object]:
    """Put the saga's ids on the current span and on every span that starts under it."""
    return bind_saga(saga.saga_id, saga.order_id)


def _placed(saga: Saga) -> Placed:
    return Placed(order_id=saga.order_id, saga_id=saga.saga_id, trace_id=_trace_id(saga))


def _view(saga: Saga) -> SagaView:
    return SagaView(
        **dict(_placed(saga)),
        status=saga.status,
        state=saga.state,
        attempt=saga.attempt,
        reason=saga.reason,
        created_at=saga.created_at,
        updated_at=saga.updated_at,
        ended_at=saga.ended_at,
    )


def _trace_id(saga: Saga) -> str | None:
    entry = span_context(saga.trace_context)
    return trace.format_trace_id(entry.trace_id) if entry else None
