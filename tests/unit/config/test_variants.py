"""The specs of variants have one spelling each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import VariantSpec
from config.variants import require_variants

SIDES = st.integers(1, 8192)


SPECS = st.builds(VariantSpec, SIDES, SIDES, st.booleans())


@given(SPECS)
def test_parse_inverts_str(spec: VariantSpec) -> None:
    """`parse` inverts `str`."""
    assert VariantSpec.parse(str(spec)) == spec


@pytest.mark.parametrize("text", ["320", "640x480", "320x320-crop", "8192x1", "1"])
def test_spelling(text: str) -> None:
    """Parsing and writing a spec keeps its spelling."""
    assert str(VariantSpec.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0320", "320x", "x320", "320x0", "320x0320", "320-crop", "320x320-CROP", "-320"),
        *("320x320", "8193", "8193x1", "99999", "+320", " 320", "320\n", "3_20", "32.0", "३२०"),
        *("320x320-crop-crop", "320X320", "320x320x320", "320.jpg", "original"),
    ],
)
def test_invalid_spec(text: str) -> None:
    """An invalid spec raises ValueError with one sentence."""
    with pytest.raises(
        ValueError, match=r"^A variant looks like .*\.$|^A side .*\.$|^The variant .*\.$"
    ):
        VariantSpec.parse(text)


def test_require_variants() -> None:
    """Repeated specs count once; more than 20, or a malformed one, are refused."""
    assert require_variants(("320", "64x32", "320")) == ("320", "64x32")
    with pytest.raises(ValueError, match="at most 20"):
        require_variants(tuple(map(str, range(1, 22))))
    with pytest.raises(ValueError, match="looks like"):
        require_variants(("320", "big"))
