"""Settings come from the environment, and one sentence names an invalid variable."""

import re
from pathlib import Path

import pytest

from config import Settings, load_settings
from db import build_engine
from errors import ConfigurationError

MINIMAL = {
    "DB_URL": "sqlite:///images.db",
    "AWS_REGION": "us-east-1",
    "AWS_S3_BUCKET": "images",
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
WRONG = [
    ("DB_URL", None),
    ("AWS_REGION", None),
    ("AWS_S3_BUCKET", None),
    ("DB_URL", ""),
    ("DB_URL", "nonsense"),
    ("DB_URL", "oracle://user:hunter2@host/images"),
    ("DB_URL", "postgresql+asyncpg://user:hunter2@host/images"),
    ("DB_URL", "mysql+mysqldb://user:hunter2@host/images"),
    ("AWS_ENDPOINT_URL_S3", "seaweed:8333"),
    ("DB_URL", "postgresql://user:p@word:hunter2@host/images"),
    ("MAX_UPLOAD_BYTES", "50MB"),
    ("MAX_PIXELS", "0"),
    ("CONCURRENCY", "-1"),
    ("ALLOWED_EXTENSIONS", "jpg,svg"),
    ("ALLOWED_EXTENSIONS", ","),
    ("INSPECTION", "none"),
    ("REDIRECTS", "always"),
    ("PUBLIC_READS", "some"),
    ("PUT_HORIZON_SECONDS", "60"),  # not longer than S3_PUT_TIMEOUT_SECONDS
    ("CLIENT_IDLE_SECONDS", "inf"),
    ("SWEEP_INTERVAL_SECONDS", "nan"),
    ("DB_STATEMENT_TIMEOUT_SECONDS", "1e9"),
    ("AWS_S3_BUCKET", "My_Bucket"),
    ("AWS_S3_BUCKET", "192.168.1.1"),
    ("AWS_S3_BUCKET", "double..dot"),
    ("DB_URL", "postgresql://user:hunter2@x@host/images"),
    ("DB_URL", "postgresql://user:hunter2@host/images?no_such_argument=1"),
    ("DB_URL", "mysql://user:hunter2@host/images?no_such_argument=1"),
]


@pytest.mark.parametrize(("variable", "value"), WRONG)
def test_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str | None
) -> None:
    """A missing or invalid variable is reported in one sentence that names only it."""
    monkeypatch.chdir(tmp_path)
    for name, right in MINIMAL.items():
        monkeypatch.setenv(name, right)
    monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as refused:
        build_engine(load_settings())
    sentence = str(refused.value)
    assert re.fullmatch(rf"Configuration: {variable} [^\n]+\.", sentence)
    assert "hunter2" not in sentence
    assert not [name for name in MINIMAL if name in sentence and name != variable]


def test_unreadable_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A `.env` that is not UTF-8 is reported in one sentence that does not repeat its content."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"DB_URL=hunter2\xff")
    with pytest.raises(ConfigurationError, match=r"^Configuration: \.env [^\n]+\.$") as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_empty_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty variable counts as unset, except VARIANTS, which then offers none."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        if not name.startswith(("api_keys", "link_secrets")):
            monkeypatch.setenv(name.upper(), "")
    for name, value in MINIMAL.items():
        monkeypatch.setenv(name, value)
    settings, defaults = load_settings(), Settings.model_fields
    assert settings.variants == ()
    assert [
        name
        for name, field in defaults.items()
        if not field.is_required() and getattr(settings, name) != field.default
    ] == ["variants"]
