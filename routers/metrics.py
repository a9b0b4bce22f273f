"""The Prometheus endpoint."""

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response

from routers.dependencies import resources_of
from telemetry.metrics import recorder

router = APIRouter(include_in_schema=False)


# Renders in a separate thread, so it answers while all others wait for the database or S3.
@router.head("/metrics")
@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Answer with the metrics of all workers in Prometheus's text format."""
    request.state.observer.flush()
    jobs = resources_of(request).settings.metrics_folder
    content = await anyio.to_thread.run_sync(
        recorder.render, jobs, limiter=request.state.metrics_limiter
    )
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")
