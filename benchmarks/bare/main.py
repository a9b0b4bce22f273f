"""An empty sync endpoint: what uvicorn, FastAPI and one thread hop cost without any service.

Called `main` because it is started by the very command line that starts the service, only with
this folder as `--app-dir`.
"""

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

app = FastAPI()


@app.get("/health/live")
def bare() -> Response:
    """Answer at once."""
    return JSONResponse({"status": "alive"})
