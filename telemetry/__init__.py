"""Observability: the log, the Prometheus metrics, and what each request took."""

import logging

logger = logging.getLogger("image_api")
