"""The requests of each row of the results."""

from collections.abc import Mapping
from functools import partial

import urllib3

from benchmarks.deployment import Deployment, Row
from benchmarks.load import Load, Slot
from benchmarks.photos import FORM_HEADERS, KB, MB, photo, upload_form
from benchmarks.variants import COLD, WARM

SIZES = {"10 KB": 10 * KB, "100 KB": 100 * KB, "1 MB": MB, "5 MB": 5 * MB, "20 MB": 20 * MB}
_PUT_KEYS = 64
_SEEDS = 10**6


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


def _stored(deployment: Deployment, size: int) -> tuple[bytes, Mapping[str, str]]:
    """Upload an image of that size; return its path and the headers of the response."""
    name = f"stored-{size}"
    load = _upload(deployment, (name.encode(),), size)
    url, body = f"{deployment.base_url}/images", load.request(0)[1]
    answer = urllib3.request("POST", url, body=body, headers=load.headers)
    return f"/images/{name}".encode(), answer.headers


def _not_modified(deployment: Deployment) -> Load:
    path, headers = _stored(deployment, SIZES["100 KB"])
    return Load(deployment.base_url, ((path,),), headers={"If-None-Match": headers["ETag"]})


def _redirect(deployment: Deployment) -> Load:
    path, _ = _stored(deployment, SIZES["100 KB"])
    return Load(deployment.base_url, ((path, b"?redirect=true"),))


def _get(deployment: Deployment, size: int) -> Load:
    path, _ = _stored(deployment, size)
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
    **COLD,
    **WARM,
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
