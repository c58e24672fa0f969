"""Nothing that the system writes has a secret of the environment: logs, spans, reports, or what a command prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SECRETS = {
    "SAGATRACE_API_TOKEN": "api-token-4f6f1c2b9e",
    "KAFKA_SASL_PASSWORD": "sasl-password-7d1e0a35",
    "KAFKA_SSL_KEY_PASSWORD": "key-password-c90b7e21",
}


@pytest.mark.timeout(180)
def test_no_secret_is_written_anywhere(tmp_path: Path) -> None:
    """The demo gets in by its token, and no file or line of five services and five traces holds a secret."""
    command = [sys.executable, "-m", "services.cli", "demo", "--output", str(tmp_path)]
    done = subprocess.run(
        command, env=os.environ | SECRETS, capture_output=True, text=True, timeout=1500, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"report.json", "traces.json", "trace.html"} <= {path.name for path in files}
    assert json.loads((tmp_path / "report.json").read_text())
    written = {str(path): path.read_bytes() for path in files}
    written["what it prints"] = (done.stdout + done.stderr).encode()
    assert [where for where, what in written.items() for secret in SECRETS.values() if secret.encode() in what] == []
