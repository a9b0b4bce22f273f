"""`python -m scripts.create_user` creates the service's user on RDS, for sign-in with IAM."""

import re
import secrets
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from config import Settings
from devstack.databases import connection, fresh_database
from devstack.postgresql import postgres
from devstack.service_process import ROOT
from scripts import create_tables, create_user

# What RDS has and PostgreSQL does not: the role whose members sign in with IAM.
_RDS = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN CREATE ROLE rds_iam; END IF;
END $$
"""
_AS_ON_RDS = (
    "CREATE ROLE rds_iam",
    "CREATE USER dbadmin CREATEROLE",
    "GRANT rds_iam TO dbadmin WITH ADMIN OPTION",
    "CREATE DATABASE images OWNER dbadmin",
)


@pytest.fixture
def lacking_user(postgres_url: str) -> Iterator[Settings]:
    """Return settings whose database is empty and whose user does not exist yet."""
    user = f"images-{secrets.token_hex(4)}"
    with fresh_database(postgres_url) as url:
        with connection(url) as db:
            db.exec_driver_sql(_RDS)
        named = make_url(url).set(username=user).render_as_string(hide_password=False)
        yield Settings(db_url=named, aws_region="none", aws_s3_bucket="none")
        with connection(url) as db:
            db.exec_driver_sql(f'DROP OWNED BY "{user}" CASCADE')
            db.exec_driver_sql(f'DROP USER "{user}"')


@pytest.fixture
def admin(postgres_url: str) -> str:
    """Return the user that may create others."""
    return make_url(postgres_url).username or ""


def test_user_is_able(lacking_user: Settings, admin: str) -> None:
    """The new user may sign in with IAM and creates the tables; a second run needs no admin."""
    user = make_url(lacking_user.db_url).username
    assert create_user.create_user(lacking_user, admin, "") == f"User {user} created."
    assert create_user.create_user(lacking_user, "locked-out", "") == f"User {user} exists."
    admins = make_url(lacking_user.db_url).set(username=admin).render_as_string(hide_password=False)
    with connection(admins) as db:
        member = f"SELECT pg_has_role('{user}', 'rds_iam', 'member')"
        assert db.exec_driver_sql(member).scalar_one()
    assert create_tables.create_tables(lacking_user)


def test_grants_are_completed(lacking_user: Settings, admin: str) -> None:
    """A user that can sign in but not create tables gets the missing grants."""
    url = make_url(lacking_user.db_url)
    admins = url.set(username=admin).render_as_string(hide_password=False)
    with connection(admins) as db:
        db.exec_driver_sql(f'CREATE USER "{url.username}"')
    assert create_user.create_user(lacking_user, admin, "") == f"User {url.username} exists."
    assert create_tables.create_tables(lacking_user)


def test_creator_becomes_a_member() -> None:
    """On PostgreSQL 18 the administrator becomes a member of the user; a second run needs none."""
    with postgres() as url:
        admins = make_url(url).set(username="dbadmin", database="images")
        with connection(url) as db:
            for statement in _AS_ON_RDS:
                db.exec_driver_sql(statement)
        named = admins.set(username="images").render_as_string(hide_password=False)
        settings = Settings(db_url=named, aws_region="none", aws_s3_bucket="none")
        assert create_user.create_user(settings, "dbadmin", "") == "User images created."
        with connection(admins.render_as_string(hide_password=False)) as db:
            assert db.exec_driver_sql("SELECT pg_has_role('images', 'member')").scalar_one()
        assert create_user.create_user(settings, "locked-out", "") == "User images exists."


@pytest.mark.parametrize("server", ["mysql_url", "mariadb_url"])
def test_user_exists_on_mysql(server: str, request: pytest.FixtureRequest) -> None:
    """On MySQL an existing user gets its grants; only RDS has the plugin that a new one needs."""
    user = f"images_{secrets.token_hex(4)}"
    with fresh_database(request.getfixturevalue(server)) as url, connection(url) as db:
        admin = make_url(url).username or ""
        named = make_url(url).set(username=user).render_as_string(hide_password=False)
        settings = Settings(db_url=named, aws_region="none", aws_s3_bucket="none")
        with pytest.raises(DBAPIError, match="AWSAuthenticationPlugin"):
            create_user.create_user(settings, admin, "")
        db.exec_driver_sql(f"CREATE USER {user}")
        try:
            assert create_user.create_user(settings, admin, "") == f"User {user} exists."
            granted = db.exec_driver_sql(f"SHOW GRANTS FOR {user}").scalars().all()
            assert any(f"ALL PRIVILEGES ON `{make_url(url).database}`" in one for one in granted)
        finally:
            db.exec_driver_sql(f"DROP USER {user}")


def test_command(
    lacking_user: Settings,
    admin: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The command reads the administrator from the environment, and names what is missing."""
    monkeypatch.setattr(create_user, "load_settings", lambda: lacking_user)
    monkeypatch.setenv("DB_ADMIN_USER", "nobody-of-this-name")
    assert create_user.main([]) == 1
    assert capsys.readouterr().err == "DB_ADMIN_PASSWORD is missing.\n"
    monkeypatch.setenv("DB_ADMIN_PASSWORD", "secret")
    assert create_user.main([]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("The database refused: ")
    assert "secret" not in errors
    monkeypatch.setenv("DB_ADMIN_USER", admin)
    assert create_user.main([]) == 0
    assert "created" in capsys.readouterr().out


def test_statements_of_the_page() -> None:
    """docs/operations.md gives the same statements to whoever creates the user by hand."""
    page = re.sub(r"\s+", " ", (ROOT / "docs" / "operations.md").read_text())
    for statements in create_user.STATEMENTS.values():
        for statement in statements:
            assert statement.format(user="images", database="images") in page
