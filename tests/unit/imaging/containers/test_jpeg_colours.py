"""Which segments of a JPEG affect its colours."""

from imaging.containers.jpeg_colours import colour_model, profile_parts
from tests.support import pictures
from tests.support.containers import segment
from tests.support.icc_profiles import ADOBE_RGB

_ICC, _JPEG = ADOBE_RGB.profile(), pictures.jpeg()


def test_standard_length() -> None:
    """JFIF loses its thumbnail, Adobe the bytes after its transform; shorter ones are ignored."""
    jfif, adobe = b"JFIF\0\1\2\1\0\x48\0\x48", b"Adobe\0\x64\0\0\0\0\1"
    assert colour_model(0xE0, jfif + b"\4\4thumbnail") == segment(0xE0, jfif + b"\0\0")
    assert colour_model(0xEE, adobe + b"more") == segment(0xEE, adobe)
    for marker, short in ((0xE0, jfif), (0xEE, adobe[:-1]), (0xE0, b"JFXX\0" + bytes(20))):
        assert colour_model(marker, short) == b""


def _profile(*parts: bytes) -> bytes:
    segments = b"".join(segment(0xE2, b"ICC_PROFILE\0" + part) for part in parts)
    content = _JPEG[:2] + segments + _JPEG[2:]
    return b"".join(content[at : at + length] for at, length in profile_parts(content))


def test_profile_parts() -> None:
    """The parts form a profile in their order, if each exists once and the profile is one."""
    first, second = _ICC[:200], _ICC[200:]
    assert _profile(b"\1\1" + _ICC) == _ICC
    assert _profile(b"\2\2" + second, b"\1\2" + first) == _ICC
    assert _profile(b"\1\2" + first) == b""
    assert _profile(b"\1\1" + _ICC, b"\1\1" + _ICC) == b""
    assert _profile(b"\1\1" + bytes(200)) == b""
    assert _profile(b"\1") == b""
