"""Whether the process is alive, and whether it can serve."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from errors import UnavailableError
from schemas import Health
from web.openapi import LIVE, READY
from web.problem_details import problem

logger = logging.getLogger("image_api")
router = APIRouter(prefix="/health", tags=["health"])


@router.head("/live", include_in_schema=False)
@router.get("/live", operation_id="live", response_model=Health, responses=LIVE)
async def live() -> Response:
    """Alive: the process answers, also while all of its threads wait."""
    return JSONResponse({"status": "alive"})


@router.head("/ready", include_in_schema=False)
@router.get("/ready", operation_id="ready", response_model=Health, responses=READY)
def ready(request: Request) -> Response:
    """Ready: database and bucket answer within `READY_TIMEOUT` seconds."""
    if request.app.state.shutting_down.is_set():
        return problem(request, 503, "not_ready", "Not ready", "The service is shutting down.")
    answers = request.app.state.readiness.ask()
    failed = [name for name, answer in answers.items() if answer != "ok"]
    if not failed:
        return JSONResponse({"status": "ready", "checks": answers})
    detail = f"No answer from: {', '.join(failed)}."
    return problem(request, 503, "not_ready", "Not ready", detail, checks=answers)


class Readiness:
    """Asks what the service depends on, each in a thread of its own and never twice at once."""

    def __init__(self, checks: dict[str, Callable[[], None]], timeout: float) -> None:
        self._timeout = timeout
        self._checks = checks
        self._threads = {name: ThreadPoolExecutor(1, f"ready-{name}") for name in checks}
        self._running: dict[str, Future[None]] = {}

    def ask(self) -> dict[str, str]:
        """Return `ok`, `failed` or `timeout` for each dependency, within the timeout."""
        deadline = time.monotonic() + self._timeout
        for name, check in self._checks.items():
            # A check that hangs is waited for again, not joined by another.
            if name not in self._running or self._running[name].done():
                self._running[name] = self._threads[name].submit(check)
        return {name: _answer(check, deadline) for name, check in self._running.items()}

    def close(self) -> None:
        """Let the threads end."""
        for thread in self._threads.values():
            thread.shutdown(wait=False)


def _answer(check: Future[None], deadline: float) -> str:
    try:
        check.result(timeout=max(0, deadline - time.monotonic()))
    except TimeoutError:
        return "timeout"
    except UnavailableError:
        logger.warning("A readiness check failed", exc_info=True)
        return "failed"
    return "ok"
