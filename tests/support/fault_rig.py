"""The service between two fault proxies, and the faults that the fault matrix injects."""

import functools
import io
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fastapi.testclient import TestClient
from sqlalchemy import Connection, Engine, event, make_url, text

from config import Settings
from db import build_engine, build_sessions
from devstack.databases import through
from main import create_app
from resources import Resources
from s3_client import Bucket
from services.image_store import ImageStore
from services.inspection import Inspector
from services.maintenance.sweeper import Sweeper
from tests.support.fault_proxy import Fault, FaultProxy, s3_error
from tests.support.pictures import jpeg

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# COMMIT (not AUTOCOMMIT, not READ COMMITTED); on PostgreSQL also the journal's single-statement
# transactions, which run in autocommit mode.
COMMITS = {
    "mysql": re.compile(rb"(?<!AUTO)COMMIT(?!TED)"),
    "postgresql": re.compile(
        rb"COMMIT(?!TED)|"
        rb"INSERT INTO pending_objects[^\0]*'U'|DELETE FROM pending_objects[^\0]*'D'"
    ),
}
OLD, NEW = jpeg(400, 300, seed=1), jpeg(400, 300, seed=2)
AT_ONCE = {"upload_grace_seconds": 0, "put_horizon_seconds": 0, "keep_deleted_seconds": 0}
S3_ERRORS = {
    "s3_500": (500, "InternalError"),
    "s3_500_once": (500, "InternalError"),
    "s3_slowdown": (503, "SlowDown"),
    "s3_denied": (403, "AccessDenied"),
    "s3_expired": (400, "ExpiredToken"),
}
# The server raises these errors itself, so SQLSTATE, error number and exception class are real.
RAISE = {
    ("postgresql", "deadlock"): "DO $$ BEGIN RAISE 'played' USING ERRCODE = '40P01'; END $$",
    ("postgresql", "serialisation"): "DO $$ BEGIN RAISE 'played' USING ERRCODE = '40001'; END $$",
    ("mysql", "deadlock"): "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213",
    ("mysql", "serialisation"): "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1020",
}
ROLLED_BACK_STATEMENTS = {
    "first": "INSERT INTO images",
    "overwrite": "UPDATE images",
    "delete": "DELETE FROM images",
    "sweep": "UPDATE pending_objects",
}


@functools.cache
def direct_bucket(settings: Settings) -> Bucket:
    """Return a bucket client that bypasses the proxies; cached, as creation costs 0.1 s of CPU."""
    return Bucket(settings)


@dataclass
class Rig:
    """A service whose database and object store are behind proxies, with direct access to both."""

    settings: Settings
    client: TestClient
    database: FaultProxy
    storage: FaultProxy
    direct: Engine
    s3: "S3Client"
    rollbacks: list["InjectedRollback"] = field(default_factory=list)

    @property
    def resources(self) -> Resources:
        """The resources of the running application."""
        resources: Resources = self.client.app_state["resources"]
        return resources

    def reconnect_bucket(self) -> None:
        """Close the application's S3 connections and replace its bucket client."""
        self.resources.bucket.close()
        bucket = Bucket(self.resources.settings)
        self.client.app_state["resources"] = replace(self.resources, bucket=bucket)

    def store(self) -> ImageStore:
        """Return the use cases of another actor, which bypasses HTTP and the proxies."""
        bucket, inspector = direct_bucket(self.settings), Inspector(self.settings)
        return ImageStore(build_sessions(self.direct)(), bucket, inspector, self.settings)

    def put(self, picture: bytes) -> None:
        """Upload the image without HTTP and proxies."""
        self.store().upload(io.BytesIO(picture), "cell", "jpg", lambda _: None)

    def sweep(self, **patience: float) -> None:
        """Sweep twice without proxies and grace periods: claim uploads, then delete everything."""
        settings = self.settings.model_copy(update=AT_ONCE | patience)
        for _ in range(2):
            Sweeper(build_sessions(self.direct), direct_bucket(self.settings), settings).sweep()

    def image(self) -> str:
        """Return which version of the image the row describes: none, old or new."""
        with self.direct.connect() as db:
            size = db.scalar(text("SELECT size_bytes FROM images"))
        return {None: "none", len(OLD): "old", len(NEW): "new"}[size]

    def journal(self) -> str:
        """Return the states of all journal entries, sorted, as one string."""
        with self.direct.connect() as db:
            return "".join(db.scalars(text("SELECT state FROM pending_objects ORDER BY state")))

    def keys(self) -> tuple[list[str], list[str]]:
        """Return the keys in the bucket and the keys in the image rows."""
        listed = self.s3.list_objects_v2(Bucket=self.settings.aws_s3_bucket).get("Contents", [])
        with self.direct.connect() as db:
            named = list(db.scalars(text("SELECT s3_key FROM images")))
        return sorted(entry["Key"] for entry in listed), sorted(named)

    @property
    def commit(self) -> re.Pattern[bytes]:
        """A pattern for the statements that commit on this database."""
        return COMMITS[self.direct.dialect.name]

    def heal(self) -> None:
        """End all faults."""
        while self.rollbacks:
            self.rollbacks.pop().end()
        self.database.heal()
        self.storage.heal()


