"""Programs from the docs, each run in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping


def run_example(program: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Run a program, for which a warning is an error, and return its output and its complaints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    return done.stdout, done.stderr
