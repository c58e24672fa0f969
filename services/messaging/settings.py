"""The settings that every service reads from its environment: broker, database, and how it produces and consumes.

A wrong value is reported by the variable's name, never by the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.contracts.codec import Held
from services.contracts.versions import VERSIONS
from services.messaging import database_url
from services.messaging.crash_points import CrashPoint
from services.messaging.errors import ConfigurationError

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Retained = Annotated[float, Field(gt=0, le=10 * 366 * 86_400)]
_DAY_S = 86_400.0
#: The folder of the span journals, beside the SQLite files; `SAGATRACE_JOURNAL_DIR` names another, or `none`.
JOURNAL = Path(".sagatrace/journal")
# A name, an IPv4 address or an IPv6 address in brackets; the port may be left out.
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

# A type of message and its version.
_PAIR = re.compile(r"(?P<type>[a-z_.]{1,64})=(?P<version>[1-9]\d{0,3})")


class Settings(BaseSettings):
    """A group of settings, read once from the environment and then frozen; an empty variable counts as absent."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, env_ignore_empty=True)

    @classmethod
    def read(cls) -> Self:
        """Read the settings.

        Raises:
            ConfigurationError: a variable is wrong; the text names it and the rule.
        """
        try:
            return cls()
        except ValidationError as error:
            details = error.errors(include_input=False, include_url=False, include_context=False)
            raise ConfigurationError("; ".join(cls._rule(detail["loc"], detail["msg"]) for detail in details)) from None

    @classmethod
    def _rule(cls, location: tuple[int | str, ...], message: str) -> str:
        """Return the broken rule, after the variable's name; a rule about several variables names them itself."""
        rule = message.removeprefix("Value error, ")
        if not location:
            return rule
        prefix = cls.model_config.get("env_prefix", "")
        return f"{prefix}{'_'.join(map(str, location))}".upper() + f": {rule}"


class KafkaSettings(Settings):
    """The address of the broker: `KAFKA_BOOTSTRAP_SERVERS`, a comma-separated list of `host:port`."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    bootstrap_servers: str = "localhost:9092"

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_addresses(cls, brokers: str) -> str:
        addresses = [address.strip() for address in brokers.split(",")]
        if not all(map(_ADDRESS.fullmatch, addresses)):
            raise ValueError("it is not a list of host:port, separated by commas")
        return ",".join(addresses)


class DatabaseSettings(Settings):
    """The address of the database: `DATABASE_URL`; without it, a SQLite file for each service under `.sagatrace`.

    It is `sqlite+aiosqlite:///path` or `postgresql+asyncpg://user:password@host:port/name`.
    """

    # Its password must not get into a log with the settings.
    database_url: str | None = Field(default=None, repr=False)

    @field_validator("database_url")
    @classmethod
    def _has_a_driver(cls, url: str | None) -> str | None:
        if url is not None:
            database_url.parse(url)
        return url

    def url_of(self, service: str) -> str:
        """Return the database URL of a service."""
        return self.database_url or f"sqlite+aiosqlite:///.sagatrace/{service}.sqlite"


class ProducerSettings(Settings):
    """How a producer sends, from `SAGATRACE_PRODUCER_*`; times in seconds, sizes in bytes.

    `max_bytes` is the largest record: by default Kafka's own `max.message.bytes` plus the 64 KiB that a dead letter may
    add.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_PRODUCER_")

    attempts: Count = 5
    send_timeout: Seconds = 10.0
    first_backoff: Seconds = 0.1
    longest_backoff: Seconds = 5.0
    stop_timeout: Seconds = 5.0
    start_timeout: Seconds = 20.0
    max_bytes: Annotated[int, Field(ge=1, le=2**30)] = 1_048_588 + 65_536


