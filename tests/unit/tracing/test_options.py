"""The options of `instrument()`."""

import inspect
import re
from dataclasses import fields
from typing import Any

import pytest

import tracing
from tracing import InvalidOption
from tracing.options import Options


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"exclude_topics": "orders"}, "exclude_topics"),
        ({"include_topics": [""]}, "include_topics"),
        ({"captured_headers": [b"a"]}, "captured_headers"),
        ({"message_key": "md5"}, "message_key"),
        ({"name_attribute": ""}, "name_attribute"),
        ({"name_attribute": ["message.type"]}, "name_attribute"),
        ({"poll_spans": "some"}, "poll_spans"),
        ({"commit_spans": "some"}, "commit_spans"),
        ({"process_parent": "none"}, "process_parent"),
        ({"process_spans": "implicit"}, "process_spans"),
        ({"process_span_limit": 0}, "process_span_limit"),
        ({"process_span_limit": True}, "process_span_limit"),
        ({"process_span_limit": "1"}, "process_span_limit"),
        ({"produce_hook": 3}, "produce_hook"),
        ({"tracer_provider": 5}, "tracer_provider"),
        ({"meter_provider": "otlp"}, "meter_provider"),
        ({"propagator": "b3"}, "propagator"),
        ({"lean_spans": "no"}, "lean_spans"),
        ({"consume_hook": print, "async_consume_hook": print}, "consume_hook"),
    ],
)
def test_a_bad_option_is_named(given: dict[str, Any], named: str) -> None:
    """An option with a value that it cannot have is refused, by name, and nothing is instrumented."""
    with pytest.raises(InvalidOption, match=named):
        tracing.instrument(**given)
    assert not tracing.KafkaInstrumentor().is_instrumented_by_opentelemetry


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("options", [{}, {"message_key": "off"}], ids=["alone", "with options"])
def test_unknown_keywords_are_ignored_with_one_warning(
    caplog: pytest.LogCaptureFixture, options: dict[str, Any], *, again: bool
) -> None:
    """A program may give all its instrumentors the same arguments; the log says in one line which had no effect."""
    try:
        if again:
            tracing.instrument()
        tracing.instrument(**options, logger_provider=object(), excluded_urls="x")
        assert tracing.KafkaInstrumentor().is_instrumented_by_opentelemetry
    finally:
        tracing.uninstrument()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "instrument() ignores what is no option of it: excluded_urls, logger_provider")
    ]


def test_the_instrumentor_ignores_unknown_keywords_as_contrib_does(caplog: pytest.LogCaptureFixture) -> None:
    """What a distribution passes on to every instrumentor does not stop this one."""
    try:
        tracing.KafkaInstrumentor().instrument(logger_provider=None, skip_dep_check=True)
        assert tracing.KafkaInstrumentor().is_instrumented_by_opentelemetry
    finally:
        tracing.uninstrument()
    assert len(caplog.records) == 1


def test_contrib_names_of_the_hooks_are_understood() -> None:
    """A call site of contrib's instrumentor needs no change."""
    options = Options.parse({"async_produce_hook": print, "async_consume_hook": repr, "tracer_provider": None})
    hooks: list[object] = [options.produce_hook, options.consume_hook]
    assert hooks == [print, repr]


@pytest.mark.parametrize(
    ("include", "exclude", "traced"),
    [
        ((), (), {"orders", "orders.retry", "audit"}),
        (("orders*",), (), {"orders", "orders.retry"}),
        ((), ("*.retry",), {"orders", "audit"}),
        (("orders*", "audit"), ("*.retry",), {"orders", "audit"}),
        (("order?",), (), {"orders"}),
        (("ORDERS",), (), set()),
    ],
)
def test_globs_choose_topics(include: tuple[str, ...], exclude: tuple[str, ...], traced: set[str]) -> None:
    """Globs are case-sensitive, match whole names, and exclusion wins."""
    options = Options(include_topics=include, exclude_topics=exclude)
    assert {topic for topic in ("orders", "orders.retry", "audit") if options.traces(topic)} == traced


def test_each_option_is_a_keyword_of_instrument() -> None:
    """`instrument()` spells out every option, and contrib's names of the hooks, and documents each of them."""
    keywords = {
        name
        for name, parameter in inspect.signature(tracing.instrument).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert keywords == {field.name for field in fields(Options) if field.init} | {
        "async_produce_hook",
        "async_consume_hook",
    }
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(tracing.instrument) or "", re.MULTILINE)
    assert keywords <= set(documented)
