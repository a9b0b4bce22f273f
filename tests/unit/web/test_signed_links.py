"""A signed link has one right to one name until it expires, and no other."""

from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest

from config import load_settings
from errors import ConfigurationError
from tests.support.records import SETTINGS
from web.signed_links import SignedLink, expiry

OLD, SECRET, OTHER = "old-" + "o" * 28, "new-" + "n" * 28, "other-" + "x" * 28
NOW = datetime(2026, 11, 29, 12, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("seconds", [1, 2, 3, 7, 8, 9, 60, 100, 3600, 86399, 604800])
def test_expiry(seconds: int) -> None:
    """A link lives for the requested time and at most an eighth longer, until a round moment."""
    life = timedelta(seconds=seconds)
    for shift in (timedelta(0), life / 3, life / 8 - timedelta(microseconds=2), 7.3 * life):
        now = NOW + shift
        link = SignedLink("read", "a", expiry(now, seconds))
        assert now + life <= link.expires_at < now + life * 9 / 8
        assert (link.expires * 8) % (1000 * seconds) == 0
        at_once = SignedLink("read", "a", expiry(now + timedelta(microseconds=1), seconds))
        assert link.expires <= at_once.expires
        query = link.query(SECRET)
        assert SignedLink.from_query(query, "a", [SECRET], now) == link
        assert link.seconds_remaining(link.expires_at - timedelta(milliseconds=1500)) == 1
        assert link.seconds_remaining(link.expires_at + life) == 0


def test_round_moments() -> None:
    """Links that are made within an eighth of their life are the same, later ones are not."""
    start = datetime(2026, 11, 29, tzinfo=UTC) + timedelta(microseconds=1)
    window = timedelta(seconds=3600 / 8)
    made = [expiry(start + window * i / 10, 3600) for i in range(10)]
    assert len(set(made)) == 1
    assert expiry(start + window, 3600) == made[0] + window / timedelta(milliseconds=1)
    assert expiry(start - timedelta(microseconds=2), 3600) < made[0]


def test_expired() -> None:
    """A link is valid to the last microsecond before its moment, and not at it."""
    for milliseconds in (1764500000000, 1764500000125):
        link = SignedLink("read", "a", milliseconds)
        query = link.query(SECRET)
        before = link.expires_at - timedelta(microseconds=1)
        assert SignedLink.from_query(query, "a", [SECRET], before) == link
        assert SignedLink.from_query(query, "a", [SECRET], link.expires_at) is None


LINKS = [
    SignedLink("read", "a", expiry(NOW, 60)),
    SignedLink("variants", "a", expiry(NOW, 60)),
    SignedLink("read", "ab", expiry(NOW, 60)),
    SignedLink("read", "a", expiry(NOW, 3600)),
    SignedLink("upload", "a", expiry(NOW, 60)),
    SignedLink("upload", "a", expiry(NOW, 60), replace=True),
    SignedLink("upload", "a", expiry(NOW, 60), max_bytes=10),
    SignedLink("upload", "a", expiry(NOW, 60), replace=True, max_bytes=101),
]


def valid(query: str, name: str) -> SignedLink | None:
    """Return the link of a query string, if it is valid."""
    return SignedLink.from_query(query, name, [OTHER, SECRET], NOW)


@pytest.mark.parametrize("link", LINKS)
def test_changes(link: SignedLink) -> None:
    """A link with any character changed, added or removed is invalid."""
    query = link.query(SECRET)
    assert valid(query, link.name) == link
    for i in range(len(query)):
        left_out = query[:i] + query[i + 1 :]
        for character in "aAzZ019_-=&.%+~\xe9":
            for changed in (
                left_out,
                query[:i] + character + query[i + 1 :],
                query[:i] + character + query[i:],
            ):
                # An empty parameter between two others changes nothing.
                if changed.replace("&&", "&").strip("&") != query:
                    assert valid(changed, link.name) is None, changed
    assert valid(query.swapcase(), link.name) is None
    assert valid(f"{query}=", link.name) is None


@pytest.mark.parametrize("link", LINKS)
def test_parameters(link: SignedLink) -> None:
    """A link with parameters removed, emptied or repeated is invalid; their order is irrelevant."""
    pairs = parse_qsl(link.query(SECRET))
    assert valid(urlencode(pairs[::-1]), link.name) == link
    assert valid(urlencode([("v", "0"), *pairs, ("x", "sig")]), link.name) == link
    for i, (name, value) in enumerate(pairs):
        rest = pairs[:i] + pairs[i + 1 :]
        for wrong in (
            *(rest, [*rest, (name, "")], [*rest, (name.upper(), value)]),
            *([*pairs, (name, value)], [(name, value), *pairs], [*pairs, (name, "")]),
        ):
            assert valid(urlencode(wrong), link.name) is None
    for added in (
        ("replace", "false"),
        ("replace", "true"),
        ("max_bytes", "9"),
        ("allows", "read"),
    ):
        assert valid(urlencode([*pairs, added]), link.name) is None


def test_swapped() -> None:
    """No mixture of the parameters of links is valid for any name, except the links themselves."""
    names = ("allows", "expires", "replace", "max_bytes", "sig")
    told = [dict(parse_qsl(link.query(SECRET))) for link in LINKS]
    values = [sorted({one[name] for one in told if name in one}) for name in names]
    values[2], values[3] = [*values[2], ""], [*values[3], ""]
    found = []
    for chosen in product(*values):
        query = urlencode({k: v for k, v in zip(names, chosen, strict=True) if v})
        found += [link for name in ("a", "ab", "") if (link := valid(query, name))]
    assert sorted(map(str, found)) == sorted(map(str, LINKS))


@pytest.mark.parametrize(("max_bytes", "limit"), [(None, 100), (99, 99), (101, 100)])
def test_limit(max_bytes: int | None, limit: int) -> None:
    """A link lowers the limit of an upload, and never raises it."""
    settings = SETTINGS.model_copy(update={"max_upload_bytes": 100})
    link = SignedLink("upload", "a", expiry(NOW, 60), max_bytes=max_bytes)
    assert link.upload_settings(settings).max_upload_bytes == limit


def test_secrets() -> None:
    """All secrets verify; one that was removed, or was never there, does not."""
    link = LINKS[0]
    for secret in (OLD, SECRET):
        for secrets in ([OLD, SECRET], [SECRET, OLD]):
            assert SignedLink.from_query(link.query(secret), "a", secrets, NOW) == link
    assert SignedLink.from_query(link.query(OLD), "a", [SECRET], NOW) is None
    assert SignedLink.from_query(link.query(OLD), "a", [], NOW) is None
    assert SignedLink.from_query(link.query(OLD), "a", [OLD + "o", OLD[:-1]], NOW) is None


SHORTEST = "\xe9" * 16  # characters of two bytes
WRONG_SECRETS = ["", ",", " , ", "x" * 31, f"{SECRET},short", "\xe9" * 15, f"  {'x' * 31} "]


@pytest.mark.parametrize("value", WRONG_SECRETS)
def test_wrong_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    """LINK_SECRETS that is empty, or has a short secret, stops the start; no secret is repeated."""
    monkeypatch.chdir(tmp_path)
    for name, right in {"DB_URL": "sqlite:///i", "AWS_REGION": "r", "AWS_S3_BUCKET": "abc"}.items():
        monkeypatch.setenv(name, right)
    monkeypatch.setenv("LINK_SECRETS", value)
    sentence = r"^Configuration: LINK_SECRETS (has|needs) [^\n]*\.$"
    with pytest.raises(ConfigurationError, match=sentence) as refused:
        load_settings()
    assert SECRET not in str(refused.value)
    assert "xxx" not in str(refused.value)
    monkeypatch.setenv("LINK_SECRETS", f"{SECRET} , {SHORTEST},")
    assert load_settings().link_secrets == (SECRET, SHORTEST)
