"""The settings of TLS and SASL: what fits together, and what is never shown."""

import pytest

from services.messaging.errors import ConfigurationError
from services.messaging.security import KafkaSecurity

SECRET = "correct-horse-battery"
USER = {"KAFKA_SASL_USERNAME": "oms", "KAFKA_SASL_PASSWORD": SECRET}


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> KafkaSecurity:
    """Read the settings from an environment."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return KafkaSecurity.read()


def test_nothing_is_asked_for_by_default() -> None:
    """Without a variable a client speaks plain text."""
    assert KafkaSecurity.read().client_options() == {"security_protocol": "PLAINTEXT"}


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings' text and their JSON hold no password; the client gets it."""
    security = read(monkeypatch, KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT", KAFKA_SSL_KEY_PASSWORD=SECRET, **USER)
    assert SECRET not in f"{security!r} {security} {security.model_dump_json()} {security.model_dump()}"
    assert security.client_options() == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "oms",
        "sasl_plain_password": SECRET,
    }


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": SECRET}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_PASSWORD": SECRET}, "KAFKA_SASL_USERNAME"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "PLAIN", **USER}, "SASL_SSL"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI", **USER}, "KAFKA_SASL_MECHANISM"),
        ({"KAFKA_SSL_KEYFILE": "/key.pem", "KAFKA_SASL_PASSWORD": SECRET}, "KAFKA_SSL_CERTFILE"),
    ],
)
def test_what_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str) -> None:
    """Variables that do not fit together are an error that names them and no value."""
    with pytest.raises(ConfigurationError, match=named) as wrong:
        read(monkeypatch, **variables)
    assert SECRET not in str(wrong.value)
