"""Random sequences of operations, faults and sweeps by several actors, compared with a model.

For each name the model tracks the pictures that it may have: one after an answer, several after
COMMITs whose answers were lost.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, event

from config import Settings
from errors import DatabaseUnavailableError
from services.maintenance.sweeper import Sweeper
from tests.support.fault_proxy import Fault, s3_error
from tests.support.fault_rig import AT_ONCE, Rig, build_rig
from tests.support.invariants import violations
from tests.support.pictures import jpeg

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAMES = ["a", "b"]
PICTURES = [jpeg(16, 12, seed) for seed in range(3)]
Picture = bytes | None
Injection = Callable[[Rig], Fault]


def in_commit(number: int, *, done: bool) -> Injection:
    """Return a function that cuts the connection at this COMMIT, before or after it is done."""
    if done:
        return lambda rig: rig.database.cut_after(rig.commit, skip=number)
    return lambda rig: rig.database.cut_before(rig.commit, skip=number)


COMMITS = {
    f"commit {number} {'done' if done else 'lost'}": in_commit(number, done=done)
    for number in range(3)
    for done in (True, False)
}
STORAGE: dict[str, Injection] = {
    "put lost": lambda rig: rig.storage.cut_after(b"PUT /"),
    "put refused": lambda rig: rig.storage.answer_with(s3_error(503, "SlowDown"), when=b"PUT /"),
    "delete lost": lambda rig: rig.storage.cut_after(b"DELETE /"),
    "delete denied": lambda rig: rig.storage.answer_with(
        s3_error(403, "AccessDenied"), when=b"DELETE /"
    ),
}
FAULTS = COMMITS | STORAGE

names, pictures = st.sampled_from(NAMES), st.sampled_from(PICTURES)
faults = st.none() | st.sampled_from(sorted(FAULTS))


class Service(RuleBasedStateMachine):
    """Two services and sweepers that share backends; the first service is behind proxies."""

    rig: Rig  # set by the test

    @initialize()
    def begin(self) -> None:
        """No image exists."""
        self.possible: dict[str, set[Picture]] = {name: {None} for name in NAMES}

    def _under_fault(self, fault: str | None, act: Callable[[], Any]) -> Any:
        """Call `act` under a fault, then end the fault."""
        if fault:
            FAULTS[fault](self.rig)
        answer = act()
        self.rig.heal()
        self.rig.resources.engine.dispose()
        return answer

    def _settle(self, name: str, status: int, wanted: Picture, code: str) -> None:
        """Update the model with the answer to a write."""
        if status in {200, 201}:
            self.possible[name] = {wanted}
        elif code == "database_unavailable":
            self.possible[name].add(wanted)
        elif status == 404:
            assert wanted is None
            assert None in self.possible[name]
            self.possible[name] = {None}
        else:
            assert code in {"storage_unavailable", "upload_interrupted"}, code

    def _post(self, name: str, picture: bytes) -> Any:
        file = {"file": (f"{name}.jpg", picture, "image/jpeg")}
        return self.rig.client.post("/images", files=file)

    def _upload(self, name: str, picture: bytes, fault: str | None) -> None:
        answer = self._under_fault(fault, lambda: self._post(name, picture))
        result = answer.headers.get("Upload-Result")
        before = self.possible[name]
        assert result != "created" or None in before
        assert result != "unchanged" or picture in before
        assert result != "replaced" or before - {None}
        self._settle(name, answer.status_code, picture, answer.json().get("code", ""))

    @rule(name=names, picture=pictures, fault=faults)
    def upload(self, name: str, picture: bytes, fault: str | None) -> None:
        """A first upload, an overwrite or an identical upload."""
        self._upload(name, picture, fault)

    @rule(name=names, fault=faults)
    def delete(self, name: str, fault: str | None) -> None:
        """A delete."""
        answer = self._under_fault(fault, lambda: self.rig.client.delete(f"/images/{name}"))
        assert answer.status_code != 200 or self.possible[name] - {None}
        self._settle(name, answer.status_code, None, answer.json().get("code", ""))

    @rule(name=names)
    def read(self, name: str) -> None:
        """A download returns a possible version, which is the only one from now on."""
        answer = self.rig.client.get(f"/images/{name}")
        assert answer.status_code in {200, 404}
        found = answer.content if answer.status_code == 200 else None
        assert found in self.possible[name]
        self.possible[name] = {found}

    @rule()
    def list(self) -> None:
        """A listing has every name that must exist, and none that cannot exist."""
        listed = {image["name"] for image in self.rig.client.get("/images").json()["images"]}
        for name in NAMES:
            assert None in self.possible[name] if name not in listed else True
            assert self.possible[name] - {None} if name in listed else True

    @rule(patience=st.sampled_from([0, 3600]), fault=faults)
    def sweep(self, patience: int, fault: str | None) -> None:
        """A sweep changes no image, whatever the fault."""

        def act() -> None:
            patient = self.rig.settings.model_copy(
                update=AT_ONCE | {"upload_grace_seconds": patience}
            )
            sweeper = Sweeper(self.rig.resources.sessions, self.rig.resources.bucket, patient)
            try:
                sweeper.sweep()
            except DatabaseUnavailableError:
                assert fault in COMMITS

        self._under_fault(fault, act)

    @rule(name=names, picture=pictures, rival=st.sampled_from(["sweep", "delete", *PICTURES]))
    def upload_with_rival(self, name: str, picture: bytes, rival: str | bytes) -> None:
        """Another actor acts between the PUT and the COMMIT of an upload."""
        acted: list[bool] = []

        def act(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("DELETE FROM pending_objects") and not acted:
                acted.append(True)
                self._act_as_rival(name, rival)

        engine = self.rig.resources.engine
        event.listen(engine, "before_cursor_execute", act)
        try:
            answer = self._post(name, picture)
        finally:
            event.remove(engine, "before_cursor_execute", act)
        interrupted = bool(acted) and rival == "sweep"
        assert (answer.status_code == 503) == interrupted
        if not interrupted:
            self.possible[name] = {picture}

    def _act_as_rival(self, name: str, rival: str | bytes) -> None:
        store = self.rig.store()
        if rival == "sweep":
            self.rig.sweep()
        elif isinstance(rival, bytes):
            stored = store.upload(io.BytesIO(rival), name, "jpg", lambda _: None)
            if stored.old_key:
                store.remove_unless_kept(stored.old_key)
        elif None not in self.possible[name]:
            store.remove_unless_kept(store.delete(name, lambda _: None).s3_key)

    @invariant()
    def invariants_hold(self) -> None:
        """I1, I3 and I5 hold after every step."""
        found = violations(self.rig.direct, self.rig.s3, self.rig.settings.aws_s3_bucket)
        assert not found, "\n".join(found)

    def teardown(self) -> None:
        """After a sweep bucket and rows agree; then delete the images for the next run."""
        self.rig.heal()
        self.rig.sweep()
        stored, named = self.rig.keys()
        assert stored == named
        assert not self.rig.journal()
        for name in NAMES:
            self.rig.client.delete(f"/images/{name}")


@pytest.fixture
def rig(settings: Settings, s3: "S3Client") -> Iterator[Rig]:
    """Run the application behind two proxies."""
    with ExitStack() as stack:
        yield build_rig(stack, settings, {}, s3)


LENGTHS = {"short": (12, 15), "long": (400, 50)}


@pytest.mark.parametrize("database_url", ["postgresql", "mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("length", ["short", pytest.param("long", marks=pytest.mark.soak)])
def test_against_the_model(rig: Rig, length: str) -> None:
    """In every random sequence the answers match the model and the invariants hold."""

    class Bound(Service):
        pass

    Bound.rig = rig
    examples, steps = LENGTHS[length]
    chosen = hypothesis_settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=length == "short",
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Bound, settings=chosen)
