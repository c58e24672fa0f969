"""Links with which the spans of messages start that are sent in a context.

They are for work that is continued later, such as from a row of an outbox: the parent of a send need not be what caused
it, and the cause is then a link. Links that are there when a span starts are seen by a sampler (messaging-spans.md).
"""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context, create_key, set_value
from opentelemetry.trace import Link

_KEY: Final = create_key("sagatrace-send-links")


def with_links(context: Context, *links: Link) -> Context:
    """Return a context in which each `send` span, and each `create` span of a batch, starts with these links."""
    return set_value(_KEY, links, context)


def links_in(context: Context) -> tuple[Link, ...]:
    """Return the links with which a span that sends in this context starts."""
    return context.get(_KEY) or ()  # type: ignore[return-value]  # only with_links() writes under the key
