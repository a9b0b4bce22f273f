"""Traces, where the standard variables of OpenTelemetry say to where (OTEL_EXPORTER_OTLP_ENDPOINT).

FastAPI sets up the exporter and makes a span of each request; this module adds spans of its
statements and its requests to S3. Without the variables nothing of this is imported.
"""

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import Engine

from web.middleware.routed_path import is_probe

logger = logging.getLogger("image_api")


def excluded(scope: Any) -> bool:
    """Whether a request makes no trace: those by which machines watch us."""
    return scope["type"] == "http" and is_probe(scope)


def trace_backends(engine: Engine) -> Callable[[str, str], AbstractContextManager[object]] | None:
    """Make a span of each statement; return what makes one of a request to S3.

    None when no traces are wanted.
    """
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
        logger.warning("OTEL_* asks for traces, which need requirements-traces.lock")
        return None
    engine.update_execution_options(traced=True)
    # Its 0.66 wants SQLAlchemy below 2.1, but for the events of an engine, which are the same.
    SQLAlchemyInstrumentor().instrument(engine=engine, skip_dep_check=True)
    tracer = get_tracer("image_api")
    return lambda operation, key: tracer.start_as_current_span(
        operation.upper(), kind=SpanKind.CLIENT, attributes={"aws.s3.key": key}
    )
