"""What is done once before the services start: topics on the broker, tables in the database. Both may be repeated."""

from __future__ import annotations

import asyncio
import sys

from services.cli.errors import CannotRun
from services.cli.run import Service
from services.cli.session import log_to_stderr
from services.messaging.errors import MessagingError
from services.messaging.settings import DatabaseSettings, KafkaSettings
from services.messaging.storage import upgrade
from services.messaging.topology import all_topics, create_topics


def topics(replicas: int, wait_s: float) -> list[str]:
    """Make the topics that are missing, and say what was done, a line each.

    Raises:
        CannotRun: no broker answers in time, or it refuses.
    """
    log_to_stderr()
    servers = KafkaSettings.read().bootstrap_servers
    print(f"sagatrace: asking the broker at {servers}, for {wait_s:g} s at most", file=sys.stderr)
    try:
        made = asyncio.run(create_topics(servers, replicas=replicas, timeout_s=wait_s))
    except MessagingError as error:
        raise CannotRun(str(error)) from error
    return [f"{topic.name}: {'made' if topic.name in made else 'is there'}" for topic in all_topics()]


def migrate() -> list[str]:
    """Bring every service's tables to the newest revision, and say so, a line each.

    Raises:
        CannotRun: the database is away, or is a SQLite file, which holds one service.
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
