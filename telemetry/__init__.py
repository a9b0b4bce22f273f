"""Observability: the log, the Prometheus metrics, and the waits of each request."""

import logging

logger = logging.getLogger("image_api")
