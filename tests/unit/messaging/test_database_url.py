"""Database URLs as providers hand them out: understood, or refused in one line that quotes nothing."""

from typing import Any

import pytest

from services.messaging.database_url import connect_arguments, described, for_sqlalchemy, parse

_BEFORE = "postgresql+asyncpg://user:secret@"


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("one:5433,two:5434/shop", ["one", "two"], [5433, 5434]),
        ("one,two/shop", ["one", "two"], [5432, 5432]),
        ("/shop?host=one:1&host=two:2", ["one", "two"], [1, 2]),
        ("/shop?host=one,two&port=1,2", ["one", "two"], [1, 2]),
        ("/shop?host=one,two&port=7", ["one", "two"], [7, 7]),
        ("[::1]:5433,two:5434/shop", ["::1", "two"], [5433, 5434]),
    ],
)
def test_several_hosts_are_tried_for_the_one_that_takes_writes(url: str, hosts: list[str], ports: list[int]) -> None:
    """Hosts are written as libpq or as SQLAlchemy writes them; a standby is passed over by default."""
    parsed = parse(_BEFORE + url)
    arguments = connect_arguments(parsed)
    assert (arguments["host"], arguments["port"], arguments["target_session_attrs"]) == (hosts, ports, "read-write")
    assert (parsed.username, parsed.password, parsed.database) == ("user", "secret", "shop")
    assert "secret" not in described(parsed)
    assert all(host in described(parsed) for host in hosts)
    any_host = parse(f"{_BEFORE}{url}{'&' if '?' in url else '?'}target_session_attrs=any")
    assert connect_arguments(any_host)["target_session_attrs"] == "any"


def test_options_have_the_types_that_the_driver_wants() -> None:
    """A number after the ? is a number for asyncpg, and what SQLAlchemy reads itself stays in the URL."""
    url = parse(
        f"{_BEFORE}host:5433/shop?statement_cache_size=0&timeout=2.5&ssl=require&prepared_statement_cache_size=0"
    )
    wanted: dict[str, Any] = {"statement_cache_size": 0, "timeout": 2.5, "ssl": "require"}
    assert connect_arguments(url) == wanted
    assert for_sqlalchemy(url).query == {"prepared_statement_cache_size": "0"}


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("postgres://user:secret@host/shop", r"write postgresql\+asyncpg://"),
        ("postgresql://user:secret@host/shop", r"write postgresql\+asyncpg://"),
        ("postgresql+psycopg2://user:secret@host/shop", r"write postgresql\+asyncpg://"),
        (f" {_BEFORE}host/shop", "without spaces or quotes"),
        (f'"{_BEFORE}host/shop"', "without spaces or quotes"),
        ("mysql://user:secret@host/shop", "starts with"),
        (f"{_BEFORE}host/shop?sslmode=require", "no option sslmode.*write ssl="),
        (f"{_BEFORE}host/shop?ssl=verify-full&sslrootcert=/ca.pem", "PGSSLROOTCERT"),
        (f"{_BEFORE}host/shop?channel_binding=require", "leave it out"),
        (f"{_BEFORE}host/shop?connection_class=secret", "no option connection_class"),
        (f"{_BEFORE}host/shop?statement_cache_size=secret", "statement_cache_size"),
        (f"{_BEFORE}one:x,two:5432/shop", "a port is a number"),
        (f"{_BEFORE}/shop?host=one,two&port=1,2,3", "as many ports as hosts"),
        (f"{_BEFORE}host:secret/shop", "it is no URL"),
    ],
)
def test_what_the_driver_does_not_take_is_refused_with_what_to_write(url: str, hint: str) -> None:
    """The text says what to write instead, in one line, with no part of the user or the password."""
    with pytest.raises(ValueError, match=hint) as refused:
        parse(url)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
