"""The settings that the command reads from its environment, and the environment of the services it starts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import AliasChoices, Field, StringConstraints
from pydantic_settings import SettingsConfigDict

from services.messaging.settings import Settings

Url = Annotated[str, StringConstraints(pattern=r"^https?://\S+$")]

#: Variables that the demo sets itself, whatever the shell has. The user's resource attributes stay.
_OWN = re.compile(
    r"OTEL_(?!RESOURCE_ATTRIBUTES$).*|SAGATRACE_(API_HOST|API_PORT|JOURNAL_DIR)|KAFKA_BOOTSTRAP_SERVERS|DATABASE_URL"
)


class DemoSettings(Settings):
    """The real broker, database and endpoint to use in place of the demo's own; each is optional.

    Read from `KAFKA_BOOTSTRAP_SERVERS`, `DATABASE_URL`, `OTEL_EXPORTER_OTLP_ENDPOINT` (http or https: OTLP/HTTP) and
    `OTEL_EXPORTER_OTLP_HEADERS` (`name=value,...`, percent-encoded). gRPC is not supported, so
    `OTEL_EXPORTER_OTLP_PROTOCOL` must be `http/protobuf`.
    """

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, env_ignore_empty=True)

    kafka_bootstrap_servers: str | None = None
    database_url: str | None = None
    otlp_endpoint: Annotated[Url | None, Field(validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT"))] = None
    otlp_headers: Annotated[str, Field(validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_HEADERS"))] = ""
    otlp_protocol: Annotated[
        Literal["http/protobuf"],
        Field(validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_PROTOCOL")),
    ] = "http/protobuf"

    def headers(self) -> dict[str, str]:
        """Parse the OTLP headers (OTLP exporter specification, "Specifying headers via environment variables")."""
        pairs = (pair.partition("=") for pair in self.otlp_headers.split(",") if "=" in pair)
        return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


class JaegerSettings(Settings):
    """Where people open Jaeger's page, for the links in what the command prints: `SAGATRACE_JAEGER_PAGE`.

    It is needed where the command reads Jaeger under an address of its own, as in a container.
    """

    model_config = SettingsConfigDict(env_prefix="SAGATRACE_JAEGER_")

    page: Url | None = None


class OperatorSettings(Settings):
    """Who runs the command (`SAGATRACE_OPERATOR`), and whether its spans are exported.

    They are exported if `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_TRACES_EXPORTER`
    is set.
    """

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, env_ignore_empty=True)

    operator: Annotated[
        str | None,
        Field(validation_alias=AliasChoices("SAGATRACE_OPERATOR")),
        StringConstraints(pattern=r"^[A-Za-z0-9._:@+-]{1,64}$"),
    ] = None
    otel_exporter_otlp_endpoint: str | None = None
    otel_exporter_otlp_traces_endpoint: str | None = None
    otel_traces_exporter: str | None = None

    def records_spans(self) -> bool:
        """Return whether spans are exported anywhere."""
        return any(
            (self.otel_exporter_otlp_endpoint, self.otel_exporter_otlp_traces_endpoint, self.otel_traces_exporter)
        )


def environment_of(variables: Mapping[str, str]) -> dict[str, str]:
    """Return a service's environment: that of this process, less what the demo sets itself, plus `variables`."""
    inherited = {name: value for name, value in os.environ.items() if not _OWN.fullmatch(name)}
    return inherited | dict(variables)
