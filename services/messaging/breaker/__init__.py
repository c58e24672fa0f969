"""The circuit breaker of a consumer group: too many dead letters stop the group, on all its members."""

from services.messaging.breaker.breaker import Breaker, BreakerState, TripInMemory, TripStore
from services.messaging.breaker.row import BreakerRow
from services.messaging.breaker.tally import Cooldown, Limits

__all__ = [
    "Breaker",
    "BreakerRow",
    "BreakerState",
    "Cooldown",
    "Limits",
    "TripInMemory",
    "TripStore",
]
