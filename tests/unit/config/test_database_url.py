"""Database URLs get the driver that the service installs, or are refused."""

import pytest
from sqlalchemy import make_url

from adapters.engines import build_engine
from config import Settings, normalise_db_url


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


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense", "is not a database URL"),
        ("postgresql://u:hunter2@h:port/images", "is not a database URL"),
        ("mongodb://u:hunter2@h/images", "names mongodb"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("postgresql://u:hunter2@x@h/images", "written as %40"),
    ],
)
def test_refused(url: str, reason: str) -> None:
    """A URL that the service cannot use is refused without repeating the password."""
    with pytest.raises(ValueError, match=reason) as refused:
        normalise_db_url(url)
    assert "hunter2" not in str(refused.value)
