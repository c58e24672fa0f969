"""The SDK as OTEL_CONFIG_FILE describes it (specification, "Declarative configuration").

The file alone says what is exported, how and where; other OTEL_* variables count only as far as it names them. It is
read by OpenTelemetry's own package, which the SDK's extra `file-configuration` installs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from opentelemetry.util.types import AttributeValue

from tracing.errors import InvalidSetting
from tracing.semconv import SERVICE_NAME
from tracing.settings import service_name

if TYPE_CHECKING:
    from opentelemetry.configuration import OpenTelemetryConfiguration
    from opentelemetry.configuration.models import Resource


def set_up(file: str, attributes: Mapping[str, AttributeValue]) -> None:
    """Set the global providers and the propagator as a file describes them.

    Args:
        file: its path.
        attributes: of the resource, where the file has none of that name.

    Raises:
        InvalidSetting: the file can't be used, or what reads it is not installed.
    """
    try:
        from opentelemetry.configuration import (  # noqa: PLC0415 - few programs need it
            ConfigurationError,
            configure_sdk,
            load_config_file,
        )
    except ImportError as error:
        raise InvalidSetting(
            "OTEL_CONFIG_FILE needs a package that is missing: pip install 'opentelemetry-sdk[file-configuration]'"
        ) from error
    try:
        described = load_config_file(file)
        _add(described, attributes)
        configure_sdk(described)
    except ConfigurationError as error:
        raise InvalidSetting(f"OTEL_CONFIG_FILE names {file!r}, which can't be used: {error}") from error


def _add(described: OpenTelemetryConfiguration, attributes: Mapping[str, AttributeValue]) -> None:
    """Add attributes to the resource of a configuration."""
    from opentelemetry.configuration.models import AttributeNameValue, Resource  # noqa: PLC0415 - as above

    resource = described.resource = described.resource or Resource()
    named = {attribute.name for attribute in resource.attributes or ()} | _listed(resource)
    added = [AttributeNameValue(name, cast("Any", value)) for name, value in attributes.items() if name not in named]
    resource.attributes = [*(resource.attributes or ()), *added]


def _listed(resource: Resource) -> set[str]:
    """Return the names in the resource's list, and the service's if the file takes it from OTEL_SERVICE_NAME."""
    found = {pair.partition("=")[0].strip() for pair in (resource.attributes_list or "").split(",")}
    detection = resource.detection_development
    detectors = (detection.detectors if detection is not None else None) or ()
    if service_name() is not None and any(detector.service is not None for detector in detectors):
        found.add(SERVICE_NAME)
    return found
