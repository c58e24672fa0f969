"""`sagatrace verify`: what it prints for traces that are broken, absent, unsampled or unfinished, and how it exits."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import get_tracer

from services.oms.views import Placed
from tests.servers.jaeger import JaegerAddress
from tests.support.databases import sqlite_url
from tests.support.operator import Operator
from tests.support.orders import OrderService, order_service
from tracing.testing import RecordedSpans

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The store."""
    return sqlite_url(tmp_path, "oms")


@pytest.fixture
async def oms(url: str) -> AsyncIterator[OrderService]:
    """The order service on the store."""
    async with order_service(url) as service:
        yield service


def verify(store: str, *options: str, is_process: bool = False) -> tuple[int, str, str]:
    """Run the command; return its exit code and output."""
    return Operator({"DATABASE_URL": store}, is_process=is_process).run("verify", "--wait", "0", *options)


async def ended(oms: OrderService) -> Placed:
    """Place an order in a trace of its own, and end its saga."""
    with get_tracer("test").start_as_current_span("POST /orders"):
        placed = await oms.place()
    await oms.answer("inventory.rejected", reason="out_of_stock")
    return placed


async def test_without_jaeger_it_cannot_tell(oms: OrderService, url: str) -> None:
    """Jaeger being away is exit code 2 and one line that names the option."""
    with RecordedSpans(instrumented=False):
        await ended(oms)
    code, out, err = verify(url, "--jaeger", NOWHERE)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--jaeger" in err


def test_without_a_store_it_cannot_tell() -> None:
    """The store being away is exit code 2 and one line that names the variable."""
    code, _, err = verify("postgresql+asyncpg://nobody:secret@127.0.0.1:9/none", is_process=True)
    assert code == 2
    assert "DATABASE_URL" in err
    assert "secret" not in err


async def test_an_unsampled_saga_is_not_broken(oms: OrderService, url: str) -> None:
    """A saga whose entry was not sampled counts as not recorded; Jaeger is not even asked."""
    with RecordedSpans(instrumented=False, sampler=ALWAYS_OFF):
        placed = await ended(oms)
    code, out, _ = verify(url, "--jaeger", NOWHERE, "--json")
    assert code == 0
    assert json.loads(out)["counts"] == {"not recorded": 1}
    assert json.loads(out)["sagas"][0]["saga_id"] == placed.saga_id


async def test_a_saga_that_has_not_ended_is_not_judged(oms: OrderService, url: str) -> None:
    """A saga under way is open."""
    with RecordedSpans(instrumented=False), get_tracer("test").start_as_current_span("POST /orders"):
        await oms.place()
    code, out, _ = verify(url, "--jaeger", NOWHERE, "--json")
    assert (code, json.loads(out)["counts"]) == (0, {"open": 1})


async def test_a_trace_that_is_not_there_is_broken(oms: OrderService, url: str, jaeger: JaegerAddress) -> None:
    """A sampled saga whose spans never came is exit code 1, and the lines say what is missing."""
    with RecordedSpans(instrumented=False):
        placed = await ended(oms)
    code, out, _ = verify(url, "--jaeger", jaeger.url, "--order", placed.order_id)
    assert code == 1
    assert "no request started this saga" in out
    assert "    nothing of the saga was recorded\n" in out
    assert out.endswith("1 sagas: 1 broken\n")


async def test_one_saga_is_chosen_by_either_id(oms: OrderService, url: str) -> None:
    """`--saga` and `--order` take one; an id that is not in the store is exit code 2."""
    with RecordedSpans(instrumented=False, sampler=ALWAYS_OFF):
        await ended(oms)
        placed = await ended(oms)
    for option, one in (("--saga", placed.saga_id), ("--order", placed.order_id)):
        _, out, _ = verify(url, "--json", option, one)
        assert [saga["order_id"] for saga in json.loads(out)["sagas"]] == [placed.order_id]
    assert verify(url, "--saga", "nobody")[0] == 2


@pytest.mark.parametrize("since", ["", "1", "1y", "-5m"])
def test_a_wrong_duration_is_refused(url: str, since: str) -> None:
    """A wrong `--since` is exit code 2 and says what it accepts."""
    code, _, err = verify(url, "--since", since)
    assert code == 2
    assert "--since" in err
