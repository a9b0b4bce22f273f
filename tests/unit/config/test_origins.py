"""Each host and each origin has one spelling, which browsers send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.origins import normalise_host, normalise_origin

HOSTS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,20}[A-Za-z0-9])?", fullmatch=True)
ADDRESSES = st.ip_addresses(v=6)


@given(st.sampled_from(["http", "HTTPS", "capacitor"]), HOSTS, st.integers(0, 65535))
def test_one_spelling(scheme: str, host: str, port: int) -> None:
    """An origin is in lower case, with a port unless it is the default of the scheme."""
    origin = normalise_origin(f"{scheme}://{host}:{port}/")
    default = {"http": 80, "https": 443}.get(scheme.lower())
    address = f"{scheme}://{host}".lower()
    assert origin == (address if port == default else f"{address}:{port}")
    assert normalise_origin(f"{scheme}://{host}") == address
    assert normalise_origin(origin) == origin


@pytest.mark.parametrize(
    "text",
    [
        *("null", "a.example", "https://", "https://a/b", "https://a:b", "https://a:65536"),
        *("https://a:\uff11", "https://[1.2.3.4]", "https://[:::]", "https://[::1%eth0]"),
    ],
)
def test_no_origin(text: str) -> None:
    """Text that no browser sends as an origin is refused."""
    with pytest.raises(ValueError, match="needs origins such as"):
        normalise_origin(text)


@given(ADDRESSES)
def test_addresses(address: object) -> None:
    """An IPv6 address is compressed and put in brackets."""
    expected = f"[{address}]"
    for text in (str(address), f"[{address}]", str(getattr(address, "exploded", ""))):
        assert normalise_host(text) == expected


@pytest.mark.parametrize("host", ["*", "*.example.com", "a_b", "127.0.0.1"])
def test_hosts(host: str) -> None:
    """A host may be a name, an address, a wildcard for subdomains, or all hosts."""
    assert normalise_host(host) == host


@pytest.mark.parametrize(
    "text",
    [
        *("", "a b", "a:80", "http://a", "a/b", "a.*", "*a", "bücher", "[:::]"),
        *("[::", "[::1", "::1]", "[[::1]]", "[]", "[a]", "::1%eth0", "[::1%a b]"),
    ],
)
def test_no_host(text: str) -> None:
    """Anything else is refused, and the sentence repeats it."""
    with pytest.raises(ValueError, match="needs hosts") as refused:
        normalise_host(text)
    assert repr(text) in str(refused.value)
