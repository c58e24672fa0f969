"""The pages in docs/tracing: each Python example runs as it stands there, and prints what the page says."""

import re

import pytest

from tests.support.broker import Broker
from tests.support.examples import run_example
from tests.support.sources import ROOT

#: A program, and what it prints: the next block, if that is text.
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:(?:(?!```).)*^```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
EXAMPLES = [
    pytest.param(program, printed, id=f"{page.stem}-{number}")
    for page in sorted((ROOT / "docs" / "tracing").glob("*.md"))
    for number, (program, printed) in enumerate(EXAMPLE.findall(page.read_text(encoding="utf-8")), 1)
]
QUIET = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "SAGATRACE_PROCESS_SPANS": "loop"}

pytestmark = pytest.mark.brokers("embedded")


@pytest.mark.parametrize(("program", "printed"), EXAMPLES)
def test_an_example_prints_what_its_page_says(program: str, printed: str, broker: Broker, topic: str) -> None:
    """It ends by itself and without a complaint, with topics of its own."""
    program = re.sub(r"\b(orders|invoices)\b", rf"{topic}.\1", program.replace("localhost:9092", broker))
    output, complaints = run_example(program, QUIET)
    assert (output.replace(f"{topic}.", ""), complaints) == (printed, "")


def test_no_example_is_overlooked() -> None:
    """There are as many examples as blocks of Python."""
    pages = (ROOT / "docs" / "tracing").glob("*.md")
    assert len(EXAMPLES) == sum(page.read_text(encoding="utf-8").count("```python") for page in pages) > 0
