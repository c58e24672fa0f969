"""What `sagatrace saga` does, on the orchestrator's database.

A retry or a cancel is written there with its messages, in one transaction, and the running relay sends them: it works
while the order API is away, and it is the way of every other message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from services.cli.durations import age
from services.cli.errors import CannotRun
from services.cli.jaeger import Jaeger
from services.cli.printable import is_text
from services.cli.rows import cell, document, table
from services.cli.session import operator, session
from services.cli.stores import open_store
from services.messaging.outbox import Outbox
from services.oms.orders import Orders
from services.oms.problems import Conflict, NotFound
from services.oms.records import SagaFilter
from services.oms.transitions import Transitions
from services.oms.views import Placed, SagaHistoryView, SagaView


class ActionRefused(Exception):
    """The saga is where this can't be asked of it; the text is for the user."""


def show_list(wanted: SagaFilter, limit: int, *, as_json: bool) -> None:
    """Print sagas, the one that has not moved for longest first.

    Raises:
        CannotRun: the orchestrator's database can't be read.
    """
    found = asyncio.run(_sagas(wanted, limit))
    print(document([saga.model_dump(mode="json") for saga in found]) if as_json else _list(found))


def show_one(saga_or_order: str, jaeger: str, *, as_json: bool) -> None:
    """Print a saga with its history, its trace and the page where Jaeger shows that.

    Raises:
        CannotRun: the orchestrator's database can't be read, or has no such saga.
    """
    saga, pages = asyncio.run(_saga(saga_or_order)), Jaeger(jaeger)
    page = pages.page(saga.trace_id) if saga.trace_id else None
    print(document(saga.model_dump(mode="json") | {"jaeger": page}) if as_json else _story(saga, page))


def retry(saga_or_order: str) -> str:
    """Take a saga on that needs attention, and say so.

    Raises:
        CannotRun: the orchestrator's database can't be used, or has no such saga.
        Refused: the saga does not need attention.
    """
    placed = _act(saga_or_order, lambda desk, order, who: desk.retry(order, actor=who))
    return f"saga {placed.saga_id} asks once more"


def cancel(saga_or_order: str) -> str:
    """Turn a saga back before it is paid, and say so; again, it gets the first answer.

    Raises:
        CannotRun: the orchestrator's database can't be used, or has no such saga.
        Refused: the saga is past that.
    """
    placed = _act(saga_or_order, lambda desk, order, who: desk.cancel(order, actor=who))
    return f"saga {placed.saga_id} turns back"


Asked = Callable[[Orders, str, str], Awaitable[Placed]]


def _act(saga_or_order: str, ask: Asked) -> Placed:
    who = operator()

    async def act() -> Placed:
        async with _desk() as desk:
            return await ask(desk, await _order_of(desk, saga_or_order), who)

    with session():
        try:
            return asyncio.run(act())
        except Conflict as error:
            raise ActionRefused(error.detail) from error


@asynccontextmanager
async def _desk() -> AsyncIterator[Orders]:
    async with open_store("oms") as database:
        yield Orders(database, Transitions(database, Outbox(database)))


async def _sagas(wanted: SagaFilter, limit: int) -> list[SagaView]:
    async with _desk() as desk:
        return await desk.sagas(wanted, limit)


async def _saga(saga_or_order: str) -> SagaHistoryView:
    async with _desk() as desk:
        try:
            return await desk.saga(_text(saga_or_order))
        except NotFound:
            order = await _order_of(desk, saga_or_order)
            return await desk.saga((await desk.order(order)).saga_id)


def _text(saga_or_order: str) -> str:
    """Give an id that a database can be asked for."""
    if not is_text(saga_or_order):
        raise NotFound("saga")
    return saga_or_order


async def _order_of(desk: Orders, saga_or_order: str) -> str:
    """Give the order that is meant, whether its id or its saga's was given."""
    for read in (desk.saga, desk.order):
        try:
            return (await read(_text(saga_or_order))).order_id
        except NotFound:
            continue
    raise CannotRun(f"there is no saga and no order {saga_or_order} in the store that DATABASE_URL names")


def _list(sagas: list[SagaView]) -> str:
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


def _story(saga: SagaHistoryView, page: str | None) -> str:
    told = {
        "saga": saga.saga_id,
        "order": saga.order_id,
        "status": saga.status,
        "state": f"{saga.state} (attempt {saga.attempt})",
        "reason": saga.reason,
        "began": saga.created_at,
        "moved": saga.updated_at,
        "ended": saga.ended_at,
        "trace": saga.trace_id,
        "jaeger": page,
    }
    lines = [f"{name:<7} {cell(value)}" for name, value in told.items()]
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
