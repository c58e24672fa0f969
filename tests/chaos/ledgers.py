"""The books after the chaos: what each service wrote down, and whether the books agree. Reading is apart from judging.

An accepted order is lost if its saga did not end, or did not end as an accepted request says, or if an event is missing
in the audit trail or with its customer. A double effect is money, stock, a notice or an event that is there once too
often, that stayed although it was undone, or whose saga is not in the store, counted on the gateway's own ledger and
the stock's own movements.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from services.messaging.storage.database import Database
from services.notification.notice import TEMPLATES
from services.oms.saga import ENDS, SagaState
from tests.chaos.customers import Order
from tests.chaos.history import Moved, Recorded, check_moves, check_trail

UNKNOWN = "unknown"
"""The state of a saga that others wrote about, and that the order service does not know."""

_ENDED_AS = {"cancel": SagaState.CANCELED, "refund": SagaState.REFUNDED}


@dataclass
class SagaBook:
    """All that was written down about one order."""

    saga_id: str
    order_id: str
    state: str
    total: int
    trace_id: str = ""
    moves: list[Moved] = field(default_factory=list)
    trail: list[Recorded] = field(default_factory=list)
    #: (kind, amount) on the gateway's ledger.
    payments: list[tuple[str, int]] = field(default_factory=list)
    #: (kind, quantity) of the stock.
    movements: list[tuple[str, int]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


@dataclass
class Books:
    """Everything that was written down."""

    sagas: dict[str, SagaBook] = field(default_factory=dict)
    #: Per SKU: what the stock is, and what its movements add up to.
    stock: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Messages that no relay has sent, by service.
    unsent: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What is wrong in the books."""

    about: str
    text: str

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.about}: {self.text}"


def lost(books: Books, accepted: Mapping[str, Order]) -> list[Fault]:
    """Return what was accepted and is missing."""
    by_order = {saga.order_id: saga for saga in books.sagas.values()}
    faults = [Fault(service, f"{rows} messages were never sent") for service, rows in books.unsent.items() if rows]
    for order_id, order in accepted.items():
        saga = by_order.get(order_id)
        if saga is None:
            faults.append(Fault(order_id, "the order was accepted and is not there"))
            continue
        faults += [Fault(saga.saga_id, text) for text in _missing(saga, order)]
    return faults


def double_effects(books: Books) -> list[Fault]:
    """Return what is there too often, or was undone and stayed."""
    faults = [
        Fault(sku, f"the stock is {there}, and its movements say {moved}")
        for sku, (there, moved) in books.stock.items()
        if there != moved
    ]
    return faults + [Fault(saga.saga_id, text) for saga in books.sagas.values() for text in _surplus(saga)]


def _missing(saga: SagaBook, order: Order) -> Iterator[str]:
    state = SagaState(saga.state)
    if state not in ENDS:
        yield f"the saga has not ended: it is {state}"
        return
    for request in order.requested:
        if state is not _ENDED_AS[request]:
            yield f"a {request} was accepted, and the saga is {state}"
    yield from check_moves(saga.moves, state)
    yield from check_trail(saga.trail, state)
    told = Counter(TEMPLATES[event.event_type] for event in saga.trail if event.event_type in TEMPLATES)
    if missing := told - Counter(saga.notices):
        yield f"the customer was not told of {', '.join(missing)}"


def _surplus(saga: SagaBook) -> Iterator[str]:
    if saga.state == UNKNOWN:
        yield "it was written about, and is not in the store"
        return
    for what, entries in (("gateway", saga.payments), ("stock", saga.movements)):
        for kind, times in Counter(kind for kind, _ in entries).items():
            if times > 1:
                yield f"the {what} has {kind} {times} times"
    if SagaState(saga.state) in ENDS:
        yield from _kept(saga)
    for event_type, times in Counter(event.event_type for event in saga.trail).items():
        if times > 1:
            yield f"the trail has {event_type} {times} times"
    for notice, times in Counter(saga.notices).items():
        if times > 1:
            yield f"the customer was told {times} times of {notice}"


def _kept(saga: SagaBook) -> Iterator[str]:
    """Compare what an ended saga holds with what its end requires: everything if it completed, otherwise nothing."""
    keeps = saga.state == SagaState.COMPLETED
    paid, taken = sum(amount for _, amount in saga.payments), -sum(quantity for _, quantity in saga.movements)
    if paid != (saga.total if keeps else 0):
        yield f"the customer of a {saga.state} saga over {saga.total} has paid {paid}"
    if taken != (1 if keeps else 0):
        yield f"a {saga.state} saga holds {taken} of the stock"


async def read(url: str) -> Books:
    """Read all books, each service's own, from the PostgreSQL database that they share.

    Raises:
        Unavailable: the database is away.
    """
    database = Database(url)
    books = Books()
    try:
        async with database.reading() as connection:

            async def rows(statement: str) -> Sequence[Any]:
                return (await connection.execute(text(statement))).all()

            for row in await rows(_SAGAS):
                context = (row.trace_context or {}).get("traceparent", "--")
                books.sagas[row.saga_id] = SagaBook(
                    row.saga_id, row.order_id, row.state, row.total_amount, context.split("-")[1]
                )
            _sort_in(books, {name: await rows(statement) for name, statement in _ENTRIES.items()})
            for row in await rows(_STOCK):
                books.stock[row.sku] = (int(row.quantity), int(row.moved))
            for service in ("oms", "inventory", "payment"):
                unsent = await rows(f"SELECT count(*) FROM {service}.outbox WHERE sent_at IS NULL")  # noqa: S608  a constant
                books.unsent[service] = int(unsent[0][0])
    finally:
        await database.close()
    return books


_SAGAS = """
SELECT s.saga_id, s.order_id, s.state, s.trace_context, o.total_amount
FROM oms.sagas s JOIN oms.orders o USING (order_id)
"""
_STOCK = """
SELECT s.sku, s.quantity, coalesce(sum(m.quantity), 0) AS moved
FROM inventory.stock s LEFT JOIN inventory.movements m USING (sku) GROUP BY s.sku, s.quantity
"""
_ENTRIES = {
    "moves": "SELECT * FROM oms.saga_history WHERE verdict = 'applied' ORDER BY id",
    "trail": "SELECT * FROM audit.trail ORDER BY id",
    "payments": "SELECT split_part(key, ':', 1) AS saga_id, kind, amount FROM payment_gateway.gateway_entries",
    "movements": "SELECT saga_id, kind, quantity FROM inventory.movements WHERE saga_id IS NOT NULL ORDER BY id",
    "notices": "SELECT saga_id, template FROM notification.notifications",
}


def _sort_in(books: Books, entries: Mapping[str, Sequence[Any]]) -> None:
    """Add each entry to the book of its saga."""
    found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for name, rows in entries.items():
        for row in rows:
            found[row.saga_id][name].append(_VALUES[name](row))
    for saga_id, lists in found.items():
        saga = books.sagas.setdefault(saga_id, SagaBook(saga_id, "", UNKNOWN, 0))
        for name, values in lists.items():
            setattr(saga, name, values)


_VALUES: Mapping[str, Any] = {
    "moves": lambda row: Moved(row.sequence, row.input, row.state_from, row.state),
    "trail": lambda row: Recorded(row.topic, row.offset, str(row.event_id), row.event_type, row.sequence),
    "payments": lambda row: (row.kind, int(row.amount)),
    "movements": lambda row: (row.kind, int(row.quantity)),
    "notices": lambda row: row.template,
}
