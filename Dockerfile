# The container image: the archive of `make dist` and the packages of its lock. `make image` builds it.
FROM python:3.14-slim-trixie AS build
ARG VERSION
ADD image-api-${VERSION}.tar.gz /srv/
WORKDIR /srv
# Compile the bytecode now, because the file system of the running container is read-only.
RUN mv image-api-* image-api \
    && python -m venv --without-pip venv \
    && pip --python venv/bin/python install --no-cache-dir --require-hashes --only-binary :all: \
        --requirement image-api/requirements.lock \
    && venv/bin/python -m compileall -q image-api

FROM python:3.14-slim-trixie
COPY --from=build /srv /srv
# For METRICS_FOLDER: a new volume mounted here takes this owner.
RUN install --directory --owner=10001 --group=10001 /var/lib/image-api
ENV PATH=/srv/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WEB_CONCURRENCY=2
WORKDIR /srv/image-api
# This user id has no account and owns no other file.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8000, timeout=4); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]
CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", \
     "--log-config", "runtime/log_config.json", "--timeout-graceful-shutdown", "30", \
     "--timeout-keep-alive", "75", "--timeout-worker-healthcheck", "60"]
