"""A delivery whose dead letters stay in memory, and a handler that fails as a test decides."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from services.contracts import Message
from services.messaging.breaker.breaker import Breaker, TripInMemory
from services.messaging.breaker.tally import Cooldown, Limits
from services.messaging.consuming.delivery import Delivery, Ladder
from services.messaging.dead_letters.topic import DeadLetters
from services.messaging.readiness import Readiness
from services.messaging.retry import Backoff
from tests.support.records import DeadLetterTopic

GROUP = "billing"


@dataclass
class Handling:
    """A handler that fails with each of some errors, and then succeeds."""

    failures: list[BaseException] = field(default_factory=list)
    calls: list[Message] = field(default_factory=list)
    handled: list[Message] = field(default_factory=list)

    async def __call__(self, message: Message) -> None:
        """Handle one message."""
        self.calls.append(message)
        if self.failures:
            raise self.failures.pop(0)
        self.handled.append(message)


def calm_breaker() -> Breaker:
    """Return a breaker that never trips."""
    return Breaker(GROUP, Limits(10**6, 10**6, 1.0), Cooldown(1, 1, 1), TripInMemory())


def delivery(  # noqa: PLR0913  what a test may want to say, each by name
    handler: Callable[[Message], Awaitable[None]],
    dead_letters: DeadLetterTopic,
    *,
    readiness: Readiness | None = None,
    handler_timeout_s: float = 5,
    retries: int = 2,
    redrives: int = 0,
    breaker: Breaker | None = None,
    **options: Any,
) -> Delivery:
    """Return a delivery with short waits."""
    source = random.Random(1)
    ladder = Ladder(
        handler_timeout_s=handler_timeout_s,
        retries=Backoff(0.001, 0.002, retries, source),
        waits=Backoff(0.001, 0.002, source=source),
        redrives=redrives,
    )
    return Delivery(
        GROUP,
        handler,
        DeadLetters(GROUP, dead_letters),
        ladder,
        readiness=readiness or Readiness(),
        breaker=breaker or calm_breaker(),
        **options,
    )


def events_of(span: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return a span's events: name and attributes."""
    for event in span.events:
        yield event.name, dict(event.attributes or {})
