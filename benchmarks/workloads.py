"""The requests of each row of the results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import urllib3

from benchmarks.load import Load, Slot
from benchmarks.photos import FORM_HEADERS, KB, MB, photo, upload_form
from benchmarks.stack import Setting, Stack

SIZES = {"10 KB": 10 * KB, "100 KB": 100 * KB, "1 MB": MB, "5 MB": 5 * MB, "20 MB": 20 * MB}
_PUT_KEYS = 64
_SEEDS = 10**6


@dataclass(frozen=True)
class Scenario:
    """A setting of the service, and the rows to measure with their numbers of clients."""

    setting: Setting
    rows: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Deployment:
    """The running service of a scenario, with its bucket and database."""

    stack: Stack
    setting: Setting
    base_url: str
    bucket: str
    db_url: str

    def stored(self, size: int) -> tuple[bytes, str]:
        """Upload an image of that size; return its path and its ETag."""
        name = f"stored-{size}"
        load = _upload(self, (name.encode(),), size)
        body = load.request(0)[1]
        answer = urllib3.request("POST", f"{self.base_url}/images", body=body, headers=load.headers)
        return f"/images/{name}".encode(), answer.headers["ETag"]

    def signed(self, operation: str, key: str) -> tuple[bytes]:
        """Return the path of a presigned URL."""
        url = self.stack.s3.generate_presigned_url(
            operation, Params={"Bucket": self.bucket, "Key": key}
        )
        return (url.removeprefix(self.stack.store.endpoint_url).encode(),)


@dataclass(frozen=True)
class Row:
    """One kind of request and its expected response."""

    load: Callable[[Deployment], Load]
    status: int = 200
    size: int = 0  # of the image that is sent or received
    seed: Callable[[Deployment], Load] | None = None  # sent first, to create what the load needs


def _metadata(deployment: Deployment) -> Load:
    path = (b"/images/img-", Slot.INDEX, b"/metadata")
    return Load(deployment.base_url, (path,), indices=deployment.setting.images)


def _random(deployment: Deployment) -> Load:
    return Load(deployment.base_url, ((b"/images/random/metadata",),))


def _list(deployment: Deployment) -> Load:
    """Alternate between the first page and one in the middle of the table."""
    first = b"/images?limit=100"
    prefix = f"img-{deployment.setting.images // 2:07d}"[:-3]  # matches a thousand names
    middle = first + f"&prefix={prefix}".encode()
    page = urllib3.request("GET", deployment.base_url + middle.decode()).json()
    return Load(
        deployment.base_url, ((first,), (middle, b"&cursor=", page["next_cursor"].encode()))
    )


def _not_modified(deployment: Deployment) -> Load:
    path, etag = deployment.stored(SIZES["100 KB"])
    return Load(deployment.base_url, ((path,),), headers={"If-None-Match": etag})


def _redirect(deployment: Deployment) -> Load:
    path, _ = deployment.stored(SIZES["100 KB"])
    return Load(deployment.base_url, ((path, b"?redirect=true"),))


def _get(deployment: Deployment, size: int) -> Load:
    path, _ = deployment.stored(size)
    return Load(deployment.base_url, ((path,),))


def _s3_get(deployment: Deployment, size: int) -> Load:
    body = b"".join(part for part in photo(size) if isinstance(part, bytes)) + bytes(16)
    deployment.stack.s3.put_object(Bucket=deployment.bucket, Key=f"get-{size}", Body=body)
    return Load(
        deployment.stack.store.endpoint_url, (deployment.signed("get_object", f"get-{size}"),)
    )


def _s3_put(deployment: Deployment, size: int) -> Load:
    paths = tuple(deployment.signed("put_object", f"put-{number}") for number in range(_PUT_KEYS))
    return Load(deployment.stack.store.endpoint_url, paths, "PUT", body=photo(size))


def _upload(deployment: Deployment, name: tuple[bytes | Slot, ...], size: int) -> Load:
    form = upload_form(name, size)
    indices = deployment.setting.images or _SEEDS
    load = Load(deployment.base_url, ((b"/images",),), "POST", FORM_HEADERS, form, indices)
    return load.with_new_serials()


def _delete(deployment: Deployment) -> Load:
    return Load(deployment.base_url, ((b"/images/seed-", Slot.INDEX),), "DELETE", indices=_SEEDS)


ROWS = {
    "metadata": Row(_metadata),
    "random": Row(_random),
    "list 100": Row(_list),
    "304": Row(_not_modified, 304),
    "redirect": Row(_redirect, 307),
    "overwrite 100 KB": Row(
        partial(_upload, name=(b"img-", Slot.INDEX), size=SIZES["100 KB"]),
        size=SIZES["100 KB"],
    ),
    "delete": Row(_delete, seed=partial(_upload, name=(b"seed-", Slot.INDEX), size=SIZES["10 KB"])),
}
for _label, _size in SIZES.items():
    ROWS[f"GET {_label}"] = Row(partial(_get, size=_size), size=_size)
    ROWS[f"S3 GET {_label}"] = Row(partial(_s3_get, size=_size), size=_size)
    ROWS[f"S3 PUT {_label}"] = Row(partial(_s3_put, size=_size), size=_size)
    ROWS[f"upload {_label}"] = Row(
        partial(_upload, name=(b"new-", Slot.SERIAL), size=_size), 201, _size
    )
