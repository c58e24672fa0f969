"""Instrumenting: one at a time, ours before contrib's, whoever comes first."""

import inspect
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

import aiokafka
import pytest
from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor
from wrapt import FunctionWrapper

import tracing

METHODS = {
    aiokafka.AIOKafkaProducer: [
        "send",
        "create_batch",
        "send_batch",
        "begin_transaction",
        "commit_transaction",
        "abort_transaction",
        "send_offsets_to_transaction",
    ],
    aiokafka.AIOKafkaConsumer: ["getone", "getmany", "commit"],
}
ORIGINALS = {(owner, name): getattr(owner, name) for owner, names in METHODS.items() for name in names}


def wrapped() -> str:
    """Name whose wrappers are in place: ours, contrib's, none, or something in between."""
    now = {key: vars(key[0])[key[1]] for key in ORIGINALS}
    # By identity: a proxy says that it is equal to what it wraps.
    changed = {key for key in now if now[key] is not ORIGINALS[key]}
    if any(isinstance(now[key], FunctionWrapper) for key in changed):
        return "contrib"
    return {0: "none", len(now): "ours"}.get(len(changed), "some")


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    assert wrapped() == "none"
    yield
    tracing.uninstrument()
    if AIOKafkaInstrumentor().is_instrumented_by_opentelemetry:
        AIOKafkaInstrumentor().uninstrument()
    assert wrapped() == "none"


def test_the_instrumentor_is_a_singleton_of_its_own() -> None:
    """It has the base class's face and neither its object nor its state."""
    AIOKafkaInstrumentor().instrument()
    assert tracing.KafkaInstrumentor() is tracing.KafkaInstrumentor()
    assert tracing.KafkaInstrumentor() is not AIOKafkaInstrumentor()
    assert isinstance(tracing.KafkaInstrumentor(), AIOKafkaInstrumentor)
    assert not tracing.KafkaInstrumentor().is_instrumented_by_opentelemetry
    assert tracing.KafkaInstrumentor().instrumentation_dependencies() == ("aiokafka >= 0.8, < 1.0",)


def test_ours_replaces_an_active_one_of_the_base_class() -> None:
    """After contrib, ours is alone; after ours is taken off nothing is left, and contrib can come back."""
    AIOKafkaInstrumentor().instrument()
    assert wrapped() == "contrib"
    tracing.instrument()
    assert wrapped() == "ours"
    tracing.uninstrument()
    assert wrapped() == "none"
    AIOKafkaInstrumentor().instrument()
    assert wrapped() == "contrib"


def test_the_base_class_has_no_effect_while_ours_is_active() -> None:
    """Neither instrumenting nor uninstrumenting with contrib changes anything, and its state is true afterwards."""
    tracing.instrument()
    AIOKafkaInstrumentor().instrument()
    assert wrapped() == "ours"
    AIOKafkaInstrumentor().uninstrument()
    assert wrapped() == "ours"
    AIOKafkaInstrumentor().instrument()
    tracing.uninstrument()
    assert not AIOKafkaInstrumentor().is_instrumented_by_opentelemetry
    AIOKafkaInstrumentor().instrument()
    assert wrapped() == "contrib"


def test_it_can_stand_in_for_the_base_class() -> None:
    """Contrib's call sites work: instrument with its options, uninstrument, and again."""
    instrumentor = tracing.KafkaInstrumentor()
    for _ in range(2):
        instrumentor.instrument(tracer_provider=None, async_produce_hook=None, skip_dep_check=True)
        assert wrapped() == "ours"
        instrumentor.uninstrument()
        assert wrapped() == "none"


def test_instrumenting_again_without_options_keeps_the_first() -> None:
    """A library that instruments to be sure does not undo the program's options; options given later count."""
    tracing.instrument(message_key="hash")
    before = aiokafka.AIOKafkaProducer.send
    tracing.instrument()
    assert aiokafka.AIOKafkaProducer.send is before
    tracing.instrument(message_key="off")
    assert aiokafka.AIOKafkaProducer.send is not before
    tracing.uninstrument()
    tracing.uninstrument()


