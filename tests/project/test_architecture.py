"""The house is built as its plan says: who imports whom, and what happens where."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.service_process import ROOT

# What each room may import of ours. A room is a folder or a file of the root; those that another
# names stand below it, so that no arrow runs upwards.
MAY_IMPORT = {
    "main": "routers runtime web config",
    "routers": "web services resources telemetry schemas errors",
    "runtime": "resources services web telemetry config errors",
    "web": "services telemetry schemas config errors",
    "resources": "services imaging s3_client db config",
    "services": "repositories s3_client imaging db telemetry config errors",
    "imaging": "errors",
    "repositories": "db errors",
    "db": "adapters telemetry config errors",
    "s3_client": "adapters telemetry config errors",
    "adapters": "telemetry config errors",
    "telemetry": "errors",
    "config": "errors",
    "schemas": "",
    "errors": "",
    "scripts": "resources services repositories s3_client db config errors",
    "devstack": "scripts config errors",
}
# In `web`, names of `services` that are no records or rules of names would be use cases.
WEB_MAY_USE = {
    "services.image_store": {"ImageRecord", "Order", "Precondition"},
    "services.variant_store": {"MissingVariant", "Variant", "VariantChoice"},
    "services.names": {"normalise_prefix", "split_extension"},
}
DEPLOYED = {
    room: sorted((ROOT / room).rglob("*.py")) or [ROOT / f"{room}.py"]
    for room in MAY_IMPORT
    if room != "devstack"
}
EVERY_FILE = [path for paths in DEPLOYED.values() for path in paths]
# Answer while all threads wait, or wait themselves without keeping a thread.
ASYNC_HANDLERS = {"health.live", "health.ready", "metrics.metrics"}
# Modules and folders that still import each other.
KNOWN_CIRCLES = {
    ("web.middleware", "web.problem_details"),
    ("web.problem_details", "web.middleware"),
}
OURS = set(MAY_IMPORT) | {"tests", "benchmarks"}


def imports(path: Path) -> set[str]:
    """Return the rooms and packages of all that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            found.add(str(node.module))
    return {name.partition(".")[0] for name in found}


def test_every_room_is_in_the_table() -> None:
    """Every module and folder of Python at the root of the checkout is in the table."""
    modules = {path.stem for path in ROOT.glob("*.py")}
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert modules | folders == OURS


def test_no_arrow_runs_upwards() -> None:
    """The table itself has no circle: what a room may import stands below it."""
    below = {room: set(allowed.split()) for room, allowed in MAY_IMPORT.items()}
    while below:
        ground = {room for room, allowed in below.items() if not allowed & set(below)}
        assert ground, f"a circle among {set(below)}"
        below = {room: allowed for room, allowed in below.items() if room not in ground}


def module_name(path: Path) -> str:
    """Return under which name a file is imported; a folder's own file ends in `__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported_modules(path: Path, modules: set[str]) -> set[str]:
    """Return which of `modules` a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found |= submodules or {str(node.module)}
    return {name if name in modules else f"{name}.__init__" for name in found} & modules


def siblings(importer: str, imported: str) -> tuple[str, str]:
    """Return what an import joins in the innermost folder that has both: modules or folders."""
    ours, theirs = importer.split("."), imported.split(".")
    shared = next(
        i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other
    )
    return ".".join(ours[: shared + 1]), ".".join(theirs[: shared + 1])


def test_no_import_circle() -> None:
    """No modules or folders of one folder import each other, directly or through others."""
    modules = {module_name(path): path for path in EVERY_FILE}
    left = {
        siblings(module, imported)
        for module, path in modules.items()
        for imported in imported_modules(path, set(modules))
    }
    # An import whose target imports nothing, or whose importer nobody imports, is in no circle.
    while open_ended := {
        (importer, imported)
        for importer, imported in left
        if imported not in {one for one, _ in left} or importer not in {other for _, other in left}
    }:
        left -= open_ended
    assert left == KNOWN_CIRCLES


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports(room: str) -> None:
    """A room imports of ours what the table allows."""
    for path in DEPLOYED.get(room, (ROOT / room).glob("*.py")):
        strangers = imports(path) & OURS - {room} - set(MAY_IMPORT[room].split())
        assert not strangers, f"{path.name} imports {strangers}"


