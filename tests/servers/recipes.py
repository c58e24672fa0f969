"""How each server is built from package registries alone: Maven's, and Go's module proxy.

A recipe says what must be on PATH, the commands, and what they produce. Its folder beside this file holds its
dependency lists. Jaeger and Prometheus are Go modules with `replace` and `exclude` lines, which `go install` refuses:
each has a module of its own here that requires the upstream one, with upstream's go.mod and go.sum around it.
PostgreSQL has no recipe: the system's is used.
"""

from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "recipes"

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_STATIC = {"CGO_ENABLED": "0"}


@dataclass(frozen=True)
class Step:
    """One command of a recipe.

    Args:
        command: its words; `{out}` stands for the folder that becomes the server's.
        environment: variables set for it, on top of the caller's.
    """

    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """How one server is built.

    Args:
        part: its name in `SAGATRACE_REQUIRE`, and of its folder of dependency lists.
        version: as its users know it.
        needs: program -> what to say when it is not on PATH.
        steps: the commands, run one after the other in a copy of the recipe's folder. The last one proves that the
            result runs on this machine.
        makes: the files that must exist afterwards, relative to `{out}`.
        about_s: how many seconds it takes on two cores with cold caches.
    """

    part: str
    version: str
    needs: tuple[str, ...]
    steps: tuple[Step, ...]
    makes: tuple[str, ...]
    about_s: int = field(repr=False)

    @property
    def folder(self) -> Path:
        """Where its dependency lists are."""
        return FOLDER / self.part


def _kafka(part: str, version: str) -> Recipe:
    copy = ("mvn", "-q", "-B", "-f", "pom.xml", "-DoutputDirectory={out}", "-DincludeScope=runtime", _COPY)
    check = ("java", "-cp", "{out}/*", "kafka.Kafka", "--version")
    jar = f"kafka_2.13-{version}.jar"
    return Recipe(part, version, ("java", "mvn"), (Step(copy), Step(check)), (jar,), about_s=15)


def _go(version_variable: str, version: str, *packages: str) -> Step:
    # readonly: what is built is what go.mod and go.sum name, or nothing.
    flags = f"-s -w -X {version_variable}={version}"
    return Step(("go", "build", "-mod=readonly", "-ldflags", flags, "-o", "{out}/", *packages), _STATIC)


RECIPES = (
    _kafka("kafka", "4.3.1"),
    _kafka("kafka35", "3.5.2"),
    Recipe(
        part="collector",
        version="0.145.0",
        needs=("go",),
        steps=(
            # The collector's builder writes the program's source and its go.mod from the list of components.
            Step(
                ("go", "run", "go.opentelemetry.io/collector/cmd/builder@v0.145.0", "--config", "builder.yaml"), _STATIC
            ),
            Step(("cp", "dist/otelcol", "{out}/otelcol")),
            Step(("{out}/otelcol", "--version")),
        ),
        makes=("otelcol",),
        about_s=240,
    ),
    Recipe(
        part="jaeger",
        version="2.13.0",
        needs=("go",),
        steps=(
            _go(
                "github.com/jaegertracing/jaeger/internal/version.latestVersion",
                "v2.13.0",
                "github.com/jaegertracing/jaeger/cmd/jaeger",
            ),
            Step(("{out}/jaeger", "version")),
        ),
        makes=("jaeger",),
        about_s=240,
    ),
    Recipe(
        part="prometheus",
        version="3.13.1",
        needs=("go",),
        steps=(
            _go(
                "github.com/prometheus/common/version.Version",
                "3.13.1",
                "github.com/prometheus/prometheus/cmd/prometheus",
                "github.com/prometheus/prometheus/cmd/promtool",
            ),
            Step(("{out}/prometheus", "--version")),
            Step(("{out}/promtool", "--version")),
        ),
        makes=("prometheus", "promtool"),
        about_s=240,
    ),
)
"""Every part that is built or fetched, the quick ones first."""
