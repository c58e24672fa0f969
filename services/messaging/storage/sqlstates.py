"""What an error of PostgreSQL or of its driver means for the message in hand, as a table.

| verdict | what it says | what is done |
|---|---|---|
| away | not now, or not with this connection: no message is to blame | waits and tries again; the service is unready |
| bad data | the values of this message can't be stored | to the dead letters at once |
| bug | the statement is wrong, or its schema is | retried, then to the dead letters |

The table follows PostgreSQL, Appendix A, "PostgreSQL Error Codes": a row for each class, and one for each code that
differs from its class. What isn't listed is a bug. In doubt an error is "away": waiting loses nothing, while a dead
letter for a fault of the database has to be found and re-driven by somebody.

Where the connection itself is the cause (`CLOSING`), it is closed with every other of the pool, and its prepared
statements go with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """Who or what is to blame for an error."""

    AWAY = "away"
    BAD_DATA = "bad data"
    BUG = "bug"


_AWAY, _DATA, _BUG = Verdict.AWAY, Verdict.BAD_DATA, Verdict.BUG

#: The verdict and its reason, by the class (two characters) or the code (five) of a SQLSTATE.
SQLSTATES: Final[Mapping[str, tuple[Verdict, str]]] = {
    "00": (_BUG, "success is no error"),
    "01": (_BUG, "a warning is no error"),
    "02": (_BUG, "no data is no error"),
    "03": (_BUG, "the statement is not complete"),
    "08": (_AWAY, "the connection failed"),
    "09": (_BUG, "a trigger failed"),
    "0A": (_BUG, "the server lacks a feature"),
    "0B": (_BUG, "a transaction can't begin here"),
    "0F": (_BUG, "a locator is not valid"),
    "0L": (_BUG, "a grantor is not valid"),
    "0P": (_BUG, "a role can't be taken"),
    "0Z": (_BUG, "diagnostics are asked for outside of a handler"),
    "10": (_BUG, "an XQuery is wrong"),
    "20": (_BUG, "no case of a CASE matches"),
    "21": (_BUG, "a query returned more rows than expected"),
    "22": (_DATA, "a value does not fit its type or its function"),
    "23": (_BUG, "a constraint was broken, which a retry may cure if two transactions raced"),
    "23502": (_DATA, "a value is missing"),
    "23514": (_DATA, "a value breaks a check"),
    "24": (_BUG, "a cursor is in the wrong state"),
    "25": (_BUG, "the transaction is in the wrong state"),
    "25006": (_AWAY, "the server is read-only: a standby after a failover, or a full disk"),
    "25P03": (_AWAY, "the server ended a transaction that was idle for too long"),
    "25P04": (_AWAY, "the server ended a transaction that took too long"),
    "26": (_AWAY, "the connection does not know a prepared statement, as after a failover or behind a pooler"),
    "27": (_BUG, "a trigger changed the data that the statement was changing"),
    "28": (_AWAY, "the user or the password is refused, as while a password is changed"),
    "2B": (_BUG, "other objects depend on a privilege"),
    "2D": (_BUG, "a transaction can't end here"),
    "2F": (_BUG, "an SQL function failed"),
    "34": (_BUG, "there is no such cursor"),
    "38": (_BUG, "an external function failed"),
    "39": (_BUG, "an external function was called wrongly"),
    "3B": (_BUG, "there is no such savepoint"),
    "3D": (_AWAY, "there is no database of this name, as while it is restored"),
    "3F": (_BUG, "there is no schema of this name"),
    "40": (_AWAY, "the transaction was rolled back: a deadlock, or a conflict with another one"),
    "40002": (_BUG, "a deferred constraint was broken"),
    "42": (_BUG, "the statement names something that is not there, or is not SQL"),
    "42501": (_AWAY, "a privilege is missing, which concerns every message alike"),
    "44": (_DATA, "a row is outside of its view"),
    "53": (_AWAY, "the server has no resources: disk, memory or connections"),
    "54": (_DATA, "a value exceeds what the server can hold"),
    "54001": (_BUG, "the statement is too complex"),
    "55": (_BUG, "an object is in the wrong state"),
    "55006": (_AWAY, "the object is in use"),
    "55P03": (_AWAY, "a lock was not to be had in time"),
    "57": (_AWAY, "an operator or the server intervened: a shutdown, a crash, a start, a time limit"),
    "58": (_AWAY, "the server's system failed: its disk or a file"),
    "72": (_AWAY, "a snapshot is too old"),
    "F0": (_AWAY, "the server's configuration file is wrong or locked"),
    "HV": (_BUG, "a foreign table failed"),
    "P0": (_BUG, "PL/pgSQL code raised an error"),
    "XX": (_BUG, "an internal error of the server"),
    "XX001": (_AWAY, "the server found corrupted data, which it reads for every message alike"),
    "XX002": (_AWAY, "the server found a corrupted index, which it reads for every message alike"),
}

#: The same by the name of the driver's class, where there is no SQLSTATE or it says too little.
#: Source: asyncpg, `exceptions/_base.py`.
DRIVER: Final[Mapping[str, tuple[Verdict, str]]] = {
    "InvalidCachedStatementError": (_AWAY, "a migration changed what a prepared statement returns"),
    "OutdatedSchemaCacheError": (_AWAY, "a migration changed a type that the connection knows"),
    "DataError": (_DATA, "a value does not fit the type of its parameter"),
    "TargetServerAttributeNotMatched": (_AWAY, "none of the hosts takes writes"),
    "ProtocolError": (_AWAY, "the connection is out of step with the server"),
    "InternalClientError": (_AWAY, "the connection is in a state that its driver does not know"),
    "InterfaceError": (_BUG, "the driver is used wrongly; that a connection is closed SQLAlchemy says itself"),
    "ClientConfigurationError": (_BUG, "the settings of the connection contradict each other"),
    "UnsupportedClientFeatureError": (_BUG, "the driver lacks a feature"),
    "UnsupportedServerFeatureError": (_BUG, "the server lacks a feature"),
}

#: Errors after which no connection of the pool is worth keeping, by class or code: others would fail alike.
CLOSING: Final = frozenset({"25006", "26", "28", "3D", "57P01", "57P02", "57P03", "57P04", "58", "42501"})


def judge(error: BaseException) -> tuple[Verdict, str]:
    """Return who is to blame for an error, and why; the driver's own error is the cause of SQLAlchemy's."""
    for kind in map(type, _chain(error)):
        if kind.__module__.startswith("asyncpg.") and kind.__name__ in DRIVER:
            return DRIVER[kind.__name__]
    state = sqlstate(error)
    return SQLSTATES.get(state) or SQLSTATES.get(state[:2]) or (Verdict.BUG, "an error that is not known here")


def closes(error: BaseException) -> bool:
    """Return whether an error condemns every connection of the pool."""
    state = sqlstate(error)
    return state in CLOSING or state[:2] in CLOSING


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of an error, or an empty string."""
    found = (getattr(link, "sqlstate", None) for link in _chain(error))
    return next((state for state in found if isinstance(state, str)), "")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what caused it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__
