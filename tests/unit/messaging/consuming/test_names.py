"""What the process span of a record is called, and what it says about the message."""

import json
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from services.audit.entry import entry_of
from services.contracts import Message, encode, new_id
from services.contracts.replies import PaymentDeclined, Refusal
from services.contracts.topics import INVENTORY_COMMANDS, PAYMENT_COMMANDS, SAGA_EVENTS, SAGA_REPLIES
from services.messaging.breaker.breaker import Breaker, TripInMemory
from services.messaging.breaker.tally import Cooldown, Limits
from services.messaging.dead_letters.headers import read_dead_letter
from services.messaging.dead_letters.redrive import retried_headers
from services.messaging.trace_context import mark_refusal
from tests.support.commands import charge, release, reserve
from tests.support.ladder import GROUP, Handling, delivery
from tests.support.records import DeadLetterTopic, record
from tests.support.spans import attributes_of
from tracing.testing import RecordedSpans

BAD_TOTAL = {"command_id": str(new_id()), "step": "charge", "total": {"amount": "forty-one", "currency": "EUR"}}
BAD = {"event_type": "payment.charge", "saga_id": "s", "order_id": "o", "sequence": 1, "payload": BAD_TOTAL}
UNKNOWN = b'{"event_type": "saga.of-o-zebra", "saga_id": "s", "order_id": "o", "sequence": 1}'


async def test_a_command_names_its_span_and_says_what_it_undoes(spans: RecordedSpans) -> None:
    """A command's type is its span's name, the topic is beside it, and a compensation says what it undoes."""
    for command in (reserve(), release()):
        await delivery(Handling(), DeadLetterTopic()).deliver(record(encode(command), topic=INVENTORY_COMMANDS))
    forward, back = spans.one("process inventory.reserve"), spans.one("process inventory.release")
    assert attributes_of(back)["messaging.destination.name"] == INVENTORY_COMMANDS
    undoes = {"saga.compensation": True, "saga.compensates": "inventory.reserve"}
    assert undoes.items() <= attributes_of(back).items()
    assert undoes.keys().isdisjoint(attributes_of(forward))


async def test_a_redriven_record_is_named_by_its_message(spans: RecordedSpans) -> None:
    """On a retry topic the type is in the name too, and the topic is where it came from this time."""
    topic = DeadLetterTopic()
    failing = Handling([ValueError()] * 3)
    await delivery(failing, topic).deliver(record(encode(charge()), topic=PAYMENT_COMMANDS))
    (kept,) = topic.kept
    read = read_dead_letter(record(kept.value, topic=f"{GROUP}.dlq", headers=kept.headers))
    again = record(kept.value, topic=f"{GROUP}.retry", headers=retried_headers(read, new_id()))
    await delivery(failing, topic).deliver(again)
    found = spans.named("process payment.charge")
    topics = [attributes_of(span)["messaging.destination.name"] for span in found]
    assert topics == [PAYMENT_COMMANDS, f"{GROUP}.retry"]


@pytest.mark.parametrize(
    ("value", "name", "description"),
    [
        (b"{", f"process {PAYMENT_COMMANDS}", "Undecodable: the value is not a JSON object in UTF-8"),
        (
            json.dumps(BAD).encode(),
            "process payment.charge",
            "Invalid: payload.total.amount: int_type; payload.payment_method: missing",
        ),
        (UNKNOWN, f"process {PAYMENT_COMMANDS}", "UnknownType: the message's event_type is not known here"),
        (b"{}", f"process {PAYMENT_COMMANDS}", "Invalid: event_type: union_tag_not_found"),
    ],
    ids=["unreadable", "a bad field", "an unknown type", "no type"],
)
async def test_poison_is_named_by_a_known_type_and_says_what_is_wrong(
    spans: RecordedSpans, value: bytes, name: str, description: str
) -> None:
    """Only a type that the contract knows names the span; the status has the field and the rule, never the value."""
    await delivery(Handling(), DeadLetterTopic()).deliver(record(value, topic=PAYMENT_COMMANDS))
    (span,) = spans.finished
    assert (span.name, span.status.status_code, span.status.description) == (name, StatusCode.ERROR, description)
    assert "forty-one" not in span.to_json()
    assert "zebra" not in span.to_json()


async def test_a_decoder_of_ones_own_gives_no_name_to_what_the_contract_does_not_know(spans: RecordedSpans) -> None:
    """A message whose type may be any text keeps the topic in its name."""
    await delivery(Handling(), DeadLetterTopic(), decode=entry_of).deliver(record(UNKNOWN, topic=SAGA_EVENTS))
    span = spans.one(f"process {SAGA_EVENTS}")
    assert attributes_of(span)["saga.id"] == "s"


async def test_a_failure_is_described_by_our_own_words_only(spans: RecordedSpans) -> None:
    """The text of a foreign error may quote a payload, so its class alone describes the status."""
    await delivery(Handling([ValueError("forty-one")] * 3), DeadLetterTopic()).deliver(record())
    assert spans.one("process saga.started").status.description == "ValueError"


async def test_a_refusal_is_no_failure_of_the_consumer(spans: RecordedSpans) -> None:
    """A participant's no is an error on its span, and nowhere else: not in metrics, dead letters or the breaker."""
    breaker = Breaker(GROUP, Limits(1, 1, 0.0), Cooldown(1, 1, 1), TripInMemory())
    topic = DeadLetterTopic()

    async def decline(command: Message) -> None:
        mark_refusal(_declined(command))

    for _ in range(3):
        await delivery(decline, topic, breaker=breaker).deliver(record(encode(charge()), topic=PAYMENT_COMMANDS))
    for span in spans.named("process payment.charge"):
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "payment.declined")
        told = {"error.type": "declined", "sagatrace.reply.type": "payment.declined"}
        assert told.items() <= attributes_of(span).items()
    (point,) = spans.metric_points("messaging.process.duration")
    assert (point.count, point.attributes.get("error.type")) == (3, None)
    assert (breaker.reason, topic.kept) == (None, [])


async def test_other_answers_are_no_refusals(spans: RecordedSpans) -> None:
    """Only a reply with a reason for its no marks a span."""
    with trace.get_tracer("test").start_as_current_span("work"):
        mark_refusal(reserve())
    assert spans.one("work").status.status_code is StatusCode.UNSET
    assert not spans.one("work").attributes


async def test_the_type_of_a_reply_names_its_span(spans: RecordedSpans) -> None:
    """A reply's process span has the reply's type; that the orchestrator took it is no error."""
    await delivery(Handling(), DeadLetterTopic()).deliver(record(encode(_declined(charge())), topic=SAGA_REPLIES))
    assert spans.one("process payment.declined").status.status_code is StatusCode.UNSET


def _declined(command: Message) -> Message:
    payload: Any = command.payload
    refusal = Refusal(command_id=payload.command_id, step=payload.step, reason="declined")
    return PaymentDeclined(saga_id=command.saga_id, order_id=command.order_id, sequence=2, payload=refusal)
