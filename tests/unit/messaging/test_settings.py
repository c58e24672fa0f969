"""Settings come from the environment, and a wrong one is named."""

import pytest

from services.messaging.errors import ConfigurationError
from services.messaging.settings import (
    ConsumerSettings,
    ContractSettings,
    DatabaseSettings,
    KafkaSettings,
    ProducerSettings,
    Settings,
)

SECRET = "hunter 2"


def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting has a variable, and without it a default."""
    assert ConsumerSettings.read().retries == 5
    monkeypatch.setenv("SAGATRACE_CONSUMER_RETRIES", "7")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "one:9092,two:9092")
    monkeypatch.setenv("DATABASE_URL", f"postgresql+asyncpg://u:{SECRET}@h/d")
    assert ConsumerSettings.read().retries == 7
    assert KafkaSettings.read().bootstrap_servers == "one:9092,two:9092"
    assert DatabaseSettings.read().url_of("oms") == f"postgresql+asyncpg://u:{SECRET}@h/d"


@pytest.mark.parametrize(
    ("variable", "kind"),
    [
        ("SAGATRACE_CONSUMER_RETRIES", ConsumerSettings),
        ("SAGATRACE_CONSUMER_SESSION_TIMEOUT", ConsumerSettings),
        ("SAGATRACE_PRODUCER_ATTEMPTS", ProducerSettings),
        ("KAFKA_BOOTSTRAP_SERVERS", KafkaSettings),
        ("DATABASE_URL", DatabaseSettings),
    ],
)
def test_a_wrong_value_is_told_by_its_name_alone(
    variable: str,
    kind: type[Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error names the variable, and neither it nor its cause repeats the value."""
    monkeypatch.setenv(variable, SECRET)
    with pytest.raises(ConfigurationError, match=variable) as caught:
        kind.read()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_held_versions_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are held at older versions, or at their newest, by a list; without it, none is."""
    assert ContractSettings.read().held() == {}
    monkeypatch.setenv("SAGATRACE_HELD_VERSIONS", " order.created=1, saga.failed=1,")
    assert ContractSettings.read().held() == {"order.created": 1, "saga.failed": 1}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("order.created=3", "order.created has the versions 1, 2"),
        ("order.paid=1", "a type is not known"),
        ("order.created", "not a list of type=version"),
        ("order.created=one", "not a list of type=version"),
        ("order.created=1,order.created=2", "each type once"),
    ],
)
def test_a_version_that_can_not_be_written_stops_the_program(
    value: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold that would not work is told when the program starts, by the variable's name and the rule."""
    monkeypatch.setenv("SAGATRACE_HELD_VERSIONS", value)
    with pytest.raises(ConfigurationError, match=rf"^SAGATRACE_HELD_VERSIONS: .*{reason}"):
        ContractSettings.read()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+asyncpg://u:p@x:{SECRET}@h/x",
        "postgresql+asyncpg://u@h:notaport/x",
        "postgresql+asyncpg://u@[::1/x",
    ],
)
def test_a_url_that_is_none_is_told_without_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that should have been escaped is not quoted, in part or as a whole."""
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL: .* %40") as caught:
        DatabaseSettings.read()
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "unknown"),
    [
        ("postgresql+asyncpg://u@h/d?ssl=require&command_timeout=5", None),
        ("postgresql+asyncpg://u@h/d?sslmode=require", "sslmode"),
        ("sqlite+aiosqlite:///file.sqlite?timeout=1", None),
        ("sqlite+aiosqlite:///file:x.sqlite?mode=ro&uri=true", None),
        ("sqlite+aiosqlite:///file.sqlite?bogus=1", "bogus"),
    ],
)
def test_an_option_that_no_driver_has_is_named(url: str, unknown: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands after the ? of the database's URL is known to its driver, or the error names it."""
    monkeypatch.setenv("DATABASE_URL", url)
    if unknown is None:
        assert DatabaseSettings.read().database_url == url
    else:
        with pytest.raises(ConfigurationError, match=rf"DATABASE_URL: .* no option {unknown}"):
            DatabaseSettings.read()


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e9"])
def test_a_time_has_bounds(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time that would wait for ever, or not at all, is refused."""
    monkeypatch.setenv("SAGATRACE_PRODUCER_SEND_TIMEOUT", value)
    with pytest.raises(ConfigurationError, match="SAGATRACE_PRODUCER_SEND_TIMEOUT"):
        ProducerSettings.read()


def test_settings_are_frozen_and_a_password_is_not_shown() -> None:
    """Settings do not change once they are read, and their text has no password."""
    settings = DatabaseSettings(database_url=f"postgresql+asyncpg://u:{SECRET}@h/d")
    assert SECRET not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        setattr(settings, "database_url", None)  # noqa: B010  mypy knows that it is frozen
