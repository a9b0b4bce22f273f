"""What the service tells Prometheus; who may ask is said in web/middleware/api_keys.py."""

import anyio.to_thread
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from routers.dependencies import resources_of
from telemetry.recorder import recorder

router = APIRouter(include_in_schema=False)


# Answers in a thread of its own, also while all others wait for the database or for S3.
@router.head("/metrics")
@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Answer the figures of all workers in Prometheus's text format."""
    settings = resources_of(request).settings
    if not settings.metrics:
        raise HTTPException(404)
    request.state.observer.tell()
    content = await anyio.to_thread.run_sync(
        recorder.render, settings.metrics_folder, limiter=request.state.scrapes
    )
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")