def test_the_page_says_the_same() -> None:
    """docs/architecture.md has the table, as far as it is about what is deployed."""
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## Who may import whom")[2]
    told = {
        room: set(re.findall("`(\\w+)`", allowed))
        for rooms, allowed in re.findall("^\\| (`.*?) \\| (.*) \\|$", page, re.MULTILINE)
        for room in re.findall("`(\\w+)`", rooms)
    }
    held = {room: set(allowed.split()) for room, allowed in MAY_IMPORT.items() if allowed}
    assert told == {room: allowed for room, allowed in held.items() if room in DEPLOYED}


def test_web_uses_records_only() -> None:
    """`web` takes records and rules of names from the services, never a use case."""
    for path in DEPLOYED["web"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("services"):
                names = {alias.name for alias in node.names}
                assert names <= WEB_MAY_USE.get(str(node.module), set()), path.name


def test_packages() -> None:
    """Only the rooms of HTTP know the web, and one room each knows boto3, drivers and Pillow."""
    allowed = {
        "fastapi": {"main", "routers", "web"},
        "starlette": {"main", "routers", "web", "runtime"},
        "fastapi_offline": {"main"},
        "boto3": {"s3_client", "adapters"},
        "botocore": {"s3_client", "adapters"},
        "urllib3": {"s3_client", "adapters", "scripts"},
        "psycopg2": {"adapters"},
        "pymysql": {"adapters"},
        "PIL": {"imaging"},
        "pydantic": {"config", "schemas"},
        "prometheus_client": {"telemetry"},
        "opentelemetry": {"runtime"},
    }
    for room, paths in DEPLOYED.items():
        known = {name for path in paths for name in imports(path)}
        assert not {name for name in known & set(allowed) if room not in allowed[name]}, room


def test_decoders_are_light() -> None:
    """A decoder process loads nothing of the service that it does not use: there are up to four."""
    loaded = "import sys, imaging.decoding.worker; print(*sys.modules)"
    command = [sys.executable, "-c", loaded]
    modules = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"config", "pydantic", "sqlalchemy", "asyncio"} & set(modules.split())


def handlers() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Return the functions of the routers that answer a route."""
    return [
        (f"{path.stem}.{node.name}", node)
        for path in DEPLOYED["routers"]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (
            any("router." in ast.unparse(decorator) for decorator in node.decorator_list)
            or f", {node.name}, route_class_override" in " ".join(path.read_text().split())
        )
    ]


def test_handlers() -> None:
    """A handler is a plain function of ten statements at most, and without `try`."""
    found = handlers()
    assert len(found) >= 8
    for name, node in found:
        assert isinstance(node, ast.FunctionDef) or name in ASYNC_HANDLERS, f"{name} is async"
        body = node.body[1:]
        assert ast.get_docstring(node), f"{name} has no docstring"
        statements = [inner for inner in ast.walk(node) if isinstance(inner, ast.stmt)]
        assert not [inner for inner in statements if isinstance(inner, ast.Try)], name
        assert len(body) <= 10, f"{name} has {len(body)} statements"


def test_files_are_short() -> None:
    """No file has 300 lines or more."""
    lengths = {path.name: path.read_text().count("\n") for path in EVERY_FILE}
    assert not {name: lines for name, lines in lengths.items() if lines >= 300}


def test_functions_are_short() -> None:
    """No function has more than 40 lines."""
    for path in EVERY_FILE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno
                length = node.end_lineno - node.lineno + 1
                assert length <= 40, f"{path.name}: {node.name} has {length} lines"


def test_nothing_is_built_at_import() -> None:
    """Importing everything makes no engine, client or settings, and opens no connection."""
    modules = ", ".join(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in EVERY_FILE
        if path.stem not in {"__init__", "__main__"}
    )
    program = f"""
import gc, socket, sys
made = []
sys.addaudithook(lambda event, _: made.append(event) if event == "socket.connect" else None)
import {modules}
from botocore.client import BaseClient
from sqlalchemy import Engine
from config import Settings
kinds = (BaseClient, Engine, Settings)
print(made, [thing for thing in gc.get_objects() if isinstance(thing, kinds)])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[] []\n"
