"""JPEG (ITU T.81, annex B): segments, scans, and the data of the first picture.

Phones append more pictures (MPO) or a video. Like browsers, the walk reads only the first picture.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from imaging.containers.content import Content, MalformedImageError, number, take
from imaging.containers.exif import read_orientation
from imaging.containers.limits import PixelLimits
from imaging.containers.outline import Outline

# Any number of fill bytes may precede a marker (B.1.1.2), and libjpeg skips stray bytes.
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_SOI, _DNL, _COM = 0xD8, 0xDC, 0xFE
EOI, SOS, APP1 = 0xD9, 0xDA, 0xE1
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}  # TEM and RST0 to RST7
FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # sequential and progressive, Huffman and arithmetic
PROGRESSIVE, ARITHMETIC = {0xC2, 0xCA}, {0xC9, 0xCA}
TABLES = {0xC4, 0xCC, 0xDB, 0xDD}  # DHT, DAC, DQT, DRI
_KNOWN = {*FRAMES, *TABLES, SOS, _DNL, *range(0xE0, 0xF0), _COM}
_MAX_SEGMENTS = 10_000
_MAX_SCANS = 100
_MAX_TABLE_BYTES = 1024 * 1024
_COEFFICIENTS = 64
_COMPLETE = [0] * _COEFFICIENTS


@dataclass(slots=True)
class Component:
    """A colour component: its name, its sampling factors and the missing bits of each coefficient.

    A coefficient that no scan has sent is None in `missing`.
    """

    name: int
    horizontal: int
    vertical: int
    missing: list[int | None] = field(default_factory=lambda: [None] * _COEFFICIENTS)


@dataclass(slots=True, kw_only=True)
class JpegOutline(Outline):
    """The first picture of a file: its tables and the offsets of its scans."""

    frame: int = 0
    components: list[Component] = field(default_factory=list)
    tables: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    start: int = 0
    end: int = 0
    scans: int = 0

    @property
    def buffered(self) -> bool:
        """Whether a decoder must store all coefficients until the last scan."""
        return self.scans > 1 or self.frame in PROGRESSIVE

    @property
    def is_plain(self) -> bool:
        """Whether it is a single scan of Huffman codes, whose end a decoder detects."""
        return not self.buffered and self.frame not in ARITHMETIC

    @property
    def decoded_bytes(self) -> int:
        """The memory of a decoder that scales to an eighth; a stored coefficient has 2 bytes."""
        parts = self.components
        wide, high = max(c.horizontal for c in parts), max(c.vertical for c in parts)
        units = -(-self.width // (8 * wide)) * -(-self.height // (8 * high))
        blocks = units * sum(c.horizontal * c.vertical for c in parts)
        rows = 256 * self.width * len(parts)
        return rows + self.width * self.height // 16 + (2 * _COEFFICIENTS * blocks * self.buffered)


def walk(content: Content, limits: PixelLimits) -> JpegOutline:
    """Find the first picture of a file. Raises MalformedImageError or TooManyPixelsError."""
    if content[:3] != b"\xff\xd8\xff":
        raise MalformedImageError("it does not begin as a JPEG file does")
    outline, table_bytes, has_exif = JpegOutline(), 0, False
    for marker, at, length in segments(content):
        if marker == SOS:
            outline.start = outline.start or at - 4
            outline.scans += 1
            _read_scan(outline, take(content, at, length))
        elif marker == EOI:
            outline.end = at
        elif marker in FRAMES:
            _read_frame(outline, marker, take(content, at, length))
            limits.check(outline.width, outline.height)
        elif marker == APP1 and not (has_exif or outline.start) and is_exif(content, at, length):
            has_exif = True
            outline.orientation = read_orientation(content[at + 6 : at + length])
        if not outline.start and (marker in TABLES or marker in FRAMES):
            table_bytes += length
            outline.tables.append(content[at - 4 : at + length])
            if table_bytes > _MAX_TABLE_BYTES:
                raise MalformedImageError("its tables are too long")
    _require_complete(outline)
    return outline


def is_exif(content: Content, at: int, length: int) -> bool:
    """Return whether an APP1 segment contains Exif. Browsers ignore the byte after its zero."""
    return length > 6 and content[at : at + 5] == b"Exif\0"


def segments(content: Content) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, offset and length of each segment up to and including End Of Image.

    The offset of End Of Image is that of its marker, after all scans.
    """
    at, after = 2, _MARKER
    for _ in range(_MAX_SEGMENTS):
        match = after.search(content, at)
        if match is None:
            raise MalformedImageError("it has no End Of Image marker")
        marker, at = content[match.end() - 1], match.end()
        if marker == EOI:
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
        # The content follows two bytes of marker, without fill bytes, and two of length.
        yield marker, at + 2, length
        at += 2 + length
        after = _MARKER_AFTER_SCAN if marker == SOS else _MARKER
    raise MalformedImageError(f"it has more than {_MAX_SEGMENTS} segments")


def _read_frame(outline: JpegOutline, marker: int, frame: bytes) -> None:
    """Read a frame header (B.2.2)."""
    if outline.frame:
        raise MalformedImageError("it has two frame headers")
    if len(frame) < 6 or len(frame) != 6 + 3 * frame[5]:
        raise MalformedImageError("its frame header has a wrong length")
    if frame[0] != 8 or frame[5] not in {1, 3, 4}:
        raise MalformedImageError("it does not have 8 bits in each of 1, 3 or 4 components")
    outline.frame = marker
    outline.height, outline.width = number(frame, 1, 2, "big"), number(frame, 3, 2, "big")
    for at in range(6, len(frame), 3):
        horizontal, vertical = frame[at + 1] >> 4, frame[at + 1] & 15
        if not (1 <= horizontal <= 4 and 1 <= vertical <= 4):
            raise MalformedImageError("its sampling factors are out of range")
        outline.components.append(Component(frame[at], horizontal, vertical))


def _read_scan(outline: JpegOutline, scan: bytes) -> None:
    """Read a scan header (B.2.3): which bits of which coefficients the scan sends."""
    if outline.scans > _MAX_SCANS:
        raise MalformedImageError(f"it has more than {_MAX_SCANS} scans")
    if not scan or len(scan) != 4 + 2 * scan[0]:
        raise MalformedImageError("its scan header has a wrong length")
    first, last, approximation = scan[-3], scan[-2], scan[-1]
    if outline.frame not in PROGRESSIVE:
        first, last, approximation = 0, _COEFFICIENTS - 1, 0
    unsent = list(outline.components)
    for name in scan[1:-3:2]:
        # Like libjpeg, use the first component of that name that this scan has not named yet.
        component = next((component for component in unsent if component.name == name), None)
        if component is None or last >= _COEFFICIENTS:
            raise MalformedImageError("a scan is of no component of the picture")
        unsent.remove(component)
        component.missing[first : last + 1] = [approximation & 15] * (last + 1 - first)


def _require_complete(outline: JpegOutline) -> None:
    """Raise MalformedImageError unless the scans send every bit of every coefficient."""
    if not outline.start:
        raise MalformedImageError("it has no scan")
    for component in outline.components:
        if component.missing != _COMPLETE:
            raise MalformedImageError("its last scans are missing")