def test_bad_options_leave_what_is_there() -> None:
    """An option that is refused does not cost the instrumentation in place, contrib's or ours."""
    AIOKafkaInstrumentor().instrument()
    with pytest.raises(tracing.InvalidOption):
        tracing.instrument(message_key="md5")  # type: ignore[arg-type]
    assert wrapped() == "contrib"
    tracing.instrument()
    with pytest.raises(tracing.InvalidOption):
        tracing.instrument(message_key="md5")  # type: ignore[arg-type]
    assert wrapped() == "ours"


def test_wrappers_look_like_what_they_wrap() -> None:
    """Signature, name and documentation are aiokafka's, and coroutine functions stay coroutine functions."""
    tracing.instrument()
    for (owner, name), original in ORIGINALS.items():
        method = getattr(owner, name)
        assert inspect.signature(method) == inspect.signature(original)
        assert (method.__name__, method.__doc__) == (original.__name__, original.__doc__)
        assert inspect.iscoroutinefunction(method) == inspect.iscoroutinefunction(original)


def test_loops_need_one_method_more() -> None:
    """With loops `stop` is wrapped too, all look like what they wrap, and nothing is left of them."""
    consumer = aiokafka.AIOKafkaConsumer
    originals = {name: getattr(consumer, name) for name in ("getone", "getmany", "stop")}
    tracing.instrument(process_spans="loop")
    for name, original in originals.items():
        method = getattr(consumer, name)
        assert method is not original
        assert inspect.signature(method) == inspect.signature(original)
        assert inspect.iscoroutinefunction(method)
        assert method.__wrapped__ is original
    tracing.uninstrument()
    assert {name: getattr(consumer, name) for name in originals} == originals


def test_a_wrapper_on_top_of_ours_is_left_alone() -> None:
    """Uninstrumenting does not strip what somebody else put on top, and ours below passes calls through."""
    tracing.instrument()
    ours = aiokafka.AIOKafkaConsumer.getone

    async def on_top(self: aiokafka.AIOKafkaConsumer) -> object:
        return await ours(self)

    aiokafka.AIOKafkaConsumer.getone = on_top  # type: ignore[method-assign, assignment]
    try:
        tracing.uninstrument()
        assert aiokafka.AIOKafkaConsumer.getone is on_top
    finally:
        aiokafka.AIOKafkaConsumer.getone = ORIGINALS[aiokafka.AIOKafkaConsumer, "getone"]  # type: ignore[method-assign]


@pytest.mark.parametrize("order", [("ours", "contrib"), ("contrib", "ours")], ids="-then-".join)
def test_both_entry_points_may_load(order: tuple[str, str]) -> None:
    """Under `opentelemetry-instrument` every installed instrumentor is loaded, in any order; ours is what stays."""
    found = metadata.entry_points(group="opentelemetry_instrumentor", name="aiokafka")
    classes = {"contrib": next(iter(found)).load(), "ours": tracing.KafkaInstrumentor}
    for name in order:
        classes[name]().instrument(skip_dep_check=True, raise_exception_on_conflict=True)
    assert wrapped() == "ours"


def test_the_distribution_declares_the_instrumentor() -> None:
    """`opentelemetry-instrument` finds ours by its entry point."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["opentelemetry_instrumentor"]["sagatrace"].partition(":")
    assert getattr(import_module(module), name) is tracing.KafkaInstrumentor


def test_a_program_under_opentelemetry_instrument_has_ours_alone() -> None:
    """Whatever the launcher has loaded, after `tracing.instrument()` only ours is on the clients."""
    program = (
        "import aiokafka, tracing, wrapt\n"
        "from opentelemetry.instrumentation.aiokafka import AIOKafkaInstrumentor\n"
        "tracing.instrument()\n"
        "AIOKafkaInstrumentor().instrument()\n"
        "methods = vars(aiokafka.AIOKafkaProducer)['send'], vars(aiokafka.AIOKafkaConsumer)['getone']\n"
        "assert all(hasattr(m, '__wrapped__') and not isinstance(m, wrapt.FunctionWrapper) for m in methods)\n"
        "assert not any(hasattr(m.__wrapped__, '__wrapped__') for m in methods)\n"
    )
    launcher = Path(sys.executable).with_name("opentelemetry-instrument")
    signals = [f"--{signal}_exporter=none" for signal in ("traces", "metrics", "logs")]
    command = [str(launcher), *signals, sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
