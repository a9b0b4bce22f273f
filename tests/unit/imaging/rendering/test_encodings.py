"""A change of the encoders changes the revision of variants."""

import hashlib

from imaging.rendering.encodings import ENCODINGS, REVISION


def test_revision() -> None:
    """A change of the encoders requires a new REVISION; then update the digest here."""
    digest = hashlib.sha256(repr((REVISION, ENCODINGS)).encode()).hexdigest()
    assert digest.startswith("bb7f3821")
