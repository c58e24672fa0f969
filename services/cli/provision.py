"""Create topics on the broker and tables in the database, before the services start. Both can be repeated."""

from __future__ import annotations

import asyncio
import sys

from services.cli.errors import CannotRun
from services.cli.run import Service
from services.cli.session import log_to_stderr
from services.contracts.topics import READERS
from services.messaging.errors import MessagingError
from services.messaging.settings import DatabaseSettings, KafkaSettings
from services.messaging.storage import upgrade
from services.messaging.topic_differences import log_differences
from services.messaging.topology import all_topics, create_topics


def topics(replicas: int, wait_s: float) -> list[str]:
    """Create the missing topics, log where those that were there differ, and return a line for each topic.

    Raises:
        CannotRun: no broker answers in time, or it refuses.
    """
    log_to_stderr()
    servers = KafkaSettings.read().bootstrap_servers
    print(f"sagatrace: asking the broker at {servers}, for {wait_s:g} s at most", file=sys.stderr)
    try:
        created = asyncio.run(create_topics(servers, replicas=replicas, timeout_s=wait_s))
        if len(created) < len(all_topics()):
            asyncio.run(log_differences(servers, {group for groups in READERS.values() for group in groups}))
    except MessagingError as error:
        raise CannotRun(str(error)) from error
    return [f"{topic.name}: {'made' if topic.name in created else 'is there'}" for topic in all_topics()]


def migrate() -> list[str]:
    """Upgrade every service's tables to the newest revision, and return a line for each service.

    Raises:
        CannotRun: the database is unavailable, or is a SQLite file, which holds the tables of only one service.
    """
    settings = DatabaseSettings.read()
    if (settings.database_url or "").startswith("sqlite"):
        raise CannotRun("DATABASE_URL: a SQLite file holds the tables of one service, which makes them when it starts")
    try:
        for service in Service:
            asyncio.run(upgrade(settings.url_of(service.value), service.value))
    except MessagingError as error:
        raise CannotRun(f"DATABASE_URL: {error}") from error
    return [f"{service}: tables are up to date" for service in Service]
