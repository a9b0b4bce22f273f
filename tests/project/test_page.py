"""The page at `/` stays a client of the public API that one can read."""

from devstack.service_process import ROOT


def test_small() -> None:
    """The page is small enough to read: at most 450 lines, without any foreign address."""
    files = sorted((ROOT / "web" / "page").iterdir())
    texts = [file.read_text() for file in files]
    assert sum(text.count("\n") for text in texts) <= 450
    assert not any("http:" in text or "https:" in text for text in texts)
