"""The unit of CPU time, an empty sync endpoint: uvicorn, FastAPI and a hand-over to a thread."""

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

app = FastAPI()


@app.get("/health/live")
def bare() -> Response:
    """Return a constant."""
    return JSONResponse({"status": "alive"})
