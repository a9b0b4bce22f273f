"""The service reads its settings from the environment or `.env`, and names wrong ones."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from sqlalchemy import make_url

from config import Settings, load_settings, normalise_db_url
from db import build_engine
from devstack.service_process import ROOT, ServiceProcess
from devstack.waiting import free_port
from errors import ConfigurationError
from tests.support import pictures
from tests.support.uploads import on_sqlite, upload

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


def environment(folder: Path, changes: dict[str, str | None]) -> dict[str, str]:
    """Return this process's environment with the given settings and no others."""
    names = {field.upper() for field in Settings.model_fields}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("AWS_") and name not in names
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return {**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), **given}


def run(folder: Path, changes: dict[str, str | None], *command: str) -> tuple[int, str, str]:
    """Run Python in an empty folder; return exit status, output and errors."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment(folder, changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


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


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (dict.fromkeys(MINIMAL), ["DB_URL", "AWS_REGION", "AWS_S3_BUCKET"]),
        ({"MAX_PIXELS": "many", "AWS_REGION": None}, ["AWS_REGION", "MAX_PIXELS"]),
        ({"DB_URL": "postgresql+asyncpg://user:hunter2@host/images"}, ["DB_URL"]),
    ],
)
def test_refused_start(tmp_path: Path, changes: dict[str, str | None], named: list[str]) -> None:
    """The server names all invalid variables in one sentence and exits without a traceback."""
    address = ("--host", "127.0.0.1", "--port", str(free_port()))
    arguments = ("-m", "uvicorn", "main:app", *address)
    status, output, errors = run(tmp_path, {**MINIMAL, **changes}, *arguments)
    assert status != 0
    assert "Traceback" not in errors
    assert "hunter2" not in output + errors
    (sentence,) = (line for line in errors.splitlines() if "Configuration:" in line)
    assert [name for name in [*MINIMAL, "MAX_PIXELS"] if name in sentence] == named


def test_empty_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty variable counts as unset, except VARIANTS, which then offers none."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        if not name.startswith("api_keys"):
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


def test_import_without_environment(tmp_path: Path) -> None:
    """Importing `main` needs no variable, and its `app` is the application."""
    program = "import main, fastapi; print(isinstance(main.app, fastapi.FastAPI), main.app.title)"
    assert run(tmp_path, {}, "-W", "error", "-c", program) == (0, "True Image API\n", "")
    assert not list(tmp_path.iterdir())


def test_import_reads_nothing(tmp_path: Path) -> None:
    """Importing `main` reads no settings, so invalid ones fail only when the server starts."""
    (tmp_path / ".env").write_text("MAX_PIXELS=many\n")
    wrong: dict[str, str | None] = {"DB_URL": "nonsense"}
    assert run(tmp_path, wrong, "-c", "import main") == (0, "", "")


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://user@host/images", "postgresql+psycopg2"),
        ("postgresql://user@host/images", "postgresql+psycopg2"),
        ("postgresql+psycopg2://user@host/images", "postgresql+psycopg2"),
        ("mysql://user@host/images", "mysql+pymysql"),
        ("mysql+pymysql://user@host/images", "mysql+pymysql"),
        ("mariadb://user@host/images", "mariadb+pymysql"),
        ("mariadb+pymysql://user@host/images", "mariadb+pymysql"),
        ("sqlite:////srv/images.db", "sqlite"),
    ],
)
def test_driver(url: str, driver: str) -> None:
    """A URL without a driver gets the installed one and keeps everything else."""
    secret = "p%40ss%3Aword%2F%25"
    argument = "application_name=b" if url.startswith("postgres") else "charset=utf8mb4"
    rich = url.replace("user@host/images", f"user:{secret}@host/images?{argument}")
    for given in {url, rich}:
        expected = make_url(given).set(drivername=driver)
        assert normalise_db_url(given) == expected
        settings = Settings(db_url=given, aws_region="r", aws_s3_bucket="images")
        assert make_url(settings.db_url) == expected
        engine = build_engine(settings)
        assert engine.url == expected
        engine.dispose()


class WithEnvFile(ServiceProcess):
    """A service that reads variables from a file `.env` in its working directory."""

    def __init__(self, in_file: dict[str, str], environment: dict[str, str]) -> None:
        super().__init__(environment)
        self._lines = [f"{name}={json.dumps(value)}" for name, value in in_file.items()]

    def start(self, *, timeout: float = 30) -> None:
        """Write the file, then start the service."""
        (self._folder / ".env").write_text("\n".join(["# Ours", *self._lines, ""]))
        super().start(timeout=timeout)


@on_sqlite
def test_env_file(service_environment: dict[str, str]) -> None:
    """`.env` sets everything, including boto3's credentials; the environment overrides it."""
    in_file = {**service_environment, "MAX_UPLOAD_BYTES": "1", "ALLOWED_EXTENSIONS": "png, JPG"}
    with (
        WithEnvFile(in_file, {"MAX_UPLOAD_BYTES": "100000"}) as service,
        httpx.Client(base_url=service.base_url) as client,
    ):
        assert client.get("/health/ready").json()["checks"] == {"database": "ok", "bucket": "ok"}
        assert upload(client, pictures.png(), "a.png").status_code == 201
        assert upload(client, pictures.jpeg(), "a.jpg").status_code == 200
        assert upload(client, pictures.gif(), "a.gif").status_code == 400
        assert upload(client, bytes(100_001), "a.png").status_code == 413
        assert client.get("/images/a").content == pictures.jpeg()
