"""How the process logs."""

import logging

from web.middleware.request_id import RequestIdFilter


def log_to_stderr() -> None:
    """Log with request ids, unless whoever runs us has set up logging."""
    logger = logging.getLogger("image_api")
    if logging.getLogger().handlers or logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s [%(request_id)s] %(message)s")
    )
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
