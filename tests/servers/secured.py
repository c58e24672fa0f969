"""What a broker needs that authenticates its clients: listeners with TLS, and a SCRAM user.

The certificates are made for one run, by an authority that only the test trusts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.servers.ports import HOST

USER = "sagatrace"
MECHANISM = "SCRAM-SHA-512"

_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@dataclass(frozen=True)
class Secured:
    """The certificates and the user of a broker.

    Args:
        folder: Where the certificates are: `ca.pem`, `broker.pem` and `client.pem`.
        password: The user's.
    """

    folder: Path
    password: str

    @property
    def authority(self) -> Path:
        """The file of the authority that signed all."""
        return self.folder / "ca.pem"

    @property
    def client(self) -> Path:
        """The file of a client's key and certificate."""
        return self.folder / "client.pem"

    @property
    def format_arguments(self) -> tuple[str, ...]:
        """Further arguments of Kafka's StorageTool, so that the user exists from the beginning."""
        return ("--add-scram", f"{MECHANISM}=[name={USER},password={self.password}]")

    def properties(self, plain: str, controller: str, with_user: str, with_certificate: str) -> Mapping[str, str]:
        """Return the broker's properties for four addresses: its own two, and those of clients that authenticate."""
        return {
            "listeners": f"PLAINTEXT://{plain},CONTROLLER://{controller},"
            f"SASL_SSL://{with_user},SSL://{with_certificate}",
            "advertised.listeners": f"PLAINTEXT://{plain},SASL_SSL://{with_user},SSL://{with_certificate}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
            "sasl.enabled.mechanisms": MECHANISM,
            f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": _SCRAM,
            "listener.name.ssl.ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.authority),
        }


def secured(folder: Path, password: str) -> Secured:
    """Make the certificates in an existing folder."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for name, identity in (("broker", HOST), ("client", "client.test")):
        made = authority.issue_cert(identity)
        # Kafka reads PKCS 8 alone (KIP-651), which trustme does not write.
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
        (folder / f"{name}.pem").write_bytes(pem + chain)
    return Secured(folder, password)
