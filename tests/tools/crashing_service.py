"""The service, killed by SIGKILL at one step of the write protocol; it knows nothing of it.

    CRASH_AT="finish_upload 1 before" uvicorn tests.tools.crashing_service:app
    python -m tests.tools.crashing_service

The first is the whole service, for requests. The second reads use cases from standard input, one
in a line as JSON, and runs each in a child of its own that dies at the step which the line names.
It forks before any thread or connection exists, and imports but once.

A step is a function of `STEPS`, which call of it, and `before` or `after`: "commit 2 before" is the
moment before the second COMMIT, "commit 2 after" the one after its answer.
"""

# ruff: noqa: T201 - the answers to whoever started us go to standard output

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

import db
import main
import s3_client
from config import Settings, VariantSpec, load_settings
from db import build_engine, build_sessions
from repositories import images, pending_objects, variants
from s3_client import Bucket
from services import image_store
from services.inspection import Inspector
from services.sweeper import Sweeper
from services.variants.renderer import Renderer
from services.variants.variant_store import VariantChoice, VariantMissingError, VariantStore

# A sweep as if the grace period and the horizon had passed; no start-up would allow it.
AT_ONCE = {"upload_grace_seconds": 0, "put_horizon_seconds": 0, "keep_deleted_seconds": 0}

STEPS: dict[str, tuple[Any, str]] = {
    "journal": (pending_objects, "_insert"),
    "commit": (db, "_commit"),
    "put": (Bucket, "upload_image"),
    "put_read": (s3_client, "_content"),
    "finish_upload": (pending_objects, "finish_upload"),
    "find_image": (images, "find_image"),
    "lock_image": (images, "lock_image"),
    "insert_image": (images, "insert_image"),
    "replace_image": (images, "replace_image"),
    "delete_image": (images, "delete_image"),
    "insert_variant": (variants, "insert_variant"),
    "delete_variant": (variants, "delete_variant"),
    "claim_upload": (pending_objects, "claim_upload"),
    "delete_object": (Bucket, "delete_image"),
    "remove_entry": (pending_objects, "remove_entry"),
}
"""Where each step is done."""


def die() -> NoReturn:
    """End as if the power failed."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def crash_at(step: str) -> None:
    """Let this process die at that step."""
    name, number, moment = step.split()
    wrap_steps(lambda reached: die() if reached == (name, int(number), moment) else None)


def wrap_steps(reached: Callable[[tuple[str, int, str]], None]) -> None:
    """Tell `reached` of every step, before and after it is done."""
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
    """Return what all children share: made before they are, for it costs 0.1 s of CPU."""
    settings = load_settings()
    return settings, Bucket(settings)


def make_variant(store: VariantStore, choice: VariantChoice) -> None:
    """Make a variant of `crash`, as the route does."""
    try:
        store.find("crash", choice)
    except VariantMissingError as missing:
        missing.make()


def perform(operation: str, picture: str) -> None:
    """Do one use case as the handlers do it, with what follows the answer."""
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
        choice = VariantChoice(VariantSpec.parse("160"), "png", ("png",))
        with closing(Renderer(settings)) as renderer:
            make_variant(VariantStore(sessions(), bucket, renderer, settings), choice)
        print("acknowledged", flush=True)
    else:
        Sweeper(sessions, bucket, settings.model_copy(update=AT_ONCE)).sweep()


def serve_forks() -> None:
    """Run the use cases of standard input; after each, print how its process ended."""
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
