"""A database on a private server whose user needs a password and TLS."""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from config import Settings
from devstack.databases import connection, disconnect_others, fresh_database
from tests.support.private_servers import PrivateServer

_CREATE_USER = {
    "postgresql": ["CREATE USER images PASSWORD '{}'", "GRANT ALL ON DATABASE {} TO images"],
    "mysql": ["CREATE USER images IDENTIFIED BY '{}'", "GRANT ALL ON {}.* TO images"],
}
_CHANGE_PASSWORD = {
    "postgresql": "ALTER USER images PASSWORD '{}'",
    "mysql": "ALTER USER images IDENTIFIED BY '{}'",
}


class Database:
    """A database of the user `images`, and the user's password."""

    def __init__(self, server: PrivateServer, url: str) -> None:
        self.server, self.root_url = server, url
        self.kind = make_url(url).get_backend_name()
        self.password = secrets.token_hex(8)
        owned, name = _CREATE_USER[self.kind], make_url(url).database
        server.execute(owned[0].format(self.password), owned[1].format(name))
        if self.kind == "postgresql":
            with connection(url) as db:
                db.exec_driver_sql("GRANT ALL ON SCHEMA public TO images")

    def set_password(self, password: str) -> None:
        """Change the password; the server refuses the old one from now on."""
        self.server.execute(_CHANGE_PASSWORD[self.kind].format(password))
        self.password = password

    def url(
        self,
        ca: Path | None = None,
        host: str = "127.0.0.1",
        query: Mapping[str, str] | None = None,
    ) -> str:
        """Return the URL for `images` that trusts `ca`, by default the server's own CA."""
        ca = ca or self.server.certificates.ca
        if self.kind == "postgresql":
            tls = {"sslmode": "verify-full", "sslrootcert": str(ca)}
        else:
            tls = {"ssl_ca": str(ca)}
        url = make_url(self.root_url).set(username="images", password=self.password, host=host)
        return url.update_query_dict(tls | dict(query or {})).render_as_string(hide_password=False)

    def settings(self, url: str | None = None, **changes: Any) -> Settings:
        """Return the settings of a service that uses this database."""
        return Settings(
            db_url=url or self.url(), aws_region="eu-central-1", aws_s3_bucket="none", **changes
        )


@contextmanager
def secured_database(server: PrivateServer) -> Iterator[Database]:
    """Yield an empty database and drop it afterwards, together with its user."""
    with fresh_database(server.url) as url:
        database = Database(server, url)
        try:
            yield database
        finally:
            disconnect_others(url)
            if database.kind == "postgresql":
                with connection(url) as db:
                    db.exec_driver_sql("DROP OWNED BY images CASCADE")
            server.execute("DROP USER images")
