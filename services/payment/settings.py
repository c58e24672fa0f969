"""The settings of the payment service, read from its environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict
from sqlalchemy import make_url

from services.messaging.settings import Seconds, Settings
from services.payment.gateway import GatewayPlan


class GatewaySettings(Settings):
    """The simulated payment gateway.

    Read from `SAGATRACE_GATEWAY_SLOW` (seconds), `SAGATRACE_GATEWAY_FLAKY_FAILURES` and
    `SAGATRACE_GATEWAY_DATABASE_URL`, by default a database beside the service's own.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_GATEWAY_")

    slow: Seconds = 2.0
    flaky_failures: Annotated[int, Field(ge=0, le=100)] = 2
    database_url: str | None = None

    def plan(self) -> GatewayPlan:
        """Return the gateway's plan."""
        return GatewayPlan(slow_s=self.slow, flaky_failures=self.flaky_failures)

    def url(self, service_url: str) -> str:
        """Return the URL of the gateway's database: a file of its own on SQLite, a schema of its own on PostgreSQL."""
        if self.database_url is not None:
            return self.database_url
        url = make_url(service_url)
        if url.get_backend_name() == "sqlite" and url.database:
            url = url.set(database=f"{url.database}.gateway")
        return url.render_as_string(hide_password=False)
