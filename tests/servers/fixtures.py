"""The servers as fixtures, a pytest plugin: one of each for the session, and `servers` for those of one test.

A session's server is the one whose address the environment names, or one that starts when the first test asks for it.
A test that takes a server away, or configures it, starts its own with `servers`.
"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.servers.collector import CollectorAddress, forwarding
from tests.servers.jaeger import JaegerAddress
from tests.servers.kafka import LIKE_THE_EMBEDDED_BROKER
from tests.servers.pool import Servers
from tests.support import parts
from tests.support.broker import Broker, embedded_broker, settle_groups

_SESSION = pytest.StashKey[Servers]()
_LOGS = pytest.StashKey[Path]()


_CHOICES = {"broker": ("embedded", "kafka", "kafka35"), "database_kind": ("sqlite", "postgres")}
# fixture -> the marker that narrows it for a test, and the option that narrows it for a run
_NARROWED_BY = {"broker": "brokers", "database_kind": "databases"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run choose among brokers and databases."""
    for fixture, name in _NARROWED_BY.items():
        choices = ",".join(_CHOICES[fixture])
        parser.addoption(f"--{name}", default=choices, metavar="LIST", help=f"run on these {name} alone: {choices}")


def pytest_configure(config: pytest.Config) -> None:
    """Keep what the environment says of the parts, before the tests' environment is scrubbed."""
    for fixture, name in _NARROWED_BY.items():
        config.addinivalue_line("markers", f"{name}(*kinds): run on these of {', '.join(_CHOICES[fixture])} alone")
        _chosen(config, fixture)
    config.stash[parts.REQUIRED] = parts.required_parts(os.environ)
    config.stash[parts.ADDRESSES] = parts.addresses(os.environ)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once on each broker and each database that it is about."""
    for fixture, name in _NARROWED_BY.items():
        if fixture in metafunc.fixturenames:
            marker = metafunc.definition.get_closest_marker(name)
            about = marker.args if marker else _CHOICES[fixture]
            kinds = [kind for kind in _chosen(metafunc.config, fixture) if kind in about]
            metafunc.parametrize(fixture, kinds, indirect=True, scope="session")


def _chosen(config: pytest.Config, fixture: str) -> list[str]:
    name = _NARROWED_BY[fixture]
    kinds: list[str] = config.getoption(name).split(",")
    if unknown := set(kinds) - set(_CHOICES[fixture]):
        raise pytest.UsageError(f"--{name}: not among {', '.join(_CHOICES[fixture])}: {', '.join(sorted(unknown))}")
    return kinds


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the servers' logs with a test that failed."""
    report = yield
    if report.failed:
        report.sections.extend(("log of a server", tails) for tails in _tails(item) if tails)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the servers' logs are, if they were kept."""
    folder = config.stash.get(_LOGS, None)
    if folder is not None and folder.exists():
        terminalreporter.line(f"The servers' logs are in {folder}")


def _tails(item: pytest.Item) -> Iterator[str]:
    """Read the logs of a test's own servers, and of those of the session that it may have used."""
    own = getattr(item, "funcargs", {}).get("servers")
    if isinstance(own, Servers):
        yield own.tails()
    if _SESSION in item.config.stash:
        callspec = getattr(item, "callspec", None)
        given = [value for value in callspec.params.values() if isinstance(value, str)] if callspec else []
        used = {*getattr(item, "fixturenames", ()), *given}
        yield item.config.stash[_SESSION].tails(used)


@pytest.fixture(scope="session")
def _servers_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder of all servers' folders; logs stay there when a test failed."""
    folder = request.config.stash[_LOGS] = Path(tempfile.mkdtemp(prefix="sagatrace-servers-"))
    # PostgreSQL may have to run as another user.
    folder.chmod(0o711)
    yield folder
    keep = request.session.testsfailed and any(folder.iterdir())
    for done_with in folder.glob("*/data") if keep else [folder]:
        shutil.rmtree(done_with)


@pytest.fixture(scope="session")
def session_servers(request: pytest.FixtureRequest, _servers_folder: Path) -> Iterator[Servers]:
    """The pool of the session's servers."""
    pool = request.config.stash[_SESSION] = Servers(request.config, _servers_folder)
    yield pool
    pool.close()


@pytest.fixture
def servers(request: pytest.FixtureRequest, _servers_folder: Path) -> Iterator[Servers]:
    """A pool for servers that the test may stop, kill and configure: `servers.kafka()`, `servers.prometheus({})`."""
    pool = Servers(request.config, _servers_folder)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Broker:
    """The address of Kafka 4. Like in the embedded broker, topics appear by use and have 4 partitions."""
    address = _address(request, "kafka") or _pool(request).kafka(LIKE_THE_EMBEDDED_BROKER).bootstrap
    return _settled(Broker(address, "kafka"))


@pytest.fixture(scope="session")
def kafka35(request: pytest.FixtureRequest) -> Broker:
    """The address of Kafka 3.5 with ZooKeeper. Like in the embedded broker, topics appear by use."""
    address = _address(request, "kafka35") or _pool(request).kafka35(LIKE_THE_EMBEDDED_BROKER).bootstrap
    return _settled(Broker(address, "kafka35"))


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> str:
    """The URL of PostgreSQL for a user who may create databases: postgresql+asyncpg://user:password@host:port/postgres."""
    address = _address(request, "postgres")
    return address or _pool(request).postgres().url


@pytest.fixture(scope="session")
def jaeger(request: pytest.FixtureRequest) -> JaegerAddress:
    """Where Jaeger is."""
    url = _address(request, "jaeger")
    return JaegerAddress.beside(url) if url else _pool(request).jaeger().address


@pytest.fixture(scope="session")
def collector(request: pytest.FixtureRequest) -> CollectorAddress:
    """Where a collector is that hands all spans on to `jaeger`."""
    url = _address(request, "collector")
    if url:
        return CollectorAddress.beside(url)
    jaeger: JaegerAddress = request.getfixturevalue("jaeger")
    return _pool(request).collector(forwarding(jaeger.otlp_grpc)).address


@pytest.fixture(scope="session")
def prometheus(request: pytest.FixtureRequest) -> str:
    """The URL of a Prometheus that scrapes nothing."""
    url = _address(request, "prometheus")
    return url or _pool(request).prometheus({}).url


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """The bootstrap address of a broker, one for the session; a test that asks for it runs on each in turn.

    Topics appear when they are first used, with 4 partitions. On the embedded broker a group holds one member.
    `@pytest.mark.brokers("kafka", "kafka35")` names those that a test is about.
    """
    if request.param != "embedded":
        yield request.getfixturevalue(request.param)
        return
    if importlib.util.find_spec("confluent_kafka") is None:
        parts.missing(request.config, parts.BROKER, "install the extra: pip install 'sagatrace-services[demo]'")
    with embedded_broker() as address:
        yield address


@pytest.fixture(scope="session")
def database_kind(request: pytest.FixtureRequest) -> str:
    """The database that a test runs on, each in turn: `sqlite` or `postgres`."""
    kind: str = request.param
    return kind


def _settled(broker: Broker) -> Broker:
    settle_groups(broker)
    return broker


def _address(request: pytest.FixtureRequest, part: str) -> str | None:
    return request.config.stash[parts.ADDRESSES].get(part)


def _pool(request: pytest.FixtureRequest) -> Servers:
    """Ask for the session's pool only when a server has to start."""
    pool: Servers = request.getfixturevalue("session_servers")
    return pool
