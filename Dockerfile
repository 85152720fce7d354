# One image for every role: docker run mailrouter run --only doors. compose.yaml shows a whole installation.
FROM python:3.11-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv

# The dependencies first: they change seldom, so this layer is kept.
COPY requirements/run.lock /app/requirements/run.lock
RUN /opt/venv/bin/pip install --require-hashes -r /app/requirements/run.lock

COPY pyproject.toml README.md LICENSE /app/
COPY mailrouter /app/mailrouter
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --editable /app \
    && /opt/venv/bin/python -m compileall -q /app/mailrouter


FROM python:3.11-slim-bookworm

RUN groupadd --system --gid 10001 mailrouter \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/mailrouter --shell /usr/sbin/nologin mailrouter \
    && install --directory --owner=10001 --group=10001 --mode=0750 /var/lib/mailrouter

COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
COPY rules /app/rules
COPY models /app/models
COPY deploy/container.toml /etc/mailrouter/mailrouter.toml

# Everything is written under /var/lib/mailrouter, so that the rest may be mounted read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MAILROUTER_CONFIG=/etc/mailrouter/mailrouter.toml
WORKDIR /var/lib/mailrouter
VOLUME /var/lib/mailrouter
USER 10001:10001
EXPOSE 2525 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["mailrouter", "health"]
ENTRYPOINT ["mailrouter"]
CMD ["run"]
