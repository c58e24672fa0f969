"""`sagatrace saga`, as an operator runs it: what it shows, what it does, what it refuses, and how it exits."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.trace import get_tracer
from sqlalchemy import make_url

from services.cli.traces.model import Kind
from services.oms.saga import Status
from services.oms.settings import TimeoutSettings
from services.oms.views import Placed
from tests.servers.jaeger import JaegerAddress
from tests.support.databases import sqlite_url
from tests.support.eventually import eventually
from tests.support.operator import OPERATOR, Operator
from tests.support.orders import OrderService, order_service
from tests.support.otlp import otlp_span, send_spans, spans_of
from tracing.testing import RecordedSpans


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The store."""
    return sqlite_url(tmp_path, "oms")


@pytest.fixture
async def oms(url: str) -> AsyncIterator[OrderService]:
    """The order service on the store, which asks once for everything."""
    with RecordedSpans(instrumented=False):
        async with order_service(url, TimeoutSettings(attempts_forward=1, attempts_back=1)) as service:
            yield service


def saga(store: str, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and output."""
    return Operator({"DATABASE_URL": store}).run("saga", *arguments)


async def place(oms: OrderService) -> Placed:
    """Place an order in a trace of its own."""
    with get_tracer("test").start_as_current_span("POST /orders"):
        return await oms.place()


async def give_up(oms: OrderService) -> None:
    """Make all sagas need attention."""
    oms.read_replies()
    for _ in range(2):
        await oms.run_out()
        await oms.timeouts.sweep()


async def test_what_has_not_ended_is_listed_stalest_first(oms: OrderService, url: str) -> None:
    """The list has the open sagas, stalest first; its filters narrow it, and `--all` adds those that have ended."""
    first, second, ended = [await place(oms) for _ in range(3)]
    await oms.answer("inventory.rejected", reason="out_of_stock")
    code, out, _ = saga(url, "list")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["SAGA", first.saga_id, second.saga_id])
    code, out, _ = saga(url, "list", "--all", "--json")
    assert (code, len(json.loads(out))) == (0, 3)
    code, out, _ = saga(url, "list", "--status", "failed", "--json")
    assert [one["saga_id"] for one in json.loads(out)] == [ended.saga_id]
    assert saga(url, "list", "--state", "charging")[:2] == (0, "no sagas\n")
    assert saga(url, "list", "--unmoved", "1h", "--all")[:2] == (0, "no sagas\n")
    assert len(saga(url, "list", "--limit", "1")[1].splitlines()) == 2


async def test_a_saga_is_shown_by_either_id_with_its_history_and_its_page(oms: OrderService, url: str) -> None:
    """`show` takes the saga's id or the order's, and names trace, history and the page in Jaeger."""
    placed = await place(oms)
    for one in (placed.saga_id, placed.order_id):
        code, out, _ = saga(url, "show", one, "--jaeger", "http://jaeger:16686/")
        assert code == 0
        assert f"http://jaeger:16686/trace/{placed.trace_id}\n" in out
        assert "start" in out.splitlines()[-1]
        shown = json.loads(saga(url, "show", one, "--json")[1])
        assert (shown["trace_id"], shown["history"][0]["input"]) == (placed.trace_id, "start")


async def test_a_saga_is_shown_with_the_story_of_its_trace(oms: OrderService, url: str, jaeger: JaegerAddress) -> None:
    """`show` tells the trace that Jaeger has: what an open saga waits for, and since when."""
    placed = await place(oms)
    ids = {"saga.id": placed.saga_id, "order.id": placed.order_id}
    entry = otlp_span(str(placed.trace_id), ms=5_000, attributes=ids, name="POST /orders", kind=Kind.SERVER)
    send_spans(jaeger.otlp_http, [entry])
    await eventually(lambda: spans_of(jaeger, str(placed.trace_id)) == 1, timeout_s=100)
    code, out, _ = saga(url, "show", placed.saga_id, "--jaeger", jaeger.url)
    assert code == 0
    assert re.search(r"^story   waiting for inventory for \d", out, flags=re.MULTILINE)
    shown = json.loads(saga(url, "show", placed.saga_id, "--jaeger", jaeger.url, "--json")[1])
    assert shown["story"].startswith("waiting for inventory for ")
    assert (shown["no_story"], shown["numbers"]["took_ms"]) == (None, None)


async def test_without_its_trace_a_saga_is_shown_all_the_same(
    oms: OrderService, url: str, jaeger: JaegerAddress
) -> None:
    """Where Jaeger is away, or has no such trace, `show` says so in place of the story."""
    placed = await place(oms)
    code, out, _ = saga(url, "show", placed.saga_id, "--jaeger", "http://127.0.0.1:9")
    assert code == 0
    assert re.search(r"^story   no Jaeger answers at http://127.0.0.1:9 .*--jaeger$", out, flags=re.MULTILINE)
    assert "start" in out.splitlines()[-1]
    shown = json.loads(saga(url, "show", placed.saga_id, "--jaeger", jaeger.url, "--json")[1])
    assert (shown["story"], shown["no_story"]) == (None, "the trace is not in Jaeger")
    assert shown["history"]


async def test_a_retry_takes_a_saga_on_and_says_who(oms: OrderService, url: str) -> None:
    """A retry resumes what needs attention, in its trace; a second one is refused and changes nothing."""
    placed = await place(oms)
    await give_up(oms)
    assert saga(url, "retry", placed.saga_id) == (0, f"saga {placed.saga_id} asks once more\n", "")
    entry = (await oms.orders.saga(placed.saga_id)).history[-1]
    assert (entry.input, entry.actor, entry.trace_id) == ("retry", OPERATOR, placed.trace_id)
    before = await oms.messages()
    code, out, err = saga(url, "retry", placed.saga_id)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "only one that needs attention" in err
    assert await oms.messages() == before
    await oms.answer("inventory.released")
    assert (await oms.orders.order(placed.order_id)).status is Status.FAILED


async def test_a_cancel_is_the_apis(oms: OrderService, url: str) -> None:
    """A cancel turns the saga back, a repeated one gets the same answer, and after the end it is refused."""
    placed, ended = await place(oms), await place(oms)
    await oms.answer("inventory.rejected", reason="out_of_stock")
    for _ in range(2):
        assert saga(url, "cancel", placed.order_id) == (0, f"saga {placed.saga_id} turns back\n", "")
    assert (await oms.orders.order(placed.order_id)).status is Status.COMPENSATING
    assert [entry.input for entry in (await oms.orders.saga(placed.saga_id)).history] == ["start", "cancel"]
    assert saga(url, "cancel", ended.order_id)[0] == 1


async def test_what_is_not_there_is_one_line(oms: OrderService, url: str, tmp_path: Path) -> None:
    """An unknown saga, a store that is away, empty or not made is exit code 2 and one line that says what to mend."""
    await place(oms)
    (tmp_path / "empty.sqlite").touch()
    for store, hint in (
        (url, "DATABASE_URL"),
        (sqlite_url(tmp_path, "nowhere"), "DATABASE_URL"),
        (sqlite_url(tmp_path, "empty"), "sagatrace migrate"),
        ("postgresql+asyncpg://nobody:secret@127.0.0.1:9/none", "DATABASE_URL"),
    ):
        code, out, err = saga(store, "show", "nobody")
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert hint in err
        assert "secret" not in err
    code, out, err = saga(url, "show", "\udcff\udcfe")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "there is no saga" in err
    assert "--unmoved" in saga(url, "list", "--unmoved", "9999999d")[2]
    assert not (tmp_path / "nowhere.sqlite").exists()
    assert "--unmoved" in saga(url, "list", "--unmoved", "1y")[2]


async def test_the_address_of_jaeger_is_not_quoted_with_a_password(oms: OrderService, url: str) -> None:
    """A user and a password in it are refused, in one line that shows neither."""
    placed = await place(oms)
    code, out, err = saga(url, "show", placed.saga_id, "--jaeger", "http://user:secret@localhost:16686")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "--jaeger" in err
    assert "secret" not in err


def test_what_a_database_refuses_is_not_blamed_on_its_tables(postgres: str) -> None:
    """A user or a database that is not there is named as that, with exit code 2, and without the URL."""
    right = make_url(postgres)
    for wrong, hint in (
        (right.set(database="nowhere"), "there is no database of this name"),
        (right.set(username="nobody", password="secret"), "the user or the password is refused"),
    ):
        code, out, err = saga(wrong.render_as_string(hide_password=False), "list")
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert hint in err
        assert "migrate" not in err
        assert "secret" not in err


def test_a_service_that_the_database_refuses_says_so(postgres: str) -> None:
    """A service with a wrong password ends with exit code 2 and one line for the error, without a traceback."""
    wrong = make_url(postgres).set(username="nobody", password="secret").render_as_string(hide_password=False)
    environment = {"DATABASE_URL": wrong, "OTEL_SDK_DISABLED": "true"}
    code, out, err = Operator(environment, is_process=True).run("run", "audit")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("sagatrace: audit: its database: the user or the password is refused")
    assert "Traceback" not in err
    assert "secret" not in err
