"""Runs the service, or single use cases, and kills the process at one step of the write protocol.

    CRASH_AT="finish_upload 1 before" uvicorn tests.tools.crashing_service:app
    python -m tests.tools.crashing_service

The first command runs the complete service. The second reads use cases from standard input, one
JSON document per line, and runs each in a forked child that dies by SIGKILL at the step named in
the line. The parent imports everything once and forks before any thread or connection exists.

A step names a function of `STEPS`, the number of the call, and `before` or `after`:
"commit 2 before" is the moment before the second COMMIT, "commit 2 after" the one after its answer.
"""

# ruff: noqa: T201 - results go to standard output

import functools
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import Connection

import main
from adapters import s3_connections
from adapters.s3_bodies import DeadlineReader
from config import Settings, VariantSpec, load_settings
from db import build_engine, build_sessions
from repositories import images, pending_objects, variants
from resources import build_variant_maker
from s3_client import Bucket
from services import image_store
from services.inspection import Inspector
from services.maintenance.sweeper import Sweeper
from services.variant_formats import VariantChoice
from services.variant_store import MissingVariant, VariantStore

# Sweep as if the grace period and the horizon had passed; the settings themselves forbid zero.
AT_ONCE = {"upload_grace_seconds": 0, "put_horizon_seconds": 0, "keep_deleted_seconds": 0}

STEPS: dict[str, tuple[Any, str]] = {
    "journal": (pending_objects, "_insert"),
    "commit": (Connection, "commit"),
    "put": (Bucket, "upload_image"),
    "put_read": (DeadlineReader, "read"),
    "finish_upload": (pending_objects, "finish_upload"),
    "find_image": (images, "find_image"),
    "lock_image": (images, "lock_image"),
    "insert_image": (images, "insert_image"),
    "replace_image": (images, "replace_image"),
    "delete_image": (images, "delete_image"),
    "insert_variant": (variants, "insert_variant"),
    "delete_variants": (variants, "delete_variants"),
    "claim_upload": (pending_objects, "claim_upload"),
    "delete_object": (Bucket, "delete_image"),
    "remove_entry": (pending_objects, "remove_entry"),
}
"""The owner and the name of the function that performs each step."""


def die() -> NoReturn:
    """Kill this process, like a power failure."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def crash_at(step: str) -> None:
    """Make this process die at this step."""
    name, number, moment = step.split()
    wrap_steps(lambda reached: die() if reached == (name, int(number), moment) else None)


def wrap_steps(reached: Callable[[tuple[str, int, str]], None]) -> None:
    """Call `reached` before and after every step."""
    calls: Counter[str] = Counter()
    for name, (owner, attribute) in STEPS.items():
        setattr(owner, attribute, _wrapped(name, getattr(owner, attribute), calls, reached))


def _wrapped(
    name: str,
    done: Callable[..., Any],
    calls: Counter[str],
    reached: Callable[[tuple[str, int, str]], None],
) -> Callable[..., Any]:
    def step(*args: Any, **kwargs: Any) -> Any:
        calls[name] += 1
        number = calls[name]
        reached((name, number, "before"))
        result = done(*args, **kwargs)
        reached((name, number, "after"))
        return result

    return step


@functools.cache
def settings_and_bucket() -> tuple[Settings, Bucket]:
    """Return the objects that all children share, created before the fork to save 0.1 s of CPU."""
    settings = load_settings()
    s3_connections.start_obstore = lambda: None  # threads do not survive a fork
    return settings, Bucket(settings)


def make_variant(store: VariantStore, choice: VariantChoice) -> None:
    """Make a variant of `crash`, as the route does."""
    found = store.find("crash", choice)
    if isinstance(found, MissingVariant):
        store.make(found)


def perform(operation: str, picture: str) -> None:
    """Run one use case like its handler, including the work after the response."""
    settings, bucket = settings_and_bucket()
    sessions = build_sessions(build_engine(settings))
    store = image_store.ImageStore(sessions(), bucket, Inspector(settings), settings)
    if operation == "upload":
        with Path(picture).open("rb") as file:
            stored = store.upload(file, "crash", "jpg", lambda _: None)
        print("acknowledged", flush=True)
        if stored.old_key:
            store.remove_unless_kept(stored.old_key)
    elif operation == "delete":
        image = store.delete("crash", lambda _: None)
        print("acknowledged", flush=True)
        store.remove_unless_kept(image.s3_key)
    elif operation == "variant":
        choice = VariantChoice(VariantSpec.parse("160"), ("png",))
        with closing(build_variant_maker(settings)) as maker:
            make_variant(VariantStore(sessions(), bucket, maker, settings), choice)
        print("acknowledged", flush=True)
    else:
        Sweeper(sessions, bucket, settings.model_copy(update=AT_ONCE)).sweep()


def serve_forks() -> None:
    """Run the use cases from standard input; print the exit status of each process."""
    for line in sys.stdin:
        order = json.loads(line)
        os.environ.update(order["environment"])
        settings_and_bucket()
        child = os.fork()
        if child == 0:
            if order["step"] == "record":
                wrap_steps(lambda reached: print("step", *reached, flush=True))
            else:
                crash_at(order["step"])
            perform(order["operation"], order["picture"])
            os._exit(0)
        print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve_forks()
else:
    crash_at(os.environ.get("CRASH_AT", "no 0 step"))
    app = main.app
