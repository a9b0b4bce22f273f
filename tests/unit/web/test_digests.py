"""Digest fields encode 32 bytes; anything else is refused (RFC 9530)."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from errors import DigestMismatchError
from web.digests import announced_digests, render_digest

DIGESTS = st.binary(min_size=32, max_size=32)


@given(DIGESTS, st.sampled_from(["content-digest", "repr-digest"]))
def test_there_and_back(digest: bytes, field: str) -> None:
    """A digest as the service sends it is read as the same bytes."""
    assert announced_digests(Headers({field: render_digest(digest.hex())})) == [digest]


@given(st.lists(DIGESTS, max_size=4))
def test_every_line(digests: list[bytes]) -> None:
    """The digests of all lines count; other algorithms are ignored."""
    lines = [
        (b"content-digest", f"sha-512=:AAAA:, {render_digest(digest.hex())};a=1".encode())
        for digest in digests
    ]
    assert announced_digests(Headers(raw=lines)) == digests


@given(st.text("ABCxyz09+/=: -", max_size=60))
def test_any_text(text: str) -> None:
    """Whatever a client sends, a digest that is not refused has 32 bytes."""
    with suppress(DigestMismatchError):
        digests = announced_digests(Headers({"repr-digest": f"sha-256={text}"}))
        assert [len(digest) for digest in digests] == [32]
