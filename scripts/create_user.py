"""Create the user of DB_URL on RDS, for IAM sign-in: `python -m scripts.create_user`.

Changes nothing if the user can already sign in. Otherwise signs in as DB_ADMIN_USER with
DB_ADMIN_PASSWORD, which only this command needs, and creates the user or completes its grants. Run
it at any time, even while the service runs. For DB_IAM_AUTH on RDS for PostgreSQL and MySQL. Exit
status 1 if the database refuses.
"""

import os
from collections.abc import Sequence

from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from config import Settings, load_settings
from db import build_engine
from errors import ConfigurationError
from scripts.command_line import build_parser, failed, run

# From AWS: "Creating a database account using IAM authentication".
STATEMENTS = {
    "postgresql": (
        "CREATE USER {user}",
        "GRANT rds_iam TO {user}",
        "GRANT CREATE, USAGE ON SCHEMA public TO {user}",
    ),
    "mysql": (
        "CREATE USER {user} IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'",
        "GRANT ALL ON {database}.* TO {user}",
    ),
}
# Whether the signed-in user has its grants. On MySQL it cannot open the database without them.
_IS_ABLE = {
    "postgresql": """SELECT has_schema_privilege('public', 'CREATE')
                     AND has_schema_privilege('public', 'USAGE')""",
    "mysql": "SELECT 1",
}
_EXISTS = {
    "postgresql": "SELECT 1 FROM pg_roles WHERE rolname = :name",
    "mysql": "SELECT 1 FROM mysql.user WHERE user = :name",
}


def create_user(settings: Settings, admin: str, password: str) -> str:
    """Create the user of `db_url` unless it exists, grant what it needs, and return what was done.

    Raises ConfigurationError, and SQLAlchemyError if the database refuses.
    """
    url = make_url(settings.db_url)
    if url.get_backend_name() not in STATEMENTS or not (url.username and url.database):
        raise ConfigurationError(
            "Configuration: DB_URL must name a user and a database of RDS for PostgreSQL or MySQL."
        )
    if _is_able(settings, _IS_ABLE[url.get_backend_name()]):
        return f"User {url.username} exists."
    as_admin = url.set(username=admin, password=password).render_as_string(hide_password=False)
    engine = build_engine(settings.model_copy(update={"db_url": as_admin, "db_iam_auth": False}))
    try:
        created = _create(engine, url.username, url.database)
    finally:
        engine.dispose()
    return f"User {url.username} {'created' if created else 'exists'}."


def _is_able(settings: Settings, question: str) -> bool:
    """Return whether the user can sign in and has its grants.

    Since PostgreSQL 16, a user who creates a member of `rds_iam` becomes a permanent member, too,
    and RDS may then refuse its password. So this check does not use the administrator's account.
    """
    engine = build_engine(settings)
    try:
        with engine.connect() as connection:
            return bool(connection.scalar(text(question)))
    except SQLAlchemyError:
        return False
    finally:
        engine.dispose()


def _create(engine: Engine, user: str, database: str) -> bool:
    """Run the statements in one transaction; skip the first one if the user exists."""
    kind, quote = engine.dialect.name, engine.dialect.identifier_preparer.quote
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
        exists = connection.scalar(text(_EXISTS[kind]), {"name": user}) is not None
        for statement in STATEMENTS[kind][exists:]:
            filled = statement.format(user=quote(user), database=quote(database))
            connection.exec_driver_sql(filled)
        connection.commit()
    return not exists


def main(arguments: Sequence[str] | None = None) -> int:
    """Create the user and print what was done; return the exit status."""
    build_parser("create_user", __doc__).parse_args(arguments)
    try:
        print(create_user(load_settings(), *_administrator()))
    except (ConfigurationError, SQLAlchemyError) as exc:
        return failed(exc)
    return 0


def _administrator() -> tuple[str, str]:
    try:
        return os.environ["DB_ADMIN_USER"], os.environ["DB_ADMIN_PASSWORD"]
    except KeyError as exc:
        raise ConfigurationError(f"{exc.args[0]} is missing.") from None


if __name__ == "__main__":
    run(main)
