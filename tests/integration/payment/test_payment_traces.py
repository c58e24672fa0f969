"""The payment's part of an order's trace: a refund links to the charge that it undoes, and a no is told."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from opentelemetry.trace import StatusCode

from services.contracts import topics
from services.messaging.outbox.outbox import Outbox
from services.messaging.storage.database import Database
from services.messaging.storage.inbox import Inbox
from services.messaging.trace_context import span_context
from services.payment.handlers import PaymentHandler
from services.payment.main import simulated_gateway
from tests.support.commands import charge, refund
from tests.support.replies import replies_in
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans


@pytest.fixture
async def database(service_database: Callable[[str], Awaitable[str]]) -> AsyncIterator[Database]:
    """The payment's database."""
    database_url = await service_database("payment")
    opened = Database(database_url, schema="payment")
    yield opened
    await opened.close()


@pytest.fixture
async def handle(database: Database) -> AsyncIterator[PaymentHandler]:
    """The payment's handler, with a gateway as the service opens it."""
    async with simulated_gateway(database.url.render_as_string(hide_password=False)) as gateway:
        yield PaymentHandler(database, Inbox(topics.PAYMENT_GROUP), Outbox(database), gateway)


async def test_a_refund_links_to_the_charge(database: Database, handle: PaymentHandler) -> None:
    """The process span of a refund links to the process span of the charge, and each reply comes from its own span."""
    with RecordedSpans(instrumented=False) as spans:
        tracer = spans.tracer_provider.get_tracer("test")
        for name, command in (("process charge", charge()), ("process refund", refund())):
            with tracer.start_as_current_span(name):
                await handle(command)
    (link,) = spans.one("process refund").links
    assert dict(link.attributes or {}) == {"link.type": "compensates"}
    assert link.context.span_id == spans.one("process charge").context.span_id
    writers = [span_context(answer.trace_context) for answer in await replies_in(database)]
    assert [writer and writer.span_id for writer in writers] == [
        spans.one("process charge").context.span_id,
        spans.one("process refund").context.span_id,
    ]


async def test_a_refund_of_nothing_links_to_nothing(handle: PaymentHandler) -> None:
    """There is no span to link to if nothing was ever charged."""
    with RecordedSpans(instrumented=False) as spans:
        with spans.tracer_provider.get_tracer("test").start_as_current_span("process refund"):
            await handle(refund())
        assert spans.one("process refund").links == ()


async def test_the_span_of_a_declined_charge_says_no(handle: PaymentHandler) -> None:
    """A charge that is declined is an error with the reply's type, whatever the reason; its refund is none."""
    with RecordedSpans(instrumented=False) as spans:
        for method in ("pm_declined", "pm_unheard_of"):
            with spans.tracer_provider.get_tracer("test").start_as_current_span(method):
                await handle(charge(f"saga-{method}", method=method))
        with spans.tracer_provider.get_tracer("test").start_as_current_span("process refund"):
            await handle(refund("saga-pm_declined"))
    for method in ("pm_declined", "pm_unheard_of"):
        span = spans.one(method)
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "payment.declined")
        told = {"error.type": "declined", "sagatrace.reply.type": "payment.declined"}
        assert told.items() <= attributes_of(span).items()
    assert spans.one("process refund").status.status_code is StatusCode.UNSET
