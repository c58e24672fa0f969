"""The servers as fixtures, a pytest plugin: one of each for the whole run, and `servers` for those of one test.

A run's server is the one whose address the environment names, or one that starts when the first test asks for it; the
workers of pytest-xdist share it (`shared`). A test that takes a server away, or configures it, starts its own with
`servers`.
"""

import importlib.util
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.collector import CollectorAddress
from tests.servers.installed import CHROMIUM, PARTS
from tests.servers.jaeger import JaegerAddress
from tests.servers.pool import Servers
from tests.servers.shared import Asker, Owner, Shared, tails
from tests.support import parts
from tests.support.broker import Broker, embedded_broker, settle_groups

_SHARED = pytest.StashKey[Shared]()
# What a worker is told, in pytest-xdist's `workerinput`.
_TOLD = "sagatrace_servers"

_CHOICES = {"broker": ("embedded", "kafka", "kafka35"), "database_kind": ("sqlite", "postgres")}
# fixture -> the marker that narrows it for a test, and the option that narrows it for a run
_NARROWED_BY = {"broker": "brokers", "database_kind": "databases"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose brokers and databases."""
    for fixture, name in _NARROWED_BY.items():
        choices = ",".join(_CHOICES[fixture])
        parser.addoption(f"--{name}", default=choices, metavar="LIST", help=f"run only on these {name}: {choices}")


def pytest_configure(config: pytest.Config) -> None:
    """Read what the environment says about the servers, before the tests' environment is scrubbed."""
    for fixture, name in _NARROWED_BY.items():
        config.addinivalue_line("markers", f"{name}(*kinds): run only on these of {', '.join(_CHOICES[fixture])}")
        _chosen(config, fixture)
    config.stash[parts.REQUIRED] = parts.required_parts(os.environ)
    config.stash[parts.ADDRESSES] = parts.addresses(os.environ)
    told = getattr(config, "workerinput", {}).get(_TOLD)
    shared: Shared = Asker(Path(told["folder"]), told["key"]) if told else Owner(config)
    config.stash[_SHARED] = shared


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Answer the workers that are about to start."""
    owner = config.stash[_SHARED]
    assert isinstance(owner, Owner)
    owner.answer()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker whom to ask."""
    owner = node.config.stash[_SHARED]
    node.workerinput[_TOLD] = {"folder": str(owner.folder), "key": owner.key}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the run's servers, after the fixtures that use them and after the workers; keep the logs of a failed run."""
    owner = session.config.stash[_SHARED]
    if isinstance(owner, Owner):
        owner.close(keep_logs=session.testsfailed > 0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once on each of its brokers and databases."""
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
    """Show the last lines of the servers' logs with a failed test."""
    report = yield
    if report.failed:
        report.sections.extend(("log of a server", tails) for tails in _tails(item) if tails)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print where the servers' logs are, if they were kept."""
    folder = config.stash[_SHARED].folder
    if folder.exists():
        terminalreporter.line(f"The servers' logs are in {folder}")


def _tails(item: pytest.Item) -> Iterator[str]:
    """Read the logs of a test's own servers, and of the shared ones that it may have used."""
    own = getattr(item, "funcargs", {}).get("servers")
    if isinstance(own, Servers):
        yield own.tails()
    callspec = getattr(item, "callspec", None)
    given = [value for value in callspec.params.values() if isinstance(value, str)] if callspec else []
    yield tails(item.config.stash[_SHARED].folder, {*getattr(item, "fixturenames", ()), *given} & set(PARTS))


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """A pool for servers that the test may stop, kill and configure: `servers.kafka()`, `servers.prometheus({})`."""
    yield from _own(request)


@pytest.fixture(scope="module")
def module_servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Like `servers`, for the tests of a module together."""
    yield from _own(request)


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Broker:
    """The address of Kafka 4. Like in the embedded broker, topics appear by use and have 4 partitions."""
    return _settled(Broker(_given(request, "kafka") or _shared(request, "kafka"), "kafka"))


@pytest.fixture(scope="session")
def kafka35(request: pytest.FixtureRequest) -> Broker:
    """The address of Kafka 3.5 with ZooKeeper. Like in the embedded broker, topics appear by use."""
    return _settled(Broker(_given(request, "kafka35") or _shared(request, "kafka35"), "kafka35"))


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> str:
    """The URL of PostgreSQL for a user who may create databases: postgresql+asyncpg://user:password@host:port/postgres."""
    url: str = _given(request, "postgres") or _shared(request, "postgres")
    return url


@pytest.fixture(scope="session")
def jaeger(request: pytest.FixtureRequest) -> JaegerAddress:
    """The addresses of Jaeger."""
    url = _given(request, "jaeger")
    address: JaegerAddress = JaegerAddress.beside(url) if url else _shared(request, "jaeger")
    return address


@pytest.fixture(scope="session")
def collector(request: pytest.FixtureRequest) -> CollectorAddress:
    """The addresses of a collector that forwards all spans to `jaeger`."""
    url = _given(request, "collector")
    if url:
        return CollectorAddress.beside(url)
    # Without Jaeger the test is skipped here, and not where the collector would start.
    request.getfixturevalue("jaeger")
    address: CollectorAddress = _shared(request, "collector")
    return address


@pytest.fixture(scope="session")
def prometheus(request: pytest.FixtureRequest) -> str:
    """The URL of a Prometheus that scrapes nothing."""
    url: str = _given(request, "prometheus") or _shared(request, "prometheus")
    return url


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> Path:
    """The program of Chromium."""
    given = _given(request, CHROMIUM)
    return Path(given) if given else Servers(request.config, request.config.stash[_SHARED].folder).programs(CHROMIUM)


@pytest.fixture(scope="session")
def _embedded(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """The embedded broker. pytest ends `broker` whenever the kind changes; this one stays."""
    if importlib.util.find_spec("confluent_kafka") is None:
        parts.missing(request.config, parts.BROKER, "install the extra: pip install 'sagatrace-services[demo]'")
    with embedded_broker() as address:
        yield address


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    """The bootstrap address of a broker; a test that asks for it runs on each kind in turn.

    Topics appear when they are first used, with 4 partitions. On the embedded broker a group holds one member.
    `@pytest.mark.brokers("kafka", "kafka35")` limits a test to those.
    """
    address: Broker = request.getfixturevalue("_embedded" if request.param == "embedded" else request.param)
    return address


@pytest.fixture(scope="session")
def database_kind(request: pytest.FixtureRequest) -> str:
    """The database that a test runs on, each in turn: `sqlite` or `postgres`."""
    kind: str = request.param
    return kind


def _settled(broker: Broker) -> Broker:
    settle_groups(broker)
    return broker


def _own(request: pytest.FixtureRequest) -> Iterator[Servers]:
    pool = Servers(request.config, request.config.stash[_SHARED].folder)
    yield pool
    pool.close()


def _given(request: pytest.FixtureRequest, part: str) -> str | None:
    """Return the address that the environment named when pytest started."""
    return request.config.stash[parts.ADDRESSES].get(part)


def _shared(request: pytest.FixtureRequest, part: str) -> Any:
    """Return the address of the run's server, or skip the test if the part is not installed."""
    shared = request.config.stash[_SHARED]
    Servers(request.config, shared.folder).programs(part)
    return shared.address(part)
