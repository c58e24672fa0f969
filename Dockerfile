# One image for all services: the command chooses which. Every package comes from requirements.lock, by hash.
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:3.13-slim-bookworm AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_CACHE=1
RUN python -m venv --without-pip /opt/sagatrace
WORKDIR /build
COPY pyproject.toml requirements.lock ./
COPY services/pyproject.toml services/
# The lock is for development, too; the constraint takes from it what the services need, with its hashes. `sagatrace`
# itself is built below.
RUN echo sagatrace > own.txt \
 && uv pip install --python /opt/sagatrace/bin/python --require-hashes --only-binary :all: --excludes own.txt \
    --requirements pyproject.toml --extra otlp --requirements services/pyproject.toml --constraint requirements.lock
COPY README.md LICENSE ./
COPY tracing tracing
COPY services services
# The build back end is pinned in the lock as well, and leaves with this stage.
RUN python -m venv --without-pip /opt/build \
 && uv pip sync --python /opt/build/bin/python --require-hashes --only-binary :all: requirements.lock \
 && /opt/build/bin/python -m hatchling build -t wheel -d /wheel \
 && (cd services && /opt/build/bin/python -m hatchling build -t wheel -d /wheel) \
 && uv pip install --python /opt/sagatrace/bin/python --no-deps --no-index /wheel/*.whl \
 && /opt/sagatrace/bin/python -m compileall -q /opt/sagatrace/lib

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home sagatrace
COPY --from=build /opt/sagatrace /opt/sagatrace
ENV PATH=/opt/sagatrace/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["sagatrace"]
CMD ["--help"]
