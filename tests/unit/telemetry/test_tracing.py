"""Traces cost nothing while they are off."""

import subprocess
import sys

from devstack.service_process import ROOT


def test_off() -> None:
    """Without OTEL_* no OpenTelemetry SDK, instrumentation or exporter is loaded."""
    program = (
        "import sys, main, runtime.lifespan; from sqlalchemy import create_engine; "
        "from telemetry.tracing import trace_backends; e = create_engine('sqlite://'); "
        "trace_backends(e); print([n for n in sys.modules "
        "if n.startswith(('opentelemetry.sdk', 'opentelemetry.instr', 'opentelemetry.exp'))],"
        "dict(e.get_execution_options()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[] {}\n"
