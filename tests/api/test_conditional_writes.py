"""Conditional writes are decided inside the transaction: of N racing writers exactly one wins.

The tests run on every engine against two service processes, with one connection per writer.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import text

from devstack.object_store import ObjectStore
from tests.support.metered_service import MeteredService, metered_service
from tests.support.pictures import png

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WRITERS = 32
PICTURES = [png(seed=seed) for seed in range(WRITERS)]
Upload = Callable[..., httpx.Response]
Writer = Callable[[httpx.Client, int], httpx.Response]


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def service(
    request: pytest.FixtureRequest,
    object_store: ObjectStore,
    s3: "S3Client",
    new_bucket: Callable[[], str],
) -> Iterator[MeteredService]:
    """Return the service, running as two processes; the tests run on every engine."""
    servers = {"postgresql": "postgres_url", "mariadb": "mariadb_url"}
    fixture = servers.get(request.param)
    database = request.getfixturevalue(fixture) if fixture else "sqlite://"
    bucket = new_bucket()
    with metered_service(object_store, s3, bucket, database=database, workers=2) as service:
        yield service


@pytest.fixture(scope="module")
def clients(service: MeteredService) -> Iterator[list[httpx.Client]]:
    """Return connected clients of the service."""
    with ExitStack() as ends:
        made = [httpx.Client(base_url=service.process.base_url, timeout=60) for _ in PICTURES]
        for client in made:
            ends.enter_context(client).get("/health/live").raise_for_status()
        yield made


def post(client: httpx.Client, name: str, picture: bytes, **conditions: str) -> httpx.Response:
    """Upload a picture. Keyword arguments such as `if_match` become header fields."""
    headers = {field.replace("_", "-"): value for field, value in conditions.items()}
    files = {"file": ("f.png", picture)}
    return client.post("/images", files=files, data={"name": name}, headers=headers)


def put(client: httpx.Client, name: str, picture: bytes, **conditions: str) -> httpx.Response:
    """Upload a picture as `post` does, by PUT."""
    headers = {field.replace("_", "-"): value for field, value in conditions.items()}
    return client.put(f"/images/{name}", content=picture, headers=headers)


either = pytest.mark.parametrize("upload", [post, put])


def race(clients: list[httpx.Client], write: Writer) -> list[httpx.Response]:
    """Let all clients write at once; return the responses in the order of the clients."""
    barrier = Barrier(len(clients))

    def start(number: int) -> httpx.Response:
        barrier.wait(timeout=30)
        return write(clients[number], number)

    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(start, range(len(clients))))


def statuses(answers: list[httpx.Response]) -> dict[int, int]:
    """Count the responses by status."""
    return dict(Counter(answer.status_code for answer in answers))


def race_to_create(clients: list[httpx.Client], name: str, upload: Upload) -> None:
    """Let all clients create one image from different bytes; check that exactly one succeeds."""
    answers = race(clients, lambda client, i: upload(client, name, PICTURES[i], if_none_match="*"))
    assert statuses(answers) == {201: 1, 412: WRITERS - 1}
    winner = next(i for i, answer in enumerate(answers) if answer.status_code == 201)
    stored = clients[0].get(f"/images/{name}")
    assert stored.content == PICTURES[winner]
    assert stored.headers["etag"] == answers[winner].headers["etag"]
    refusals = [answer.json()["code"] for answer in answers if answer.status_code == 412]
    assert set(refusals) == {"precondition_failed"}


@either
def test_creators(clients: list[httpx.Client], upload: Upload) -> None:
    """Of 32 clients that create one name exactly one gets 201 and 31 get 412."""
    for number in range(5):
        race_to_create(clients, f"created-{upload.__name__}-{number}", upload)


@pytest.mark.soak
def test_creators_for_long(clients: list[httpx.Client]) -> None:
    """The race to create has one winner fifty times, with a delete after each."""
    for _ in range(50):
        race_to_create(clients, "created", post)
        clients[0].delete("/images/created").raise_for_status()


@either
def test_writers_of_one_version(clients: list[httpx.Client], upload: Upload) -> None:
    """Of writers with the same If-Match exactly one replaces the version."""
    seen = post(clients[0], "written", png(seed=100)).headers["etag"]
    answers = race(clients, lambda client, i: upload(client, "written", PICTURES[i], if_match=seen))
    assert statuses(answers) == {200: 1, 412: WRITERS - 1}
    winner = next(i for i, answer in enumerate(answers) if answer.status_code == 200)
    assert clients[0].get("/images/written").content == PICTURES[winner]


def test_writers_in_turns(clients: list[httpx.Client]) -> None:
    """Writers that retry with the current ETag all succeed, each on another version."""
    post(clients[0], "counted", png(seed=100))
    replaced = []

    def retry(client: httpx.Client, number: int) -> httpx.Response:
        while True:
            seen = client.head("/images/counted").headers["etag"]
            answer = post(client, "counted", PICTURES[number], if_match=seen)
            if answer.status_code != 412:
                replaced.append(seen)
                return answer

    assert statuses(race(clients[:6], retry)) == {200: 6}
    assert len(set(replaced)) == 6


def test_deleters_of_one_version(clients: list[httpx.Client]) -> None:
    """Of deletes and overwrites with the same If-Match exactly one succeeds."""
    seen = post(clients[0], "deleted", png(seed=100)).headers["etag"]

    def act(client: httpx.Client, number: int) -> httpx.Response:
        if number % 2:
            return post(client, "deleted", PICTURES[number], if_match=seen)
        return client.delete("/images/deleted", headers={"If-Match": seen})

    answers = race(clients, act)
    assert statuses(answers).get(200) == 1
    assert set(statuses(answers)) <= {200, 404, 412}  # 404: already deleted
    deleted = "deleted" in next(answer for answer in answers if answer.is_success).json()
    assert clients[0].get("/images/deleted").status_code == (404 if deleted else 200)


def snapshot(service: MeteredService, s3: "S3Client") -> tuple[list[object], list[object]]:
    """Return all rows of images and journal, and all objects with their modification times."""
    service.settle()
    with service.engine.connect() as db:
        images = db.execute(text("SELECT * FROM images")).all()
        pending = db.execute(text("SELECT * FROM pending_objects")).all()
    listed = s3.list_objects_v2(Bucket=service.bucket).get("Contents", [])
    return [*images, *pending], [(entry["Key"], entry["LastModified"]) for entry in listed]


def test_identical_upload(service: MeteredService, s3: "S3Client") -> None:
    """Uploading the current bytes again writes nothing; it checks the object by one HEAD."""
    first = post(service.client, "same", PICTURES[0])
    before = snapshot(service, s3)
    again = post(service.client, "same", PICTURES[0])
    assert [request.method for request in service.meter.taken()] == ["HEAD"]
    results = [answer.headers["upload-result"] for answer in (first, again)]
    assert results == ["created", "unchanged"]
    assert (again.status_code, again.json()) == (200, first.json())
    for field in ("etag", "last-modified"):
        assert again.headers[field] == first.headers[field]
    assert snapshot(service, s3) == before
    assert post(service.client, "same", PICTURES[1]).headers["upload-result"] == "replaced"


def test_identical_upload_under_conditions(service: MeteredService) -> None:
    """A false condition is 412 even if the bytes are identical to the current ones."""
    etag = post(service.client, "conditional", PICTURES[0]).headers["etag"]
    for condition in ({"if_none_match": "*"}, {"if_match": '"other"'}, {"if_none_match": etag}):
        assert post(service.client, "conditional", PICTURES[0], **condition).status_code == 412
    answer = post(service.client, "conditional", PICTURES[0], if_match=etag)
    assert (answer.status_code, answer.headers["upload-result"]) == (200, "unchanged")


def test_identical_uploads_at_once(
    service: MeteredService, clients: list[httpx.Client], s3: "S3Client"
) -> None:
    """Of many uploads of the same new bytes one creates the image, and one object remains."""
    objects = len(snapshot(service, s3)[1])
    answers = race(clients, lambda client, _: post(client, "at-once", PICTURES[0]))
    assert statuses(answers) == {201: 1, 200: WRITERS - 1}
    assert {answer.headers["etag"] for answer in answers} == {answers[0].headers["etag"]}
    assert service.client.get("/images/at-once").content == PICTURES[0]
    assert len(snapshot(service, s3)[1]) == objects + 1
