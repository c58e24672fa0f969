"""What Jaeger answers to its page, over the JSON API that the page of 2.13 uses."""

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx2


@dataclass(frozen=True)
class JaegerApi:
    """Asks Jaeger what its page asks.

    Args:
        url: its query address.
    """

    url: str

    def ask(self, path: str, **parameters: str | int) -> Any:
        """Query `/api/PATH`, and return the JSON."""
        answer = httpx2.get(f"{self.url}/api/{path}", params=parameters, timeout=100)
        answer.raise_for_status()
        return answer.json()

    def trace(self, trace_id: str) -> dict[str, Any]:
        """Read a trace as the page shows it, with the warnings that its adjusters put on spans."""
        (found,) = self.ask(f"traces/{trace_id}")["data"]
        trace: dict[str, Any] = found
        return trace

    def search(self, service: str, **tags: str) -> list[dict[str, Any]]:
        """Search the traces of the last hour, and return up to 1000."""
        wanted = {"tags": json.dumps(tags)} if tags else {}
        found: list[dict[str, Any]] = self.ask("traces", service=service, lookback="1h", limit=1000, **wanted)["data"]
        return found

    def dependencies(self) -> set[tuple[str, str]]:
        """Return who calls whom, as the page of dependencies shows it."""
        now = int(time.time() * 1000)
        links = self.ask("dependencies", endTs=now, lookback=3_600_000)["data"]
        return {(link["parent"], link["child"]) for link in links}

    def page(self) -> str:
        """Read the page, into which Jaeger has written its configuration."""
        return httpx2.get(f"{self.url}/search", timeout=100).text


def warnings(trace: dict[str, Any]) -> list[str]:
    """Return all warnings of a trace's spans."""
    return [warning for span in trace["spans"] for warning in span["warnings"] or ()]


def root(trace: dict[str, Any]) -> str:
    """Return the name of a trace's first span without a parent."""
    return str(min(trace["spans"], key=lambda span: (len(span["references"]), span["startTime"]))["operationName"])
