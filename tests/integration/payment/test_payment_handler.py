"""The payment service and its gateway on two real databases: money moves once, wherever a process dies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import func, select, text

from services.contracts import Money, topics
from services.contracts.commands import ChargePayment, RefundPayment
from services.messaging.errors import Fatal, MessageTooLarge
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.messaging.storage.migrations import upgrade
from services.payment import store
from services.payment.charge import ChargeState
from services.payment.gateway import GatewayAnswer, GatewayBusy, GatewayPlan, SimulatedGateway
from services.payment.gateway_tables import entries, keys
from services.payment.handlers import PaymentHandler
from services.payment.settings import GatewaySettings
from services.payment.tables import charges
from tests.support.commands import EUR_10, charge, refund, reserve
from tests.support.eventually import eventually
from tests.support.replies import Reply, replies_in


class _Died(Exception):
    """The process dies here."""


@dataclass
class DyingGateway:
    """A gateway whose caller dies: the gateway has committed, and nobody gets its answer."""

    real: SimulatedGateway
    dies: bool = False
    asked: list[str] = field(default_factory=list)

    async def charge(self, key: str, amount: Money, method: str) -> GatewayAnswer:
        """Charge, and maybe die."""
        self.asked.append(key)
        outcome = await self.real.charge(key, amount, method)
        self._maybe_die()
        return outcome

    async def refund(self, key: str) -> None:
        """Refund, and maybe die."""
        self.asked.append(key)
        await self.real.refund(key)
        self._maybe_die()

    def _maybe_die(self) -> None:
        if self.dies:
            self.dies = False
            raise _Died


@dataclass(frozen=True)
class Payment:
    """The service without its broker."""

    database: Database
    ledger: Database
    gateway: DyingGateway
    handle: PaymentHandler
    waits: list[float]

    async def said(self) -> list[tuple[str, str | None]]:
        """Read the answers so far: type and reason."""
        return [(reply.type, reply.reason) for reply in await self.answers()]

    async def answers(self) -> list[Reply]:
        """Read the answers so far."""
        return await replies_in(self.database)

    async def moved(self) -> list[tuple[str, int]]:
        """Read what the gateway's ledger says moved."""
        async with self.ledger.reading() as connection:
            rows = await connection.execute(select(entries.c.kind, entries.c.amount).order_by(entries.c.id))
            return [(row.kind, row.amount) for row in rows]


@pytest.fixture
async def payment(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Payment]:
    """A payment service whose gateway is busy twice for `pm_flaky`, and notes its waits instead of waiting."""
    database_url = await service_database("payment")
    ledger_url = GatewaySettings().url(database_url)
    await upgrade(ledger_url, "payment_gateway", scripts="services.payment.gateway_migrations")
    database, ledger = Database(database_url, schema="payment"), Database(ledger_url, schema="payment_gateway")
    waits: list[float] = []

    async def note(seconds: float) -> None:
        waits.append(seconds)

    gateway = DyingGateway(SimulatedGateway(ledger, GatewayPlan(slow_s=2.0, flaky_failures=2), wait=note))
    handler = PaymentHandler(database, Inbox(topics.PAYMENT_GROUP), Outbox(database), gateway)
    yield Payment(database, ledger, gateway, handler, waits)
    await database.close()
    await ledger.close()


async def test_a_charge_moves_money_and_answers_its_command(payment: Payment) -> None:
    """A charge is one entry in the gateway's ledger, and its reply names the command, the saga and the order."""
    command = charge()
    await payment.handle(command)
    (answer,) = await payment.answers()
    assert answer.type == "payment.charged"
    assert (answer.saga_id, answer.order_id, answer.sequence) == (command.saga_id, command.order_id, 2)
    assert answer.command_id == str(command.payload.command_id)
    assert await payment.moved() == [("charge", 1000)]


async def test_a_redelivered_charge_changes_and_answers_nothing(payment: Payment) -> None:
    """The same command twice is one charge and one answer, and the gateway is asked once."""
    command = charge()
    await payment.handle(command)
    await payment.handle(command)
    assert await payment.said() == [("payment.charged", None)]
    assert payment.gateway.asked == ["saga-1:charge"]


async def test_a_new_attempt_gets_the_stored_outcome(payment: Payment) -> None:
    """A second attempt is answered for its own command, without the gateway."""
    await payment.handle(charge())
    again = charge()
    await payment.handle(again)
    assert await payment.said() == [("payment.charged", None)] * 2
    assert (await payment.answers())[1].command_id == str(again.payload.command_id)
    assert payment.gateway.asked == ["saga-1:charge"]


async def test_a_decline_is_final(payment: Payment) -> None:
    """`pm_declined` is declined each time, moves nothing, and its refund succeeds."""
    for command in (charge(method="pm_declined"), charge(method="pm_declined"), refund()):
        await payment.handle(command)
    declined = ("payment.declined", "declined")
    assert await payment.said() == [declined, declined, ("payment.refunded", None)]
    assert await payment.moved() == []


async def test_an_unknown_method_is_declined(payment: Payment) -> None:
    """A payment method that the gateway does not know is declined with a reason."""
    await payment.handle(charge(method="pm_gold"))
    assert await payment.said() == [("payment.declined", "unknown_method")]


async def test_a_refund_pays_back_once(payment: Payment) -> None:
    """Refunded twice, the ledger balances to nothing, and both refunds succeed."""
    for command in (charge(), refund(), refund()):
        await payment.handle(command)
    assert (await payment.said())[1:] == [("payment.refunded", None)] * 2
    assert await payment.moved() == [("charge", 1000), ("refund", -1000)]


