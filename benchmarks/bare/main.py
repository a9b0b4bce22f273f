"""An empty sync endpoint: the cost of uvicorn, FastAPI and one thread hop.

The module is called `main` so that the service's own command line starts it, with this folder as
`--app-dir`.
"""

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

app = FastAPI()


@app.get("/health/live")
def bare() -> Response:
    """Return a constant response."""
    return JSONResponse({"status": "alive"})
