"""JPEG (ITU T.81, annex B): segments, scans, and the data of the first picture.

A file of several pictures (MPO) or with a film behind the picture, as phones make them, counts as
its first picture: that is what browsers show.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from imaging.containers.content import Content, MalformedImageError, number, take
from imaging.containers.exif import read_orientation
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline

# Any number of fill bytes may stand before a marker (B.1.1.2), and libjpeg skips strays.
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_SOI, _EOI, _DNL, _COM = 0xD8, 0xD9, 0xDC, 0xFE
SOS, APP1 = 0xDA, 0xE1
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}  # TEM and RST0 to RST7
FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # sequential and progressive, Huffman and arithmetic
PROGRESSIVE, _ARITHMETIC = {0xC2, 0xCA}, {0xC9, 0xCA}
TABLES = {0xC4, 0xCC, 0xDB, 0xDD}  # DHT, DAC, DQT, DRI
_KNOWN = {*FRAMES, *TABLES, SOS, _DNL, *range(0xE0, 0xF0), _COM}
_MOST_SEGMENTS = 10_000
_MOST_SCANS = 100
_MOST_TABLE_BYTES = 1024 * 1024
_COEFFICIENTS = 64
_COMPLETE = [0] * _COEFFICIENTS


@dataclass(slots=True)
class Component:
    """A colour component: its sampling factors, and the bits that each coefficient still lacks.

    `missing` is None for a coefficient of which no scan has sent anything.
    """

    horizontal: int
    vertical: int
    missing: list[int | None] = field(default_factory=lambda: [None] * _COEFFICIENTS)


@dataclass(slots=True, kw_only=True)
class JpegOutline(Outline):
    """What decoding the first picture of a file needs: its tables, and where its scans lie."""

    frame: int = 0
    components: dict[int, Component] = field(default_factory=dict)
    tables: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    start: int = 0
    end: int = 0
    scans: int = 0
    exif: bool = False

    @property
    def buffered(self) -> bool:
        """Whether a decoder must keep all coefficients until the last scan."""
        return self.scans > 1 or self.frame in PROGRESSIVE

    @property
    def is_plain(self) -> bool:
        """Whether it is one scan of Huffman codes, of which a decoder notices the end."""
        return not self.buffered and self.frame not in _ARITHMETIC

    @property
    def decoded_bytes(self) -> int:
        """What a decoder takes that scales to an eighth; kept coefficients are 2 bytes each."""
        parts = self.components.values()
        wide, high = max(c.horizontal for c in parts), max(c.vertical for c in parts)
        units = -(-self.width // (8 * wide)) * -(-self.height // (8 * high))
        blocks = units * sum(c.horizontal * c.vertical for c in parts)
        rows = 256 * self.width * len(parts)
        return rows + self.width * self.height // 16 + (2 * _COEFFICIENTS * blocks * self.buffered)


def walk(content: Content, limits: PixelLimits) -> JpegOutline:
    """Find the first picture of a file; raises MalformedImageError or TooManyPixelsError."""
    if content[:3] != b"\xff\xd8\xff":
        raise MalformedImageError("it does not begin as a JPEG file does")
    found, table_bytes = JpegOutline(), 0
    for marker, at, length in segments(content):
        if marker == SOS:
            found.start = found.start or at - 4
            found.scans += 1
            _read_scan(found, take(content, at, length))
        elif marker == _EOI:
            found.end = at
        elif marker in FRAMES:
            _read_frame(found, marker, take(content, at, length))
            limits.check(found.width, found.height)
        elif marker == APP1 and not (found.exif or found.start):
            found.exif = is_exif(content, at)
            if found.exif:
                found.orientation = read_orientation(content[at + 6 : at + length])
        if not found.start and (marker in TABLES or marker in FRAMES):
            table_bytes += length
            found.tables.append(content[at - 4 : at + length])
            if table_bytes > _MOST_TABLE_BYTES:
                raise MalformedImageError("its tables are too long")
    _require_complete(found)
    return found


def is_exif(content: Content, at: int) -> bool:
    """Tell whether an APP1 segment holds Exif. Browsers accept any byte after its zero."""
    return content[at : at + 5] == b"Exif\0"


def segments(content: Content) -> Iterator[tuple[int, int, int]]:
    """Yield marker, offset and length of each segment, up to and with End Of Image.

    That one's offset is where it begins, behind all scans.
    """
    at, after = 2, _MARKER
    for _ in range(_MOST_SEGMENTS):
        match = after.search(content, at)
        if match is None:
            raise MalformedImageError("it has no End Of Image marker")
        marker, at = content[match.end() - 1], match.end()
        if marker == _EOI:
            yield marker, match.start(), 0
            return
        if marker == _SOI:
            raise MalformedImageError("a second picture begins within the first")
        if marker in _WITHOUT_LENGTH:
            continue
        if marker not in _KNOWN:  # lossless, hierarchical, or reserved
            raise MalformedImageError("it has a marker that decoders do not know")
        length = number(content, at, 2, "big") - 2
        if length < 0 or at + 2 + length > len(content):
            raise MalformedImageError("it is cut short")
        # Without what may stand before it, its marker lies four bytes before its content.
        yield marker, at + 2, length
        at += 2 + length
        after = _MARKER_AFTER_SCAN if marker == SOS else _MARKER
    raise MalformedImageError(f"it has more than {_MOST_SEGMENTS} segments")


def _read_frame(found: JpegOutline, marker: int, frame: bytes) -> None:
    """Read a frame header (B.2.2)."""
    if found.frame:
        raise MalformedImageError("it has two frame headers")
    if len(frame) < 6 or len(frame) != 6 + 3 * frame[5]:
        raise MalformedImageError("its frame header has a wrong length")
    if frame[0] != 8 or frame[5] not in {1, 3, 4}:
        raise MalformedImageError("it does not have 8 bits in each of 1, 3 or 4 components")
    found.frame = marker
    found.height, found.width = number(frame, 1, 2, "big"), number(frame, 3, 2, "big")
    for at in range(6, len(frame), 3):
        horizontal, vertical = frame[at + 1] >> 4, frame[at + 1] & 15
        if not (1 <= horizontal <= 4 and 1 <= vertical <= 4):
            raise MalformedImageError("its sampling factors are out of range")
        found.components[frame[at]] = Component(horizontal, vertical)
    if len(found.components) != frame[5]:
        raise MalformedImageError("two of its components have one name")


def _read_scan(found: JpegOutline, scan: bytes) -> None:
    """Read a scan header (B.2.3): which bits of which coefficients it sends."""
    if found.scans > _MOST_SCANS:
        raise MalformedImageError(f"it has more than {_MOST_SCANS} scans")
    if not scan or len(scan) != 4 + 2 * scan[0]:
        raise MalformedImageError("its scan header has a wrong length")
    first, last, approximation = scan[-3], scan[-2], scan[-1]
    if found.frame not in PROGRESSIVE:
        first, last, approximation = 0, _COEFFICIENTS - 1, 0
    for name in scan[1:-3:2]:
        if name not in found.components or last >= _COEFFICIENTS:
            raise MalformedImageError("a scan is of no component of the picture")
        sent = slice(first, last + 1)
        found.components[name].missing[sent] = [approximation & 15] * (last + 1 - first)


def _require_complete(found: JpegOutline) -> None:
    """Raise MalformedImageError unless the scans send every bit of every coefficient."""
    if not found.start:
        raise MalformedImageError("it has no scan")
    for component in found.components.values():
        if component.missing != _COMPLETE:
            raise MalformedImageError("its last scans are missing")
