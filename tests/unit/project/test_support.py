"""What the tests themselves stand on."""

from itertools import count

import pytest

from tests.support import parts
from tests.support.eventually import eventually


async def test_eventually_returns_what_became_true() -> None:
    """The first truthy value of the predicate is the result."""
    tries = count()
    assert await eventually(lambda: next(tries)) == 1


async def test_eventually_awaits_an_async_predicate() -> None:
    """A coroutine function is a predicate too."""

    async def ready() -> str:
        return "ready"

    assert await eventually(ready) == "ready"


async def test_eventually_has_a_bound_and_shows_the_last_value() -> None:
    """A predicate that stays false fails the test, with what it last returned."""
    with pytest.raises(AssertionError, match=r"still \[\] after 0.05 s"):
        await eventually(list, timeout_s=0.05)


async def test_eventually_shows_the_assertion_that_still_failed() -> None:
    """A predicate may assert; its last failure is the one that shows."""

    def predicate() -> bool:
        raise AssertionError("two spans are missing")

    with pytest.raises(AssertionError, match="two spans are missing"):
        await eventually(predicate, timeout_s=0.05)


@pytest.mark.parametrize("text", ["broker,postgres", "broker postgres", " broker , postgres "])
def test_required_parts_are_a_list(text: str) -> None:
    """SAGATRACE_REQUIRE separates parts by commas or spaces."""
    assert parts.required_parts({"SAGATRACE_REQUIRE": text}) == {"broker", "postgres"}


def test_the_environment_names_parts_that_run() -> None:
    """Each part has a variable with its address; an empty one says nothing."""
    environment = {"SAGATRACE_TEST_KAFKA": "k:9092", "SAGATRACE_TEST_JAEGER": "", "KAFKA_BOOTSTRAP_SERVERS": "x:1"}
    assert parts.addresses(environment) == {"kafka": "k:9092"}


def test_a_missing_part_skips_or_fails(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is not there skips its test, and fails it where SAGATRACE_REQUIRE names the part."""
    required = frozenset({"jaeger"})
    monkeypatch.setitem(pytestconfig.stash._storage, parts.REQUIRED, required)
    with pytest.raises(pytest.skip.Exception, match="no postgres: not built"):
        parts.missing(pytestconfig, "postgres", "not built")
    with pytest.raises(pytest.fail.Exception, match="jaeger is required"):
        parts.missing(pytestconfig, "jaeger", "not built")
