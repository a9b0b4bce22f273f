"""Writes what documentation repeats of the code: settings, routes, headers and errors.

    python -m tests.tools.reference_pages [--check]

Writes docs/configuration.md, docs/api.md and .env.example from the line `GENERATED` on, and names
the files that it changed. With --check it changes nothing, and exits with 1 if a file is outdated.
"""

# ruff: noqa: T201 - this command prints what it wrote

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import errors
from config import Settings
from errors import ConfigurationError, ServiceError
from main import create_app
from web import openapi

ROOT = Path(__file__).resolve().parents[2]
GENERATED = "From here on, tests/tools/reference_pages.py writes this file."

# Status, meaning and headers of a response
_Row = tuple[str, str, str]

_EXAMPLES = {
    "DB_URL": "postgresql://images:secret@my-db.abc123.eu-central-1.rds.amazonaws.com/images",
    "AWS_REGION": "eu-central-1",
    "AWS_S3_BUCKET": "my-images",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000",
}
# The first setting of each group
_GROUPS = {
    "DB_URL": "Database",
    "AWS_REGION": "Storage",
    "MAX_UPLOAD_BYTES": "Limits",
    "ALLOWED_EXTENSIONS": "Pictures",
    "API_KEYS_FILE": "Access",
    "CACHE_CONTROL": "HTTP",
    "METRICS_FOLDER": "Observability",
    "SWEEP_INTERVAL_SECONDS": "Housekeeping",
}


def defaults() -> dict[str, str]:
    """Return the default of each variable as text, or an empty string without a default."""
    written = {}
    for name, field in Settings.model_fields.items():
        value = "" if field.is_required() or field.default is None else field.default
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        written[name.upper()] = text.lower() if isinstance(value, bool) else text
    return written


def meaning(name: str) -> str:
    """Return the description of a variable on one line."""
    return " ".join(str(Settings.model_fields[name.lower()].description).split())


def configuration() -> Iterator[str]:
    """Yield the generated lines of docs/configuration.md."""
    for name, default in defaults().items():
        if name in _GROUPS:
            yield f"\n## {_GROUPS[name]}\n\n| variable | default | meaning |\n|---|---|---|"
        shown = f" `{default}`" if default else ""
        yield f"| `{name}` |{shown} | {meaning(name)} |"


def env_example() -> Iterator[str]:
    """Yield the generated lines of .env.example."""
    for name, default in defaults().items():
        comment = "" if Settings.model_fields[name.lower()].is_required() else "#"
        yield f"# {meaning(name).replace('`', '')}"
        yield f"{comment}{name}={_EXAMPLES.get(name, default)}"


def api() -> Iterator[str]:
    """Yield the generated lines of docs/api.md: every route, header, status and code."""
    example = Settings(db_url="sqlite:///example.db", aws_region="example", aws_s3_bucket="example")
    routes = [
        (f"{method.upper()} {path}", operation)
        for path, operations in create_app(example).openapi()["paths"].items()
        for method, operation in operations.items()
    ]
    of_images = [set(_statuses(operation)) for route, operation in routes if "/images" in route]
    counts = Counter(row for rows in of_images for row in rows if row[0] >= "300")
    shared = {row for row, count in counts.items() if count > 1}
    common = {row for row, count in counts.items() if count == len(of_images)}
    yield "\nEvery response has `X-Request-ID`, and every error has `Cache-Control`. Several routes"
    yield f"return these statuses; every route of images may return {_listed(common)}:\n"
    yield from _table(shared)
    for route, operation in routes:
        yield from _route(route, operation, shared, common)
    yield from _headers()
    yield from _codes()


def _route(
    route: str, operation: dict[str, Any], shared: set[_Row], common: set[_Row]
) -> Iterator[str]:
    parameters, rows = operation.get("parameters", []), set(_statuses(operation))
    yield f"### `{route}`\n"
    yield " ".join(operation["description"].split()) + "\n"
    lines = [
        f"- `{found['name']}`{_values(found['schema'])}: {found['description']}"
        for found in parameters
        if found["in"] == "query"
    ]
    if headers := [f"`{found['name']}`" for found in parameters if found["in"] == "header"]:
        lines.append(f"- Request headers: {', '.join(headers)}")
    if any("Vary" in response.get("headers", {}) for response in operation["responses"].values()):
        lines.append("- Response header: `Vary`")
    if also := (rows & shared) - common:
        lines.append(f"- Statuses as above: {_listed(also)}")
    yield from [*lines, ""] if lines else []
    yield from _table(rows - shared)


def _listed(rows: set[_Row]) -> str:
    return ", ".join(sorted(status for status, *_ in rows))


def _statuses(operation: dict[str, Any]) -> Iterator[_Row]:
    """Yield status, meaning and headers of each response, without those that are listed once."""
    for status, response in operation["responses"].items():
        elsewhere = {"X-Request-ID", "Vary", *(["Cache-Control"] if status >= "400" else [])}
        names = [f"`{name}`" for name in response.get("headers", {}) if name not in elsewhere]
        yield status, response["description"], ", ".join(names)


def _table(rows: set[_Row]) -> Iterator[str]:
    yield "| status | meaning | headers |\n|---|---|---|"
    yield from ("| " + " | ".join(row) + " |" for row in sorted(rows))
    yield ""


def _values(schema: dict[str, Any]) -> str:
    """Return the values and the default of a parameter, such as ` (1 to 1000, default 100)`."""
    parts = [", ".join(f"`{value}`" for value in schema.get("enum", []))]
    if "maximum" in schema:
        parts.append(f"{schema['minimum']} to {schema['maximum']}")
    if schema.get("default"):
        parts.append(f"default `{schema['default']}`")
    text = ", ".join(filter(None, parts))
    return f" ({text})" if text else ""


def _headers() -> Iterator[str]:
    yield "## Headers\n"
    for title, headers in (("request", openapi.REQUEST_HEADERS), ("response", openapi.HEADERS)):
        yield f"| {title} header | meaning |\n|---|---|"
        yield from (f"| `{name}` | {text} |" for name, text in headers.items())
        yield ""


def _codes() -> Iterator[str]:
    yield "## Codes\n"
    yield "| status | code | title | `Retry-After` |\n|---|---|---|---|"
    rows = {
        (404, "not_found", "Not Found", ""),
        (405, "method_not_allowed", "Method Not Allowed", ""),
    }
    for kind in vars(errors).values():
        if not isinstance(kind, type) or not issubclass(kind, ServiceError):
            continue
        if "code" in vars(kind) and kind is not ConfigurationError:
            again = f"{kind.retry_after} s" if kind.retry_after else ""
            rows.add((kind.status, kind.code, kind.title, again))
    for status, code, title, again in sorted(rows):
        yield f"| {status} | `{code}` | {title} | {again} |"


def pages() -> dict[Path, str]:
    """Return the files and what they must contain."""
    generated = {
        ROOT / "docs" / "configuration.md": (f"<!-- {GENERATED} -->", configuration()),
        ROOT / "docs" / "api.md": (f"<!-- {GENERATED} -->", api()),
        ROOT / ".env.example": (f"# {GENERATED}", env_example()),
    }
    return {
        path: "\n".join([path.read_text().partition(mark)[0] + mark, *lines]) + "\n"
        for path, (mark, lines) in generated.items()
    }


if __name__ == "__main__":
    outdated = {page: text for page, text in pages().items() if page.read_text() != text}
    for page, text in outdated.items():
        print(page.relative_to(ROOT))
        if "--check" not in sys.argv[1:]:
            page.write_text(text)
    sys.exit("--check" in sys.argv[1:] and bool(outdated))
