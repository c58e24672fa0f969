"""The stock's rules: every request in every state has an answer."""

from itertools import product

import pytest

from services.contracts import Item
from services.inventory.stock import (
    ACTIONS,
    Decision,
    FailurePlan,
    ReservationAction,
    ReservationRequest,
    ReservationState,
    decide,
    refusal,
    wanted,
)
from tests.support.commands import EUR_10, reserve


def test_every_request_in_every_state_has_an_action() -> None:
    """The table has no gap: no order of commands is an error."""
    assert set(ACTIONS) == set(product(ReservationState, ReservationRequest))


def test_stock_moves_at_most_out_and_back() -> None:
    """Only a new reservation takes stock, and only a reserved one gives it back."""
    assert [state for (state, _), action in ACTIONS.items() if action is ReservationAction.DECIDE] == [
        ReservationState.NEW
    ]
    assert [state for (state, _), action in ACTIONS.items() if action is ReservationAction.GIVE_BACK] == [
        ReservationState.RESERVED
    ]


def test_lines_of_one_sku_are_added_up_in_order() -> None:
    """What an order wants of a SKU is one number, and SKUs come in one order, in which their rows are locked."""
    items = [Item(sku=sku, quantity=quantity, unit_price=EUR_10) for sku, quantity in (("b", 1), ("a", 2), ("b", 3))]
    assert list(wanted(items).items()) == [("a", 2), ("b", 4)]


@pytest.mark.parametrize(
    ("available", "decision"),
    [
        ({"a": 2, "b": 1}, Decision(ReservationState.RESERVED)),
        ({"a": 2, "b": 0}, Decision(ReservationState.REJECTED, "out_of_stock")),
        ({"a": 2}, Decision(ReservationState.REJECTED, "out_of_stock")),
    ],
)
def test_all_lines_are_reserved_or_none(available: dict[str, int], decision: Decision) -> None:
    """One line without stock refuses the whole reservation."""
    assert decide({"a": 2, "b": 1}, available) == decision


def test_a_refusal_says_why() -> None:
    """A refusal's reason is the stored one, or `undone` after a release; a reservation is no refusal."""
    assert refusal(ReservationState.RESERVED, None) is None
    assert refusal(ReservationState.REJECTED, "out_of_stock") == "out_of_stock"
    assert refusal(ReservationState.RELEASED, None) == "undone"


def test_failures_are_chosen_by_what_is_ordered() -> None:
    """`sku_none` has no stock, `sku_slow` is late, and every other SKU is neither."""
    plan = FailurePlan(delay_s=2.0, quantity=50)
    assert [plan.first_quantity(sku) for sku in ("sku_none", "sku_slow", "sku_a")] == [0, 50, 50]
    assert [plan.delay_of(wanted(reserve(sku=sku).payload.items)) for sku in ("sku_slow", "sku_a")] == [2.0, 0.0]
