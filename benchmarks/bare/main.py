"""An empty sync endpoint: the cost of uvicorn, FastAPI and one hand-over to a thread.

The module is called `main` because the command line of the service starts it, with this folder as
`--app-dir`.
"""

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

app = FastAPI()


@app.get("/health/live")
def bare() -> Response:
    """Return a constant."""
    return JSONResponse({"status": "alive"})
