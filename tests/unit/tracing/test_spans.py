"""Starting and failing spans."""

import sys
from typing import Any

import pytest
from aiokafka.errors import BrokerResponseError, KafkaTimeoutError, NotEnoughReplicasError
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import NoOpTracerProvider, SpanContext, TraceFlags

from tracing.spans import Spans, error_type


def parent(*, remote: bool, sampled: bool, span_id: int = 1) -> SpanContext:
    """The span context of a parent."""
    return SpanContext(1, span_id, is_remote=remote, trace_flags=TraceFlags(1 if sampled else 0))


class Obedient(ParentBased):
    """A sampler of the program's own: what it does is its business, so it has to be asked."""

    def should_sample(self, *args: Any, **kwargs: Any) -> Any:
        """Record everything."""
        return ALWAYS_ON.should_sample(*args, **kwargs)


@pytest.mark.parametrize(
    ("sampler", "remote", "local"),
    [
        (ParentBased(ALWAYS_ON), True, True),
        (ParentBased(TraceIdRatioBased(0.5)), True, True),
        (ParentBased(ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON), False, True),
        (ParentBased(ALWAYS_ON, local_parent_not_sampled=TraceIdRatioBased(0.5)), True, False),
        (ALWAYS_ON, False, False),
        (ALWAYS_OFF, False, False),
        (TraceIdRatioBased(0.0), False, False),
        (Obedient(ALWAYS_ON), False, False),
    ],
    ids=lambda value: value.get_description() if isinstance(value, Sampler) else str(value),
)
def test_only_what_certainly_drops_is_not_asked(sampler: Sampler, *, remote: bool, local: bool) -> None:
    """A sampler is passed over for an unsampled parent alone, and only where it is known to follow it."""
    spans = Spans(TracerProvider(sampler=sampler, shutdown_on_exit=False))
    assert spans.drops(parent(remote=True, sampled=False)) is remote
    assert spans.drops(parent(remote=False, sampled=False)) is local
    assert not spans.drops(parent(remote=True, sampled=True))
    assert not spans.drops(parent(remote=True, sampled=False, span_id=0))


def test_without_an_sdk_nothing_is_started() -> None:
    """A tracer that does nothing need not be called."""
    assert Spans(NoOpTracerProvider()).drops(parent(remote=True, sampled=True))


class Unnamed(BrokerResponseError):
    """A broker's error for which the client has no code."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotEnoughReplicasError(), "NOT_ENOUGH_REPLICAS"),
        (KafkaTimeoutError(), "aiokafka.errors.KafkaTimeoutError"),
        (TimeoutError(), "TimeoutError"),
        (Unnamed(), f"{Unnamed.__module__}.Unnamed"),
    ],
    ids=repr,
)
def test_an_error_type_is_kafkas_code_or_the_class(error: Exception, expected: str) -> None:
    """What a broker answered has Kafka's own name, everything else that of its class."""
    assert error_type(error) == expected


@pytest.mark.parametrize(("limit", "kept"), [(20, 20), (0, 0), (1000, 1000), (SpanLimits.UNSET, sys.maxsize)])
def test_the_limit_of_links_is_the_provider_s(limit: int, kept: int) -> None:
    """As many links are given to a span as its provider keeps; 128 if it does not say."""
    assert Spans(TracerProvider(span_limits=SpanLimits(max_links=limit))).link_limit == kept
    assert Spans(NoOpTracerProvider()).link_limit == 128
