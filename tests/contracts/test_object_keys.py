"""Contract: the keys and the listings of an object store."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from random import Random
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from errors import StorageUnavailableError
from s3_client import Bucket
from tests.support.odd_keys import DOTS, EMPTY_SEGMENTS, FOLDERS, ODD_KEYS
from tests.support.stored_objects import TEN, get, new_key, put, stored
from tests.support.stores import Difference, StoreKind

BODY = Random(1).randbytes(10_000)


@pytest.mark.parametrize("key", ODD_KEYS + FOLDERS)
def test_odd_keys(images: Bucket, key: str) -> None:
    """An object with an unusual key is stored, read and listed under exactly this key."""
    with stored(images, key):
        assert get(images, key) == TEN
        assert (key, 10) in images.list_objects()
    assert key not in dict(images.list_objects())


@contextmanager
def foreign_object(images: Bucket, key: str) -> Iterator[None]:
    """Store an object with a key that the service never generates while the block runs."""
    images.client.put_object(Bucket="images", Key=key, Body=TEN)
    yield
    images.delete_image(key)


@pytest.mark.parametrize("key", DOTS)
def test_dots(images: Bucket, kind: StoreKind, key: str) -> None:
    """A key with a segment `.` or `..` is listed and deleted like any other."""
    if Difference.DOTS in kind.differences:
        with pytest.raises(ClientError), foreign_object(images, key):
            pass
        return
    with foreign_object(images, key):
        assert (key, 10) in images.list_objects()
        assert images.download_any(key).read_all() == TEN
    assert key not in dict(images.list_objects())


@pytest.mark.parametrize("key", EMPTY_SEGMENTS)
def test_empty_segments(images: Bucket, kind: StoreKind, key: str) -> None:
    """A slash is an ordinary character: a key may start or end with it, or double it."""
    if Difference.SEGMENTS in kind.differences:
        with suppress(ClientError), foreign_object(images, key):
            assert (key, 10) not in images.list_objects()
        return
    with foreign_object(images, key):
        assert (key, 10) in images.list_objects()
        assert images.download_any(key).read_all() == TEN
    assert key not in dict(images.list_objects())


@pytest.mark.parametrize("key", [*DOTS, *EMPTY_SEGMENTS, "/", "", "tab\t"])
def test_never_another_key(images: Bucket, key: str) -> None:
    """Keys that obstore would change are refused for puts and reads."""
    asks: tuple[Callable[[], object], ...] = (
        lambda: put(images, key, TEN),
        lambda: get(images, key),
        lambda: images.has_object(key, 10),
        lambda: images.stored_name(key),
    )
    for ask in asks:
        with pytest.raises(StorageUnavailableError, match="cannot request the key"):
            ask()


@pytest.mark.parametrize("key", ["/beside", "beside/", "//beside", "./beside", "/"])
def test_delete_no_other_key(images: Bucket, kind: StoreKind, key: str) -> None:
    """Deleting a key with unusual slashes deletes neither another object nor the bucket.

    Some stores refuse a key with a dot for a segment.
    """
    with stored(images, "beside"):
        try:
            images.delete_image(key)
        except StorageUnavailableError:
            assert key.startswith(".")
        images.check()
        if Difference.SEGMENTS not in kind.differences:  # else these are the same key
            assert get(images, "beside") == TEN


def test_backslash(images: Bucket, kind: StoreKind) -> None:
    """A backslash in a key stays a backslash."""
    listed = "back/slash" if Difference.BACKSLASH in kind.differences else "back\\slash"
    with stored(images, "back\\slash"):
        assert get(images, "back\\slash") == TEN
        assert (listed, 10) in images.list_objects()


def test_object_beside_a_folder(images: Bucket, kind: StoreKind) -> None:
    """An object `beside` can exist together with an object `beside/it`."""
    with stored(images, "beside"):
        if Difference.BESIDE in kind.differences:
            with pytest.raises(StorageUnavailableError):
                put(images, "beside/it", BODY)
            return
        with stored(images, "beside/it", body=BODY):
            assert (get(images, "beside"), get(images, "beside/it")) == (TEN, BODY)


def test_order(images: Bucket, kind: StoreKind) -> None:
    """Listings are in byte order, and slashes sort like any other byte."""
    keys = ["order-b", "order.c", "order/b", "order0"]
    with stored(images, *keys):
        listed = [key for key, _ in images.list_objects("order")]
    assert sorted(listed) == keys
    assert (listed == keys) == (Difference.ORDER not in kind.differences)


def test_keys_are_not_folded(images: Bucket) -> None:
    """Keys that differ in case, spaces, percent-encoding or Unicode form are different objects."""
    keys = ["a", "A", "a ", " a", "é", "e\u0301", "%61", "a%20"]
    with stored(images, *keys):
        for key in keys:
            put(images, key, key.encode())
        assert [get(images, key) for key in keys] == [key.encode() for key in keys]


@pytest.mark.parametrize("name", ["sunset", "Füße und 日本語", 'a b+c%20d;e="f"', "😀" * 60])
def test_stored_name(images: Bucket, name: str) -> None:
    """An object stores the name of its image, whatever characters it has."""
    key = new_key()
    put(images, key, TEN, name=name)
    assert images.stored_name(key) == name
    images.delete_image(key)


def test_no_stored_name(images: Bucket) -> None:
    """An object that was stored without a name has no name."""
    key = new_key()
    with stored(images, key):
        assert images.stored_name(key) is None


def test_listing(images: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing of several pages has every object once, with its size, in byte order."""
    client = images.client
    page = Mock(wraps=partial(client.list_objects_v2, MaxKeys=20))
    monkeypatch.setattr(client, "list_objects_v2", page)
    random = Random(3)
    names = [f"list-{''.join(random.choices('aZ09_.-~é𐀀', k=8))}" for _ in range(150)]
    sizes = {name: number for number, name in enumerate(names)}
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda key: put(images, key, b"x" * sizes[key]), sizes))
        listed = list(images.list_objects("list-"))
        assert page.call_count == 8
        list(threads.map(images.delete_image, sizes))
    assert dict(listed) == sizes
    assert [key for key, _ in listed] == sorted(sizes, key=lambda key: key.encode())
    assert list(images.list_objects("list-")) == []
