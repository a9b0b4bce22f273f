"""Traces, where the standard variables of OpenTelemetry say to where (OTEL_EXPORTER_OTLP_ENDPOINT).

FastAPI itself sets the exporter up and makes a span of each request; here its statements and its
requests to S3 join in. Without the variables nothing of this is imported.
"""

import logging
import os
from typing import Any

from sqlalchemy import Engine

from web.middleware.routed_path import is_probe

logger = logging.getLogger("image_api")


def excluded(scope: Any) -> bool:
    """Whether a request makes no trace: those by which machines watch us."""
    return scope["type"] == "http" and is_probe(scope)


def trace_backends(engine: Engine) -> None:
    """Let statements and requests to S3 be spans, if traces are wanted."""
    if not any(
        os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT") for signal in ("", "TRACES_")
    ):
        return
    try:
        from opentelemetry.instrumentation.sqlalchemy import (  # noqa: PLC0415 - an extra
            SQLAlchemyInstrumentor,
        )
        from opentelemetry.instrumentation.urllib3 import (  # noqa: PLC0415 - an extra
            URLLib3Instrumentor,
        )
    except ImportError:
        logger.warning("OTEL_* asks for traces, which need requirements-traces.lock")
        return
    engine.update_execution_options(traced=True)
    # Its 0.66 wants SQLAlchemy below 2.1, but for the events of an engine, which are the same.
    SQLAlchemyInstrumentor().instrument(engine=engine, skip_dep_check=True)
    URLLib3Instrumentor().instrument(url_filter=lambda url: url.partition("?")[0])
