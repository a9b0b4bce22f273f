"""The service, in which libraries write to the log in every way that Python offers.

uvicorn tests.tools.noisy_service:app
"""

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from main import app

HOSTILE = "first line\nsecond \x1b[31mline\x9b\x7f"
_lifespan = app.router.lifespan_context


class _Unraisable:
    def __del__(self) -> None:
        raise ValueError(HOSTILE)


async def _raise() -> None:
    raise ValueError(HOSTILE)


def _raise_at_once() -> None:
    raise ValueError(HOSTILE)


def _write_in_every_way() -> list[asyncio.Task[None]]:
    logging.getLogger("a.library").warning("said %s", HOSTILE)
    logging.getLogger("image_api").warning("said %s", HOSTILE)
    logging.getLogger("uvicorn.error").error("said %s", HOSTILE)
    logging.getLogger("a.library").warning("wrong arguments", HOSTILE)  # noqa: PLE1205
    warnings.warn(HOSTILE, UserWarning, stacklevel=1)
    thread = threading.Thread(target=_raise_at_once)
    thread.start()
    thread.join()
    _Unraisable()
    asyncio.get_running_loop().call_soon(_raise_at_once)
    return [asyncio.create_task(_raise())]


@asynccontextmanager
async def _noisy(application: FastAPI) -> AsyncIterator[Any]:
    async with _lifespan(application) as state:
        tasks = _write_in_every_way()
        await asyncio.sleep(0)
        tasks.clear()
        gc.collect()
        yield state


app.router.lifespan_context = _noisy