def build_rig(
    stack: ExitStack, settings: Settings, limits: dict[str, float], s3: "S3Client"
) -> Rig:
    """Start the application behind two proxies; the stack stops it."""
    port = int((settings.aws_endpoint_url_s3 or "").rpartition(":")[2])
    database = stack.enter_context(FaultProxy(("127.0.0.1", make_url(settings.db_url).port or 0)))
    storage = stack.enter_context(FaultProxy(("127.0.0.1", port)))
    changed: dict[str, Any] = {"concurrency": 2, "s3_max_attempts": 1, **limits}
    changed["db_url"] = through(settings.db_url, database.address)
    changed["aws_endpoint_url_s3"] = f"http://127.0.0.1:{storage.address[1]}"
    app = create_app(settings.model_copy(update=changed))
    client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
    direct = build_engine(settings)
    stack.callback(direct.dispose)
    return Rig(settings, client, database, storage, direct, s3)


def arm(rig: Rig, operation: str, fault: str) -> Fault | None:
    """Activate the fault; return it if it counts its strikes, else None."""
    proxy = rig.database if fault.startswith("db") else rig.storage
    kind = fault.partition("_")[2]
    if kind == "down":
        proxy.hang()
    elif kind == "refused":
        proxy.refuse()
        proxy.close_connections()
    elif kind == "slow":
        proxy.delay(0.02, "answer")
    elif fault in S3_ERRORS:
        times = 1 if kind.endswith("once") else None
        return proxy.answer_with(s3_error(*S3_ERRORS[fault]), times=times)
    elif "commit" in fault:
        return arm_commit(rig, operation, fault)
    elif kind == "lost_after_put":
        return proxy.cut_before(b"DELETE FROM pending_objects", times=None)
    elif kind == "cut":
        return proxy.cut_response_after(2000, when=b"GET /")
    elif fault.startswith("put"):
        return proxy.hold(b"PUT /") if kind == "late" else proxy.cut_after(b"PUT /")
    return None


def arm_commit(rig: Rig, operation: str, fault: str) -> Fault:
    """Cut the connection at one of the operation's COMMITs."""
    deciding = int(operation in {"first", "overwrite"})  # uploads commit a journal entry first
    which = 1 - deciding if "other" in fault else deciding
    cut = rig.database.cut_before if "not" in fault else rig.database.cut_after
    return cut(rig.commit, skip=which)


class InjectedRollback:
    """Makes the database roll back the transaction at one statement, once or every time."""

    def __init__(self, rig: Rig, operation: str, fault: str) -> None:
        kind = fault.removeprefix("db_")
        self._left, self.fired = (1000 if kind.endswith("s") else 1), 0
        self._begins = ROLLED_BACK_STATEMENTS[operation]
        self._instead = RAISE[rig.direct.dialect.name, kind.removesuffix("s")]
        rig.rollbacks.append(self)
        self._engine = rig.resources.engine
        event.listen(self._engine, *self._hook, retval=True)

    @property
    def _hook(self) -> tuple[str, Callable[..., tuple[str, Any]]]:
        return "before_cursor_execute", self._execute

    def end(self) -> None:
        """Stop rolling transactions back."""
        event.remove(self._engine, *self._hook)

    def _execute(
        self, _connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> tuple[str, Any]:
        if self._left and statement.startswith(self._begins):
            self._left, self.fired = self._left - 1, self.fired + 1
            return self._instead, ()
        return statement, parameters
