"""An address keeps the other parameters of a request unchanged, and has one version."""

from urllib.parse import parse_qsl

from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import IMAGE, SETTINGS
from web.addresses import VERSION, Address, Addresses, all_paths

ADDRESS = Address("/images/a", "current")
PARTS = st.sampled_from(
    ["v", "%76", "V", "vv", "a", "", "=", "&", "&&", "+", "%", "%zz", "%26", "~"]
)


@given(st.lists(PARTS, max_size=12).map("".join))
def test_keeping(query: str) -> None:
    """Whatever the query is, only its versions are replaced, and repeating it changes nothing."""
    moved = str(ADDRESS.moved("old", query))
    path, _, kept = moved.partition("?")
    others = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != VERSION]
    assert path == ADDRESS.path
    assert parse_qsl(kept, keep_blank_values=True) == [(VERSION, "current"), *others]
    assert ADDRESS.moved("old", kept) == moved


def test_one_builder() -> None:
    """Metadata contains the addresses to which the service redirects."""
    addresses = Addresses("/photos", ("320", "320x320-crop"), ("jpg",))
    image = IMAGE._replace(name="50% é/&?v=1")
    url, variants = addresses.all_of(image)
    assert url == str(addresses.image(image))
    assert url.startswith("/photos/images/50%25%20%C3%A9%2F%26%3Fv%3D1?v=")
    assert variants == {
        variant: str(addresses.variant(image, variant)) for variant in addresses.variants
    }


def test_all_paths() -> None:
    """The paths are those of all addresses, with each file extension, and of the metadata."""
    settings = SETTINGS.model_copy(update={"variants": ("320",), "variant_formats": ("jpg", "png")})
    endings = ["", "/metadata", "/variants/320", "/variants/320.jpg", "/variants/320.png"]
    assert all_paths("a b", settings) == [f"/images/a%20b{ending}" for ending in endings]
