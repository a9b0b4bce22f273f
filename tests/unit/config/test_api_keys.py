"""Lines of API keys are read whole, or refused without repeating a secret."""

import hashlib
from pathlib import Path

import pytest

from config.api_keys import SCOPES, ApiKey, parse_keys, read_keys

DIGEST = hashlib.sha256(b"a key").hexdigest()
OTHER = hashlib.sha256(b"another key").hexdigest()


def test_line() -> None:
    """A line is a name, a scope and a digest."""
    for scope in SCOPES:
        key = ApiKey.parse(f"web-1:{scope}:{DIGEST}\n")
        assert (key.name, key.scope, key.sha256) == ("web-1", scope, DIGEST)
    with pytest.raises(ValueError, match="needs the scope read or write for the key web-1"):
        ApiKey.parse(f"web-1:admin:{DIGEST}")


@pytest.mark.parametrize(
    "line",
    [
        f"no spaces:read:{DIGEST}",
        f"{'a' * 65}:read:{DIGEST}",
        f"web:admin:{DIGEST}",
        f"web:read:{DIGEST.upper()}",
        f"web:read:{DIGEST[:-1]}",
        f"web:read:{hashlib.sha256(b'').hexdigest()}",
        "web",
        "",
    ],
)
def test_wrong_line(line: str) -> None:
    """A wrong line is refused, and the message has no digest."""
    with pytest.raises(ValueError, match=r"^(needs|has) ") as refused:
        ApiKey.parse(line)
    assert DIGEST[:-1].lower() not in str(refused.value).lower()


@pytest.mark.parametrize("key", ["the-key-itself", "write:the-key-itself", "the-key-itself:read"])
def test_key_instead_of_line(key: str) -> None:
    """A key in place of its line is refused, and the message does not repeat it."""
    with pytest.raises(ValueError, match="name:scope:sha256") as refused:
        ApiKey.parse(key)
    assert "itself" not in str(refused.value)


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_no_key(text: str) -> None:
    """A variable without a key is refused, because it would leave the service open."""
    with pytest.raises(ValueError, match="has no key"):
        parse_keys(text)


def test_file(tmp_path: Path) -> None:
    """A file has a key on each line, with comments, empty lines and the line ends of any editor."""
    file = tmp_path / "keys"
    file.write_bytes(
        b"\xef\xbb\xbf# ours\r\n" + f"a:read:{DIGEST}\r\n\r\n  # b\nc:write:{OTHER}".encode()
    )
    assert [key.name for key in read_keys(str(file))] == ["a", "c"]


@pytest.mark.parametrize("content", [b"", b"# only a comment", b"\xff\xfe"])
def test_useless_file(tmp_path: Path, content: bytes) -> None:
    """A file that has no key or is not UTF-8 is refused."""
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ValueError, match=r"has no key|cannot be read"):
        read_keys(str(tmp_path / "keys"))
