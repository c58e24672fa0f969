"""What is known of a client."""

import pytest

from tracing.options import Options
from tracing.routes import Routes, first_server


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ("kafka:9093", ("kafka", 9093)),
        ("kafka", ("kafka", 9092)),
        ("a:1,b:2", ("a", 1)),
        (["a:1", "b:2"], ("a", 1)),
        (("a",), ("a", 9092)),
        ("[::1]:9093", ("::1", 9093)),
        ("[::1]", ("::1", 9092)),
        ("::1", ("::1", 9092)),
        ("kafka:port", ("kafka", 9092)),
        ([], None),
        ("", None),
        (None, None),
        ([None], None),
    ],
    ids=repr,
)
def test_the_first_bootstrap_server_is_the_server(servers: object, expected: tuple[str, int] | None) -> None:
    """Every form that aiokafka takes yields a host and a port."""
    assert first_server(servers) == expected


def test_a_program_that_makes_up_topics_does_not_grow_for_ever() -> None:
    """The routes of a client are bounded."""
    routes = Routes(Options(), {})
    for n in range(5000):
        routes.get("send", f"reply-{n}")
    assert len(routes._routes) <= 1024


@pytest.mark.parametrize("topics", [(), ("orders", "audit")], ids=["none", "several"])
def test_no_span_is_named_after_an_address(topics: tuple[str, ...]) -> None:
    """An operation on several topics, or on none, is named by the operation alone; the address is an attribute."""
    routes = Routes(Options(), {"server.address": "127.0.0.1", "server.port": 29092})
    assert {routes.get(operation, *topics).name for operation in ("poll", "commit")} == {"poll", "commit"}
    assert routes.get("poll", *topics).attributes["server.address"] == "127.0.0.1"
