"""Database URLs that the service could open but not use."""

import pytest

from adapters.engines import build_engine
from config import Settings
from errors import ConfigurationError


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
@pytest.mark.parametrize("charset", ["utf8", "utf8mb3", "UTF8", "latin1", "binary"])
def test_charset_of_mysql(scheme: str, charset: str) -> None:
    """A character set in the URL that cannot represent every name is refused in one sentence."""
    url = f"{scheme}://root:hunter2@host/images?charset={charset}"
    with pytest.raises(ConfigurationError) as refused:
        build_engine(Settings(db_url=url, aws_region="r", aws_s3_bucket="images"))
    sentence = str(refused.value)
    assert sentence.startswith("Configuration: DB_URL cannot be used: ")
    assert "utf8mb4" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    "query",
    [
        "port=9",
        "compress=1",
        "conv=x",
        "cursorclass=x",
        "auth_plugin_map=x",
        "defer_connect=1",
        "a=b",
    ],
)
def test_useless_option_of_mysql(query: str) -> None:
    """An option that PyMySQL cannot take from a URL is refused in one sentence."""
    url = f"mysql://root:hunter2@host/images?{query}"
    with pytest.raises(ConfigurationError) as refused:
        build_engine(Settings(db_url=url, aws_region="r", aws_s3_bucket="images"))
    sentence = str(refused.value)
    assert sentence.startswith("Configuration: DB_URL cannot be used: ")
    assert query.partition("=")[0] in sentence
    assert "hunter2" not in sentence
