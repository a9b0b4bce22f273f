"""The house is built as its plan says: who imports whom, and what happens where."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.service_process import ROOT

# What each module may import of ours, and nothing else of ours.
MAY_IMPORT = {
    "errors": "",
    "affinity": "",
    "config": "errors",  # a wrong setting is one of our errors
    "db": "config drivers errors",
    "drivers": "config",
    "queries": "db",
    "inventory": "db",
    "names": "errors",
    "s3_client": "config errors s3_connections",
    "s3_connections": "config",
    "inspection": "affinity config errors",
    "sweeper": "config db queries s3_client errors",
    "image_store": "config db queries s3_client inspection names sweeper errors",
    "schemas": "queries",
    "verification": "config db errors inventory queries s3_client",
    # Beside the use cases: the records and errors that these give, and settings.
    "routers": "image_store schemas sweeper routers errors config names queries",
    "main": "affinity config db image_store inspection routers s3_client",
}
FILES = {
    **{name: [ROOT / f"{name}.py"] for name in MAY_IMPORT if name != "routers"},
    "routers": sorted((ROOT / "routers").glob("*.py")),
}
EVERY_FILE = [path for paths in FILES.values() for path in paths]
WAITS_FOR_NOTHING = {"health.live"}  # answers in the event loop, also when all threads wait
OURS = set(MAY_IMPORT) | {"scripts"}


def imports(path: Path) -> set[str]:
    """Return the top-level names of all that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            found.add(str(node.module))
    return {name.partition(".")[0] for name in found}


def test_every_module_has_its_place() -> None:
    """Every module at the root of the checkout is in the table."""
    assert {path.stem for path in ROOT.glob("*.py")} == set(MAY_IMPORT) - {"routers"}


@pytest.mark.parametrize("module", MAY_IMPORT)
def test_imports(module: str) -> None:
    """A module imports of ours what the table allows."""
    for path in FILES[module]:
        strangers = imports(path) & OURS - set(MAY_IMPORT[module].split())
        assert not strangers, f"{path.name} imports {strangers}"


def test_layers() -> None:
    """Only `main` and the routers know the web, and only one module each boto3 and drivers."""
    allowed = {
        "fastapi": {"main", "routers"},
        "starlette": {"main", "routers"},
        "fastapi_offline": {"main"},
        "boto3": {"s3_client", "s3_connections"},
        "botocore": {"s3_client", "s3_connections"},
        "urllib3": {"s3_client", "s3_connections"},
        "psycopg2": {"drivers"},
        "PIL": {"inspection"},
        "pydantic": {"config", "schemas"},
    }
    for module, paths in FILES.items():
        known = {name for path in paths for name in imports(path)}
        assert not {name for name in known & set(allowed) if module not in allowed[name]}, module


def handlers() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Return the functions of the routers that answer a route."""
    return [
        (f"{path.stem}.{node.name}", node)
        for path in FILES["routers"]
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any("router." in ast.unparse(decorator) for decorator in node.decorator_list)
    ]


def test_handlers() -> None:
    """A handler is a plain function of ten statements at most, and without `try`."""
    found = handlers()
    assert len(found) >= 8
    for name, node in found:
        assert isinstance(node, ast.FunctionDef) or name in WAITS_FOR_NOTHING, f"{name} is async"
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
    modules = ", ".join(name for name in MAY_IMPORT if name != "routers")
    program = f"""
import gc, socket, sys
made = []
sys.addaudithook(lambda event, _: made.append(event) if event == "socket.connect" else None)
import {modules}, routers.images, routers.health
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
