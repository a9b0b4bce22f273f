"""Health checks: whether the process is alive, and whether it is ready."""

from fastapi import APIRouter, Request

from errors import NotReadyError
from routers.dependencies import resources_of
from schemas import Health
from web.openapi import LIVE, READY

router = APIRouter(prefix="/health", tags=["health"])


# Both run in the event loop, so they answer even while all threads wait for the database or S3.
@router.head("/live", include_in_schema=False, response_model_exclude_unset=True)
@router.get("/live", operation_id="live", response_model_exclude_unset=True, responses=LIVE)
async def live() -> Health:
    """Alive: the process answers."""
    return Health(status="alive")


@router.head("/ready", include_in_schema=False)
@router.get("/ready", operation_id="ready", responses=READY)
async def ready(request: Request) -> Health:
    """Ready: database and bucket answer within 2 seconds, and the service is not shutting down.

    With SWEEP_INTERVAL_SECONDS, the sweeper must also be running.
    """
    readiness = resources_of(request).readiness
    if readiness.shutting_down:
        raise NotReadyError("The service is shutting down.")
    answers = await readiness.ask()
    if failed := [name for name, answer in answers.items() if answer != "ok"]:
        raise NotReadyError(f"Not working: {', '.join(failed)}.", checks=answers)
    return Health(status="ready", checks=answers)
