"""`DATABASE_URL`: what it may say, and what the driver is told of it.

Providers hand out URLs for libpq: `postgres://...?sslmode=require`. asyncpg has other names for the same things, and
takes numbers as numbers, so each option that it understands stands in a table here, with its type; for each of libpq's
that it does not, the table beside it says what to write instead. No text repeats any part of the URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVERS: Final = ("sqlite+aiosqlite:///", "postgresql+asyncpg://")

# SQLAlchemy, page "SQLite".
_SQLITE: Final = frozenset({"timeout", "detect_types", "check_same_thread", "cached_statements", "isolation_level"})


def _boolean(text: str) -> bool:
    words = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
    return words[text.lower()]


#: The options of `asyncpg.connect` and of SQLAlchemy's dialect that a URL may set, and how each is read.
_ASYNCPG: Final[Mapping[str, Callable[[str], Any]]] = {
    "command_timeout": float,
    "direct_tls": _boolean,
    "gsslib": str,
    "host": str,
    "krbsrvname": str,
    "max_cacheable_statement_size": int,
    "max_cached_statement_lifetime": int,
    "passfile": str,
    "port": int,
    "prepared_statement_cache_size": int,
    "ssl": str,
    "statement_cache_size": int,
    "target_session_attrs": str,
    "timeout": float,
}
# The one that SQLAlchemy reads itself.
_OF_SQLALCHEMY: Final = "prepared_statement_cache_size"
_PORT: Final = "5432"
# Several hosts where one stands otherwise: libpq's way, which SQLAlchemy does not know.
_SEVERAL: Final = re.compile(
    r"(?P<before>postgresql\+asyncpg://(?:[^@/?#]*@)?)(?P<hosts>[^@/?#]*,[^@/?#]*)(?P<after>/.*)?"
)
#: What to write instead of an option of libpq's or of another driver's.
_INSTEAD: Final[Mapping[str, str]] = {
    "sslmode": "write ssl=... with the same value",
    "sslrootcert": "set PGSSLROOTCERT, and write ssl=verify-full",
    "sslcert": "set PGSSLCERT",
    "sslkey": "set PGSSLKEY",
    "sslcrl": "set PGSSLCRL",
    "channel_binding": "leave it out",
    "connect_timeout": "write timeout=...",
    "application_name": "leave it out: it is sagatrace-<service>",
    "options": "leave it out",
    "pgbouncer": "leave it out: see docs/storage.md on poolers",
    "schema": "leave it out: each service has a schema of its own",
}


def parse(url: str) -> URL:
    """Parse a database URL.

    Raises:
        ValueError: it is not one that a service can use; the text says what to write instead, and quotes nothing.
    """
    if not url.startswith(DRIVERS):
        raise ValueError(_wrong_start(url))
    several = _SEVERAL.fullmatch(url)
    try:
        parsed = make_url(several["before"] + (several["after"] or "") if several else url)
    except (ArgumentError, ValueError):  # whose text may quote a part of the password
        escaped = "in a user or password @ : / and % are written %40 %3A %2F and %25"
        raise ValueError(f"it is no URL: {escaped}, and a port is a number") from None
    if several:
        parsed = parsed.update_query_dict({"host": several["hosts"].split(",")})
    _check_options(parsed)
    return parsed


def _check_options(url: URL) -> None:
    if url.get_backend_name() == "sqlite":
        # With uri=true the file's name is a URI, whose own options are SQLite's.
        unknown = set() if url.query.get("uri") else url.query.keys() - _SQLITE
    else:
        unknown = url.query.keys() - _ASYNCPG.keys()
        connect_arguments(url)
    if unknown:
        hints = "".join(f"; {name}: {_INSTEAD[name]}" for name in sorted(unknown) if name in _INSTEAD)
        raise ValueError(f"its driver has no option {', '.join(sorted(unknown))}, after the ?{hints}")


def _wrong_start(url: str) -> str:
    expected = "a database URL starts with sqlite+aiosqlite:/// or postgresql+asyncpg://"
    if url.startswith(("postgres://", "postgresql://", "postgresql+")):
        return f"{expected}: write postgresql+asyncpg:// in the place of what stands before the user"
    if url != url.strip(" \t\r\n\"'"):
        return f"{expected}, without spaces or quotes around it"
    return expected


def connect_arguments(url: URL) -> dict[str, Any]:
    """Return what `asyncpg.connect` is given of a URL's options, each of the type that it wants.

    Of several hosts the one that takes writes is chosen, unless `target_session_attrs` says otherwise: after a failover
    the others are standbys.

    Raises:
        ValueError: an option's value is not of its type.
    """
    arguments = {}
    for name, given in url.query.items():
        if name in _ASYNCPG and name not in {_OF_SQLALCHEMY, "host", "port"}:
            try:
                arguments[name] = _ASYNCPG[name](given if isinstance(given, str) else given[-1])
            except (KeyError, ValueError):
                raise ValueError(f"{name}, after the ?, has a value that it can't have") from None
    if "host" in url.query:
        arguments["host"], arguments["port"] = map(list, zip(*_hosts(url), strict=True))
        if len(arguments["host"]) > 1:
            arguments.setdefault("target_session_attrs", "read-write")
    return arguments


def for_sqlalchemy(url: URL) -> URL:
    """Return a PostgreSQL URL without the options that `connect_arguments` has."""
    kept = url.query.get(_OF_SQLALCHEMY)
    return url.set(query={} if kept is None else {_OF_SQLALCHEMY: kept})


def described(url: URL) -> str:
    """Return a URL without user, password and options, for a text that a person reads."""
    if url.get_backend_name() == "sqlite" or "host" not in url.query:
        return url.set(username=None, password=None, query={}).render_as_string()
    return f"{url.drivername}://{','.join(f'{host}:{port}' for host, port in _hosts(url))}/{url.database}"


def _hosts(url: URL) -> list[tuple[str, int]]:
    """Return the hosts and ports of the option `host`, which may stand several times, or hold several with commas."""
    hosts, ports = _split(url, "host"), _split(url, "port")
    pairs = [(host, "") if host.endswith("]") or ":" not in host else host.rpartition(":")[::2] for host in hosts]
    if ports and len(ports) not in {1, len(hosts)}:
        raise ValueError("there are as many ports as hosts, or one")
    given = ports * len(hosts) if len(ports) == 1 else ports or [_PORT] * len(hosts)
    try:
        return [(host.strip("[]"), int(port or more)) for (host, port), more in zip(pairs, given, strict=True)]
    except ValueError:
        raise ValueError("a port is a number") from None


def _split(url: URL, name: str) -> list[str]:
    given = url.query.get(name, ())
    return [part.strip() for text in ((given,) if isinstance(given, str) else given) for part in text.split(",")]
