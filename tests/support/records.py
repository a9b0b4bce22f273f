"""A record of an image and settings, for tests in which nothing is stored."""

from datetime import UTC, datetime

from config import Settings
from services.image_store import ImageRecord

SETTINGS = Settings(db_url="sqlite:///unused.db", aws_region="none", aws_s3_bucket="none")
STORED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
IMAGE = ImageRecord(1, "a", 1000, "png", "image/png", "0" * 64, 4, 3, "a-1.png", STORED, STORED)
