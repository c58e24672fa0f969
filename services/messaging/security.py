"""How a client and the broker authenticate each other: TLS, SASL, both or neither, by Kafka's own names."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from services.messaging.errors import ConfigurationError
from services.messaging.settings import Settings


class KafkaSecurity(Settings):
    """The security settings of every Kafka client of this process, from `KAFKA_*`.

    `KAFKA_SECURITY_PROTOCOL` is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. SASL takes `KAFKA_SASL_MECHANISM`,
    `KAFKA_SASL_USERNAME` and `KAFKA_SASL_PASSWORD`. TLS takes `KAFKA_SSL_CAFILE` (PEM; the system's authorities if not
    given), and `KAFKA_SSL_CERTFILE`, `KAFKA_SSL_KEYFILE`, `KAFKA_SSL_KEY_PASSWORD` where the broker asks for
    a client certificate. The broker's name is always checked against its certificate.
    """

    model_config = SettingsConfigDict(env_prefix="KAFKA_")

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_key_password: SecretStr | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self._is_sasl and not (self.sasl_username and self.sasl_password):
            raise ValueError(f"{self.security_protocol} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD")
        if self.security_protocol == "SASL_PLAINTEXT" and self.sasl_mechanism == "PLAIN":
            raise ValueError("PLAIN sends the password as it is: take KAFKA_SECURITY_PROTOCOL=SASL_SSL, or SCRAM")
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ValueError("KAFKA_SSL_KEYFILE needs KAFKA_SSL_CERTFILE")
        return self

    @property
    def _is_sasl(self) -> bool:
        return self.security_protocol.startswith("SASL_")

    def client_options(self) -> dict[str, Any]:
        """Return the arguments of an aiokafka client.

        Raises:
            ConfigurationError: a certificate or key can't be read; the text names the variables.
        """
        options: dict[str, Any] = {"security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = self._tls()
        if self._is_sasl and self.sasl_password is not None:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value(),
            }
        return options

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            if self.ssl_certfile is not None:
                # Never None, or OpenSSL would ask for it on the terminal.
                password = self.ssl_key_password.get_secret_value() if self.ssl_key_password else ""
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, password)
        except OSError as error:
            names = "KAFKA_SSL_CAFILE, KAFKA_SSL_CERTFILE, KAFKA_SSL_KEYFILE or KAFKA_SSL_KEY_PASSWORD"
            reason = error.strerror or type(error).__name__
            raise ConfigurationError(f"what {names} names can't be used: {reason}") from error
        return context
