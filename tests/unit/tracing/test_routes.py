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
