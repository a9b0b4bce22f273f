"""Whether the process is alive, and whether it can serve."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from errors import Unavailable
from image_store import ping
from routers.documentation import READY
from routers.problems import problem
from schemas import Health

logger = logging.getLogger("image_api")
router = APIRouter(prefix="/health", tags=["health"])


@router.head("/live", include_in_schema=False)
@router.get("/live", operation_id="live", response_model=Health)
def live() -> Response:
    """Alive: the process answers."""
    return JSONResponse({"status": "alive"})


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    operation_id="ready",
    response_model=Health,
    responses=READY,
)
def ready(request: Request) -> Response:
    """Ready: database and bucket answer within `READY_TIMEOUT` seconds."""
    state = request.app.state
    deadline = time.monotonic() + state.settings.ready_timeout
    checks: dict[str, Callable[[], None]] = {
        "database": lambda: ping(state.sessions()),
        "bucket": state.bucket.check,
    }
    pending = {name: state.checkers.submit(check) for name, check in checks.items()}
    answers = {name: _answer(future, deadline) for name, future in pending.items()}
    failed = [name for name, answer in answers.items() if answer != "ok"]
    if not failed:
        return JSONResponse({"status": "ready", "checks": answers})
    detail = f"No answer from: {', '.join(failed)}."
    return problem(request, 503, "not_ready", "Not ready", detail, checks=answers)


def _answer(check: Future[None], deadline: float) -> str:
    try:
        check.result(timeout=max(0, deadline - time.monotonic()))
    except TimeoutError:
        return "timeout"
    except Unavailable:
        logger.warning("A readiness check failed", exc_info=True)
        return "failed"
    return "ok"