class ConsumerSettings(Settings):
    """How a consumer works, from `SAGATRACE_CONSUMER_*`; times in seconds.

    `max_concurrency` is how many records of one partition may be handled at the same time; records of one key never
    are. The services take 64 if it is not set. `retries` is the number of further attempts at a record whose handler
    failed. `drain` is how long a stop or a rebalance waits for handlers that have begun. A broker that is silent for
    longer than `session_timeout` makes the consumer unready. A record that fails again after `max_redrives` re-drives
    is parked; 0 means no limit.
    `isolation_level` is Kafka's: a record of a transaction is read once the transaction is committed, or at once.

    The breaker opens after `breaker_in_a_row` dead letters in a row, or once `breaker_ratio` of the last
    `breaker_window` records are dead letters. After `breaker_cooldown`, doubled each time up to
    `breaker_longest_cooldown`, records are tried one at a time, and `breaker_probes` that work close it.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_CONSUMER_")

    isolation_level: Literal["read_committed", "read_uncommitted"] = "read_committed"
    session_timeout: Seconds = 10.0
    join_timeout: Seconds = 60.0
    poll_timeout: Seconds = 0.2
    fetch_max_wait: Seconds = 0.1
    max_poll_records: Count = 500
    max_concurrency: Annotated[int, Field(ge=1, le=1000)] = 1
    max_in_flight: Count = 1000
    commit_interval: Seconds = 0.5
    commit_timeout: Seconds = 5.0
    handler_timeout: Seconds = 30.0
    retries: Annotated[int, Field(ge=0, le=100)] = 5
    first_backoff: Seconds = 0.1
    longest_backoff: Seconds = 5.0
    drain: Seconds = 5.0
    max_redrives: Annotated[int, Field(ge=0, le=1000)] = 3
    breaker_in_a_row: Count = 10
    breaker_window: Count = 50
    breaker_ratio: Annotated[float, Field(gt=0, le=1)] = 0.3
    breaker_cooldown: Seconds = 30.0
    breaker_longest_cooldown: Seconds = 3600.0
    breaker_probes: Count = 3


class RelaySettings(Settings):
    """How a relay empties its outbox, from `SAGATRACE_RELAY_*`; times in seconds.

    `lease` is how long the rows of a relay that died wait for another one: while a row is sent, its lease is renewed.
    `poll_interval` is how late rows are found that did not wake the relay: those of the same process do, and on
    PostgreSQL those of other processes too.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_RELAY_")

    max_in_flight: Count = 100
    poll_interval: Seconds = 0.5
    send_timeout: Seconds = 60.0
    lease: Seconds = 6.0
    first_backoff: Seconds = 0.5
    longest_backoff: Seconds = 10.0
    drain: Seconds = 5.0


class ContractSettings(Settings):
    """Types of messages that are written at an older version, while a deploy runs programs that read no newer one.

    `SAGATRACE_HELD_VERSIONS` lists them, as `order.created=1`, separated by commas.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_")

    held_versions: str = ""

    @field_validator("held_versions")
    @classmethod
    def _are_kept(cls, versions: str) -> str:
        for event_type, version in _held(versions).items():
            kept = VERSIONS.of_type(event_type)
            if version not in kept:
                wanted = f"{event_type} has the versions {', '.join(map(str, kept))}" if kept else "a type is not known"
                raise ValueError(f"it holds what can't be written: {wanted}")
        return versions

    def held(self) -> Held:
        """Return the version at which each of the types is held."""
        return _held(self.held_versions)


def _held(versions: str) -> Held:
    """Read `type=version`, several separated by commas.

    Raises:
        ValueError: it is something else.
    """
    pairs = [_PAIR.fullmatch(pair.strip()) for pair in versions.split(",") if pair.strip()]
    held = {pair["type"]: int(pair["version"]) for pair in pairs if pair}
    if len(held) < len(pairs):
        raise ValueError("it is not a list of type=version, separated by commas, each type once")
    return held


class RetentionSettings(Settings):
    """How long rows are kept, in seconds, from `SAGATRACE_RETENTION_*`, and how often what is older is deleted.

    `sent` is for messages that were sent. `inbox` and `tombstones` must outlast the latest possible re-drive: a message
    that comes after them has its effect again. `idempotency_keys` must outlast the last retry of any client of the
    order API: a request that comes after it is a new order.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_RETENTION_")

    sent: Retained = 7 * _DAY_S
    inbox: Retained = 90 * _DAY_S
    tombstones: Retained = 90 * _DAY_S
    idempotency_keys: Retained = 30 * _DAY_S
    interval: Seconds = 3600.0


class TracingSettings(Settings):
    """Which spans a service records, beside those of its orders.

    `SAGATRACE_ALL_SPANS` adds those of polls, of commits and of requests that only read. Each of them is a trace of its
    own that belongs to no order, and they are most of all traces; metrics count them either way.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_")

    all_spans: bool = False


class RuntimeSettings(Settings):
    """How long a service may take to end, in seconds.

    `SAGATRACE_STOP_BUDGET` is for its parts, `SAGATRACE_FLUSH_TIMEOUT` for the export of its last spans.
    `SAGATRACE_CRASH_AT` is for tests: the process kills itself there.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_")

    stop_budget: Seconds = 8.0
    flush_timeout: Seconds = 5.0
    crash_at: str | None = None

    def crash_point(self, writes: Iterable[str] = ()) -> CrashPoint | None:
        """Return the point at which a service with these writes of its own kills itself, if it is told to.

        Raises:
            ConfigurationError: there is no such point; the text lists the writes.
        """
        try:
            return None if self.crash_at is None else CrashPoint.parse(self.crash_at, writes)
        except ValueError as error:
            raise ConfigurationError(f"SAGATRACE_CRASH_AT: {error}") from None
