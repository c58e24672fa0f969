"""An HTML page with traces as waterfalls: one file that needs no network, and can be read without its script."""

from services.cli.traces.page.document import page
from services.cli.traces.page.section import TraceSection

__all__ = ["TraceSection", "page"]
