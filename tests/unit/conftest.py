"""Unit tests run without servers, so they get none."""

import pytest


def _refuse() -> None:
    pytest.fail("a test of tests/unit asks for a server; it belongs to another folder")


@pytest.fixture(scope="session")
def object_store() -> None:
    """Fail the test instead of starting an object store."""
    _refuse()


@pytest.fixture(scope="session")
def postgres_url() -> None:
    """Fail the test instead of starting PostgreSQL."""
    _refuse()


@pytest.fixture(scope="session")
def mariadb_url() -> None:
    """Fail the test instead of naming a server."""
    _refuse()


@pytest.fixture(scope="session")
def mysql_url() -> None:
    """Fail the test instead of naming a server."""
    _refuse()
