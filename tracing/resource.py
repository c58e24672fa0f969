"""The resource of everything that a program exports: which service, in which version, on which host.

What the environment says wins (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, and the detectors that
OTEL_EXPERIMENTAL_RESOURCE_DETECTORS names), because a deployment knows better than a program where it runs. Then comes
what the program says, and last what is found out about the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.util.types import AttributeValue

from tracing import host
from tracing.semconv import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION

#: How the SDK's own name for a service without one begins.
_UNNAMED: Final = "unknown_service"


def resource_of(
    name: str | None = None,
    version: str | None = None,
    namespace: str | None = None,
    attributes: Mapping[str, AttributeValue] | None = None,
) -> Resource:
    """Return the resource of a service.

    Args:
        name: `service.name`.
        version: `service.version`.
        namespace: `service.namespace`.
        attributes: further attributes. Without a `service.instance.id` the SDK's is used, a new one for each process.
    """
    given = Resource.create()
    environment = dict(given.attributes)
    program = program_attributes(name, version, namespace, attributes)
    if str(environment.get(SERVICE_NAME, "")).startswith(_UNNAMED) and SERVICE_NAME in program:
        del environment[SERVICE_NAME]
    if SERVICE_INSTANCE_ID in program and SERVICE_INSTANCE_ID not in OTELResourceDetector().detect().attributes:
        del environment[SERVICE_INSTANCE_ID]
    return Resource({**host.describe(), **program, **environment}, given.schema_url)


def program_attributes(
    name: str | None, version: str | None, namespace: str | None, attributes: Mapping[str, AttributeValue] | None
) -> dict[str, AttributeValue]:
    """Return what a program says of itself, under the names of the convention."""
    service = {SERVICE_NAME: name, SERVICE_VERSION: version, SERVICE_NAMESPACE: namespace}
    return {**(attributes or {}), **{key: value for key, value in service.items() if value}}