async def test_a_refund_of_nothing_refuses_a_late_charge(payment: Payment) -> None:
    """A refund that overtook its charge succeeds, and the charge that comes late moves nothing."""
    await payment.handle(refund())
    await payment.handle(charge())
    assert await payment.said() == [("payment.refunded", None), ("payment.declined", "undone")]
    assert await payment.moved() == []


async def test_the_gateway_keeps_a_tombstone_too(payment: Payment) -> None:
    """A charge that was on its way while the refund ran is refused by the gateway itself."""
    await payment.handle(refund())
    outcome = await payment.gateway.real.charge("saga-1:charge", EUR_10, "pm_ok")
    assert outcome == GatewayAnswer("undone")
    assert await payment.moved() == []


async def test_a_crash_after_the_gateway_charges_once(payment: Payment) -> None:
    """The process dies between the gateway's commit and its own: the redelivery asks again and nothing moves twice."""
    command = charge()
    payment.gateway.dies = True
    with pytest.raises(_Died):
        await payment.handle(command)
    assert await payment.answers() == []
    await payment.handle(command)
    assert await payment.said() == [("payment.charged", None)]
    assert payment.gateway.asked == ["saga-1:charge"] * 2
    assert await payment.moved() == [("charge", 1000)]


async def test_a_crash_after_the_gateway_refunds_once(payment: Payment) -> None:
    """The process dies between the gateway's refund and its own commit: the redelivery pays back nothing more."""
    await payment.handle(charge())
    command = refund()
    payment.gateway.dies = True
    with pytest.raises(_Died):
        await payment.handle(command)
    await payment.handle(command)
    assert (await payment.said())[1:] == [("payment.refunded", None)]
    assert await payment.moved() == [("charge", 1000), ("refund", -1000)]


@pytest.mark.parametrize("command", [charge(), refund()], ids=["charge", "refund"])
async def test_an_outcome_is_kept_with_its_answer_alone(
    payment: Payment, command: ChargePayment | RefundPayment
) -> None:
    """If the answer can't be written nothing is, not even that the command came: its redelivery is answered."""
    mute = Outbox(payment.database, max_bytes=1)
    with pytest.raises(MessageTooLarge):
        await PaymentHandler(payment.database, Inbox(topics.PAYMENT_GROUP), mute, payment.gateway)(command)
    await payment.handle(command)
    assert len(await payment.answers()) == 1


async def test_a_refund_overtakes_a_charge_that_died(payment: Payment) -> None:
    """Charged at the gateway, unknown here, then refunded: the redelivered charge is refused, nothing is owed."""
    command = charge()
    payment.gateway.dies = True
    with pytest.raises(_Died):
        await payment.handle(command)
    await payment.handle(refund())
    await payment.handle(command)
    assert await payment.said() == [("payment.refunded", None), ("payment.declined", "undone")]
    assert await payment.moved() == [("charge", 1000), ("refund", -1000)]


async def test_attempts_and_refunds_at_the_same_time_leave_nothing_charged(payment: Payment) -> None:
    """Whatever the order in which concurrent commands of one saga win, all are answered and no money stays moved."""
    commands: list[ChargePayment | RefundPayment] = [charge(), refund(), charge(), refund(), charge()]
    await asyncio.gather(*(payment.handle(command) for command in commands))
    replies = await payment.answers()
    assert {reply.command_id for reply in replies} == {str(command.payload.command_id) for command in commands}
    assert await payment.moved() in ([], [("charge", 1000), ("refund", -1000)])


async def test_a_held_charge_is_seen_as_its_holder_leaves_it(payment: Payment) -> None:
    """A transaction that wants a locked charge waits for the lock, and then sees what its holder wrote."""
    if payment.database.is_sqlite:
        pytest.skip("SQLite has one writer: nobody else is in a transaction")
    command = charge()
    await payment.handle(command)

    async def state_when_held() -> ChargeState:
        async with payment.database.transaction() as connection:
            return (await store.hold(connection, [command]))[command.saga_id].state

    async with payment.database.transaction() as connection:
        held = (await store.hold(connection, [command]))[command.saga_id]
        second = asyncio.create_task(state_when_held())

        async def waits_or_is_done() -> bool:
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            async with payment.database.reading() as observer:
                return second.done() or bool(await observer.scalar(waiting))

        await eventually(waits_or_is_done)
        await store.save(connection, [replace(held, state=ChargeState.REFUNDED)])
    assert await second is ChargeState.REFUNDED


async def test_a_busy_gateway_is_transient_and_counted(payment: Payment) -> None:
    """`pm_flaky` is busy for two tries, counted in the ledger; then the charge succeeds, once."""
    command = charge(method="pm_flaky")
    for _ in range(2):
        with pytest.raises(GatewayBusy):
            await payment.handle(command)
    await payment.handle(command)
    async with payment.ledger.reading() as connection:
        assert await connection.scalar(select(keys.c.tries)) == 3
    assert await payment.said() == [("payment.charged", None)]
    assert await payment.moved() == [("charge", 1000)]


async def test_a_slow_gateway_has_charged_before_it_answers(payment: Payment) -> None:
    """`pm_slow` waits for its time once, after its commit."""
    await payment.handle(charge(method="pm_slow"))
    assert payment.waits == [2.0]
    assert await payment.gateway.real.charge("saga-1:charge", EUR_10, "pm_slow") == GatewayAnswer()
    assert payment.waits == [2.0]


async def test_a_failed_command_leaves_nothing(payment: Payment) -> None:
    """A command for another service is fatal, and nothing of it is kept."""
    with pytest.raises(Fatal):
        await payment.handle(reserve())
    async with payment.database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(charges)) == 0
