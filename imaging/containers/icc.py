"""The parts of ICC profiles (ICC.1:2010) that containers need."""

HEADER_BYTES = 128


def is_profile(beginning: bytes) -> bool:
    """Return whether a file begins like a profile (section 7.2.12). Decoders ignore others."""
    return beginning[36:40] == b"acsp"
