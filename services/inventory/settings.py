"""The settings of the inventory, read from its environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.inventory.stock import FailurePlan
from services.messaging.settings import Seconds, Settings


class StockSettings(Settings):
    """The simulated stock.

    Read from `SAGATRACE_STOCK_QUANTITY`, `SAGATRACE_RESERVATION_DELAY` and `SAGATRACE_RESERVATION_POLL` (seconds).
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_")

    stock_quantity: Annotated[int, Field(ge=0, le=10**15)] = 1_000_000
    reservation_delay: Seconds = 2.0
    reservation_poll: Seconds = 0.5

    def plan(self) -> FailurePlan:
        """Return the failure plan."""
        return FailurePlan(quantity=self.stock_quantity, delay_s=self.reservation_delay)
