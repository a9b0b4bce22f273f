"""The configuration: every environment variable, its default and its meaning."""

from config.api_keys import ApiKey
from config.database_url import normalise_db_url
from config.environment import load_settings
from config.formats import FORMATS, VARIANT_MEDIA_TYPES
from config.settings import Settings
from config.variants import VariantSpec

__all__ = [
    "FORMATS",
    "VARIANT_MEDIA_TYPES",
    "ApiKey",
    "Settings",
    "VariantSpec",
    "load_settings",
    "normalise_db_url",
]
