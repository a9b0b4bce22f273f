"""OpenTelemetry traces, if OTEL_EXPORTER_OTLP_ENDPOINT is set.

FastAPI sets up the exporter and creates a span for each request. This module adds spans for
statements and for requests to S3. Without that variable no package of OpenTelemetry is loaded.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Engine

from telemetry import logger


def trace_backends(engine: Engine) -> Callable[[str, str], AbstractContextManager[object]] | None:
    """Trace statements, and return a function that traces a request to S3; None without traces."""
    if not any(
        os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in ("", "TRACES_")
    ):
        return None
    try:
        from opentelemetry.instrumentation.sqlalchemy import (  # noqa: PLC0415 - an extra
            SQLAlchemyInstrumentor,
        )
        from opentelemetry.trace import SpanKind, get_tracer  # noqa: PLC0415 - an extra
    except ImportError:
        logger.warning("Traces are configured, but requirements-traces.lock is not installed")
        return None
    engine.update_execution_options(traced=True)
    # Version 0.66 requires SQLAlchemy < 2.1, but only uses engine events, which have not changed.
    SQLAlchemyInstrumentor().instrument(engine=engine, skip_dep_check=True)
    tracer = get_tracer("image_api")
    return lambda operation, key: tracer.start_as_current_span(
        operation.upper(), kind=SpanKind.CLIENT, attributes={"aws.s3.key": key}
    )
