"""The configuration: every environment variable, its default and its meaning."""

from config.api_keys import ApiKey
from config.database_url import normalise_db_url
from config.environment import load_settings
from config.settings import KNOWN_EXTENSIONS, Settings
from config.variants import FORMATS, VariantSpec

__all__ = [
    "FORMATS",
    "KNOWN_EXTENSIONS",
    "ApiKey",
    "Settings",
    "VariantSpec",
    "load_settings",
    "normalise_db_url",
]
