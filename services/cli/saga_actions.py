"""What `sagatrace saga` does, on the orchestrator's database.

A retry or a cancel is written there with its messages, in one transaction, and the running relay sends them, as it
sends every other message. So it works while the order API is down.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from services.cli.durations import age
from services.cli.errors import CannotRun
from services.cli.formatting import cell, document, table
from services.cli.jaeger import Jaeger
from services.cli.printable import is_text
from services.cli.session import operator, session
from services.cli.settings import JaegerSettings
from services.cli.stores import open_store
from services.cli.traces.check import check
from services.cli.traces.saga_trace import SagaTrace
from services.cli.traces.story import Story, tell
from services.messaging.outbox import Outbox
from services.oms.orders import Orders
from services.oms.problems import Conflict, NotFound
from services.oms.records import SagaFilter
from services.oms.transitions import Transitions
from services.oms.views import Placed, SagaHistoryView, SagaView


class ActionRefused(Exception):
    """The saga's state does not allow the action; the text is for the user."""


def show_list(chosen: SagaFilter, limit: int, *, as_json: bool) -> None:
    """Print sagas, longest unchanged first.

    Raises:
        CannotRun: the orchestrator's database can't be read.
    """
    sagas = asyncio.run(_read_sagas(chosen, limit))
    print(document([saga.model_dump(mode="json") for saga in sagas]) if as_json else _saga_table(sagas))


def show_one(saga_or_order: str, jaeger: str, *, as_json: bool) -> None:
    """Print a saga with its history, the story that its trace tells, and the address of the trace in Jaeger.

    Without Jaeger's answer the output says so in place of the story.

    Raises:
        CannotRun: the orchestrator's database can't be read, or has no such saga.
    """
    saga, pages = asyncio.run(_read_saga(saga_or_order)), Jaeger(jaeger, JaegerSettings.read().page)
    page = pages.page(saga.trace_id) if saga.trace_id else None
    story, why_none = _story(saga, pages)
    if as_json:
        told = {"story": story and story.text, "numbers": story and story.numbers, "no_story": why_none}
        print(document(saga.model_dump(mode="json") | {"jaeger": page} | told))
    else:
        print(_saga_page(saga, page, story.text if story else why_none))


def retry(saga_or_order: str) -> str:
    """Retry a saga that needs attention, and return a line that says so.

    Raises:
        CannotRun: the orchestrator's database can't be used, or has no such saga.
        ActionRefused: the saga does not need attention.
    """
    placed = _apply(saga_or_order, lambda orders, order_id, actor: orders.retry(order_id, actor=actor))
    return f"saga {placed.saga_id} asks once more"


def cancel(saga_or_order: str) -> str:
    """Cancel a saga that is not paid yet, and return a line that says so; a repeated cancel returns the same.

    Raises:
        CannotRun: the orchestrator's database can't be used, or has no such saga.
        ActionRefused: the saga can't be canceled any more.
    """
    placed = _apply(saga_or_order, lambda orders, order_id, actor: orders.cancel(order_id, actor=actor))
    return f"saga {placed.saga_id} turns back"


OrderAction = Callable[[Orders, str, str], Awaitable[Placed]]


def _apply(saga_or_order: str, action: OrderAction) -> Placed:
    actor = operator()

    async def apply() -> Placed:
        async with _open_orders() as orders:
            return await action(orders, await _order_id_of(orders, saga_or_order), actor)

    with session():
        try:
            return asyncio.run(apply())
        except Conflict as error:
            raise ActionRefused(error.detail) from error


@asynccontextmanager
async def _open_orders() -> AsyncIterator[Orders]:
    async with open_store("oms") as database:
        yield Orders(database, Transitions(database, Outbox(database)))


async def _read_sagas(chosen: SagaFilter, limit: int) -> list[SagaView]:
    async with _open_orders() as orders:
        return await orders.sagas(chosen, limit)


async def _read_saga(saga_or_order: str) -> SagaHistoryView:
    async with _open_orders() as orders:
        try:
            return await orders.saga(_text(saga_or_order))
        except NotFound:
            order_id = await _order_id_of(orders, saga_or_order)
            return await orders.saga((await orders.order(order_id)).saga_id)


def _text(saga_or_order: str) -> str:
    """Return an id if a database can look it up."""
    if not is_text(saga_or_order):
        raise NotFound("saga")
    return saga_or_order


async def _order_id_of(orders: Orders, saga_or_order: str) -> str:
    """Return the order's id, from that id or from its saga's."""
    for read in (orders.saga, orders.order):
        try:
            return (await read(_text(saga_or_order))).order_id
        except NotFound:
            continue
    raise CannotRun(f"there is no saga and no order {saga_or_order} in the store that DATABASE_URL names")


def _story(saga: SagaHistoryView, traces: Jaeger) -> tuple[Story | None, str | None]:
    """Return the story of a saga's trace, or why there is none."""
    if saga.trace_id is None:
        return None, "no trace"
    try:
        spans = traces.spans(saga.trace_id)
    except CannotRun as error:
        return None, str(error)
    if not spans:
        return None, "the trace is not in Jaeger"
    findings = check(spans, saga_id=saga.saga_id, trace_id=saga.trace_id)
    return tell(SagaTrace(saga.saga_id, spans), findings, now_ns=time.time_ns()), None


def _saga_table(sagas: list[SagaView]) -> str:
    now = datetime.now(UTC)
    columns = ("SAGA", "ORDER", "STATUS", "STATE", "ATTEMPT", "UNMOVED", "AGE", "REASON")
    rows = (
        (
            saga.saga_id,
            saga.order_id,
            saga.status,
            saga.state,
            saga.attempt,
            age((now - saga.updated_at).total_seconds()),
            age((now - saga.created_at).total_seconds()),
            saga.reason,
        )
        for saga in sagas
    )
    return table(columns, rows) if sagas else "no sagas"


def _saga_page(saga: SagaHistoryView, page: str | None, story: str | None) -> str:
    fields = {
        "saga": saga.saga_id,
        "order": saga.order_id,
        "story": story,
        "status": saga.status,
        "state": f"{saga.state} (attempt {saga.attempt})",
        "reason": saga.reason,
        "began": saga.created_at,
        "moved": saga.updated_at,
        "ended": saga.ended_at,
        "trace": saga.trace_id,
        "jaeger": page,
    }
    lines = [f"{name:<7} {cell(value)}" for name, value in fields.items()]
    columns = ("AT", "INPUT", "VERDICT", "FROM", "TO", "ATTEMPT", "BY", "SPAN")
    rows = (
        (
            entry.at,
            entry.input,
            entry.verdict,
            entry.state_from,
            entry.state,
            entry.attempt,
            entry.actor,
            entry.span_id,
        )
        for entry in saga.history
    )
    return "\n".join([*lines, "", table(columns, rows)])
