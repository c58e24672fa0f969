"""The books are judged right: what is lost or was done twice is found, and nothing in books that agree."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from services.cli.run import Service
from services.cli.scenarios import Request
from tests.chaos.customers import Order
from tests.chaos.history import Moved, Recorded
from tests.chaos.killers import plan
from tests.chaos.ledgers import UNKNOWN, Books, SagaBook, double_effects, lost
from tests.chaos.processes import Instance, Spawned

_ORDER_EVENTS, _SAGA_EVENTS = "oms.order.events", "oms.saga.events"


def _books() -> Books:
    """Write the books of one order that was completed and taken back, and of one that was completed."""
    forward = [
        Moved(1, "start", "new", "reserving"),
        Moved(2, "inventory.reserved", "reserving", "charging"),
        Moved(3, "payment.charged", "charging", "completed"),
    ]
    told = [
        Recorded(_ORDER_EVENTS, 0, "a", "order.created", 1),
        Recorded(_SAGA_EVENTS, 0, "b", "saga.started", 1),
        Recorded(_ORDER_EVENTS, 3, "c", "order.confirmed", 3),
        Recorded(_SAGA_EVENTS, 4, "d", "saga.completed", 3),
    ]
    kept = SagaBook("s-1", "o-1", "completed", 1500, moves=forward, trail=told)
    kept.payments, kept.movements = [("charge", 1500)], [("reserve", -1)]
    kept.notices = ["order_received", "order_confirmed"]
    back = SagaBook("s-2", "o-2", "refunded", 1500, payments=[("charge", 1500), ("refund", -1500)])
    back.movements = [("reserve", -1), ("release", 1)]
    back.moves = [
        *forward,
        Moved(4, "refund", "completed", "returning_refund"),
        Moved(5, "payment.refunded", "returning_refund", "returning_release"),
        Moved(6, "inventory.released", "returning_release", "refunded"),
    ]
    back.trail = [
        *told,
        Recorded(_ORDER_EVENTS, 7, "e", "order.refunded", 6),
        Recorded(_SAGA_EVENTS, 9, "f", "saga.refunded", 6),
    ]
    back.notices = ["order_received", "order_confirmed", "order_refunded"]
    return Books({"s-1": kept, "s-2": back}, stock={"sku_ok": (99, 99)}, unsent={"oms": 0})


def _accepted() -> dict[str, Order]:
    return {
        "o-1": Order("o-1", "s-1", "", "completed"),
        "o-2": Order("o-2", "s-2", "", "refunded", [Request.REFUND]),
    }


def test_books_that_agree_have_no_faults() -> None:
    """Two orders that ended as they should are neither lost nor done twice."""
    assert lost(_books(), _accepted()) == []
    assert double_effects(_books()) == []


def _set(saga_id: str, name: str, value: object) -> Callable[[Books], None]:
    return lambda books: setattr(books.sagas[saga_id], name, value)


def _drop(saga_id: str, name: str, at: int = -1) -> Callable[[Books], None]:
    return lambda books: getattr(books.sagas[saga_id], name).pop(at)


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(lambda books: books.sagas.pop("s-1"), id="the order"),
        pytest.param(_set("s-1", "state", "charging"), id="the end"),
        pytest.param(_set("s-2", "state", "completed"), id="an accepted refund"),
        pytest.param(_drop("s-1", "trail"), id="an event"),
        pytest.param(_drop("s-1", "moves", 1), id="a move"),
        pytest.param(_drop("s-1", "notices"), id="a notice"),
        pytest.param(lambda books: books.unsent.update(oms=1), id="a message that is not sent"),
    ],
)
def test_what_is_lost_is_found(lose: Callable[[Books], object]) -> None:
    """An accepted order that is missing, has not ended as it was asked to, or was not told of everywhere is lost."""
    books = _books()
    lose(books)
    assert lost(books, _accepted()) != []


@pytest.mark.parametrize(
    "repeat",
    [
        pytest.param(_set("s-1", "payments", [("charge", 1500), ("charge", 1500)]), id="charged twice"),
        pytest.param(_set("s-1", "payments", []), id="not charged"),
        pytest.param(_set("s-2", "payments", [("charge", 1500)]), id="not paid back"),
        pytest.param(_set("s-1", "movements", [("reserve", -1), ("reserve", -1)]), id="reserved twice"),
        pytest.param(_set("s-2", "movements", [("reserve", -1)]), id="not released"),
        pytest.param(lambda books: books.stock.update(sku_ok=(98, 99)), id="stock without a movement"),
        pytest.param(lambda books: books.sagas["s-1"].trail.append(books.sagas["s-1"].trail[0]), id="an event"),
        pytest.param(lambda books: books.sagas["s-1"].notices.append("order_received"), id="a notice"),
        pytest.param(lambda books: books.sagas.update(s=SagaBook("s", "", UNKNOWN, 0, notices=["a"])), id="no saga"),
    ],
)
def test_what_was_done_twice_is_found(repeat: Callable[[Books], object]) -> None:
    """What is there too often, stays where it was undone, or is of a saga that nobody began is a double effect."""
    books = _books()
    repeat(books)
    assert double_effects(books) != []


def test_a_plan_follows_from_its_seed(tmp_path: Path) -> None:
    """The same seed and instance have the same plan, and another seed has another."""
    instance = Instance(Service.OMS, 1, {}, tmp_path / "log", Spawned)
    plans = [list(islice(plan(instance, Random(f"{seed}/oms-1")), 20)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
