"""The order API behind a bearer token: who gets in, and what the others are told."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from services.cli.order_api import ApiError, OrderApi
from services.messaging.errors import ConfigurationError
from services.messaging.readiness import Readiness
from services.oms.api import create_app
from services.oms.settings import ApiSettings
from tests.support.api_server import running_api
from tests.support.databases import sqlite_url
from tests.support.orders import OrderService
from tracing.testing import RecordedSpans

TOKEN = "correct-horse-battery"
PATHS = ["/orders/none", "/sagas", "/openapi.json", "/docs", "/nowhere"]


@pytest.fixture
async def guarded(oms: OrderService) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an API that requires the token."""
    transport = httpx2.ASGITransport(create_app(oms.orders, Readiness(), SecretStr(TOKEN)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://oms") as opened:
        yield opened


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", f"Bearer {TOKEN}x")],
        [("authorization", f"Basic {TOKEN}")],
        [("authorization", TOKEN)],
        [("authorization", "Bearer \xe9")],
        [("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer wrong")],
    ],
    ids=["none", "wrong", "longer", "basic", "bare", "latin", "two"],
)
async def test_without_the_token_nobody_gets_in(
    guarded: httpx2.AsyncClient, spans: RecordedSpans, path: str, headers: list[tuple[str, str]]
) -> None:
    """Every path is a 401 problem with a challenge, leaves no span, and does not say what was wrong."""
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = await guarded.get(path, headers=sent)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"] == 'Bearer realm="sagatrace"'
    assert answer.json()["detail"] == "a bearer token is needed"
    assert spans.finished == []


@pytest.mark.databases("sqlite")
async def test_with_the_token_everything_works_as_without_one(guarded: httpx2.AsyncClient) -> None:
    """The token opens every path; the scheme's case does not matter (RFC 9110, section 11.1)."""
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} {TOKEN}"}
        codes = [(await guarded.get(path, headers=headers)).status_code for path in PATHS]
        assert codes == [404, 200, 200, 200, 404]


@pytest.mark.databases("sqlite")
async def test_the_health_is_open(guarded: httpx2.AsyncClient) -> None:
    """A supervisor without a token is told whether the service lives and works."""
    assert [(await guarded.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]


def test_the_command_sends_the_token(tmp_path: Path) -> None:
    """The command's client gets in with the token, and is told why not without it."""
    with running_api(sqlite_url(tmp_path), TOKEN) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ApiError, match="404"):
            OrderApi("127.0.0.1", port, SecretStr(TOKEN)).status("none")
        with pytest.raises(ApiError, match="a bearer token is needed"):
            OrderApi("127.0.0.1", port).status("none")


def test_the_api_listens_to_this_machine_alone_by_default() -> None:
    """Without a setting nobody from outside reaches the API."""
    assert (ApiSettings.read().host, ApiSettings.read().token) == ("127.0.0.1", None)


@pytest.mark.parametrize("token", ["short", "a token with blanks", "a-token-with-\xe9-in-it"])
def test_an_unusable_token_is_refused(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """A token that is easy to guess, or can't be sent in a header, is refused, and not shown."""
    monkeypatch.setenv("SAGATRACE_API_TOKEN", token)
    with pytest.raises(ConfigurationError, match="SAGATRACE_API_TOKEN") as refused:
        ApiSettings.read()
    assert token not in str(refused.value)


def test_a_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings' text and JSON do not hold the token."""
    monkeypatch.setenv("SAGATRACE_API_TOKEN", TOKEN)
    settings = ApiSettings.read()
    assert TOKEN not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
