"""The payment's rules: every request in every state has an answer."""

from itertools import product

from services.payment.charge import ACTIONS, ChargeAction, ChargeRequest, ChargeState, idempotency_key, refusal
from services.payment.settings import GatewaySettings


def test_every_request_in_every_state_has_an_action() -> None:
    """The table has no gap: no order of commands is an error."""
    assert set(ACTIONS) == set(product(ChargeState, ChargeRequest))


def test_the_gateway_is_asked_only_while_it_may_matter() -> None:
    """The gateway is asked to charge while the outcome is unknown, and to refund unless no money can have moved."""
    assert [state for (state, _), action in ACTIONS.items() if action is ChargeAction.CHARGE] == [ChargeState.NEW]
    assert [state for (state, _), action in ACTIONS.items() if action is ChargeAction.REFUND] == [
        ChargeState.NEW,
        ChargeState.CHARGED,
    ]


def test_the_key_names_saga_and_step() -> None:
    """Every attempt at a step has the same key, and no other step has it."""
    assert idempotency_key("saga-1", "charge") == "saga-1:charge"


def test_a_refusal_says_why() -> None:
    """A refusal's reason is the stored one, or `undone` after a refund; a charge is no refusal."""
    assert refusal(ChargeState.CHARGED, None) is None
    assert refusal(ChargeState.DECLINED, "declined") == "declined"
    assert refusal(ChargeState.REFUNDED, None) == "undone"


def test_the_gateway_has_a_database_of_its_own() -> None:
    """A file beside the service's file; on PostgreSQL the same server, where its schema is its own; or what is set."""
    settings = GatewaySettings()
    assert settings.url("sqlite+aiosqlite:///data/payment.sqlite") == "sqlite+aiosqlite:///data/payment.sqlite.gateway"
    assert settings.url("postgresql+asyncpg://u:p@db/oms") == "postgresql+asyncpg://u:p@db/oms"
    assert GatewaySettings(database_url="sqlite+aiosqlite:///g").url("postgresql+asyncpg://db/oms").endswith("///g")
