"""What Prometheus answers."""

from dataclasses import dataclass
from typing import Any

import httpx2


@dataclass(frozen=True)
class Prometheus:
    """Queries Prometheus."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """Query its API, and return the data."""
        answer = httpx2.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=100).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        """Evaluate an expression now."""
        return [float(sample["value"][1]) for sample in self.ask("query", query=expression)["result"]]
