"""The code keeps to its layers: allowed imports, short handlers, files and functions."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.service_process import ROOT

# The layers that each layer may import. A layer is a folder, or a module of the root.
MAY_IMPORT = {
    "main": "routers runtime web telemetry config",
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
    "scripts": "resources runtime web services repositories s3_client db config errors",
    "devstack": "scripts config errors",
}
# `web` may import records and rules of names and tags from `services`, but no use cases.
WEB_MAY_USE = {
    "services.image_store": {"HashedBytes", "ImageRecord", "Precondition", "Uploader"},
    "services.variant_formats": {"VariantChoice"},
    "services.variant_store": {"MissingVariant", "Variant"},
    "services.names": {"normalise_name", "normalise_prefix", "split_extension"},
    "services.tags": {"image_tag", "variant_tag"},
}
DEPLOYED = {
    layer: sorted((ROOT / layer).rglob("*.py")) or [ROOT / f"{layer}.py"]
    for layer in MAY_IMPORT
    if layer != "devstack"
}
EVERY_FILE = [path for paths in DEPLOYED.values() for path in paths]
# These answer while all threads are busy, or wait without occupying a thread.
ASYNC_HANDLERS = {
    "health.live",
    "health.ready",
    "metrics.metrics",
}
OURS = set(MAY_IMPORT) | {"tests", "benchmarks"}


def imports(path: Path) -> set[str]:
    """Return the top-level names of all imports in a file, including those inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            found.add(str(node.module))
    return {name.partition(".")[0] for name in found}


def test_every_layer_is_in_the_table() -> None:
    """The table has every module and package at the root of the checkout."""
    modules = {path.stem for path in ROOT.glob("*.py")}
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert modules | folders == OURS


def test_layers_are_ordered() -> None:
    """The table has no circle: a layer imports only layers below it."""
    left = {layer: set(allowed.split()) for layer, allowed in MAY_IMPORT.items()}
    while left:
        lowest = {layer for layer, allowed in left.items() if not allowed & set(left)}
        assert lowest, f"a circle among {set(left)}"
        left = {layer: allowed for layer, allowed in left.items() if layer not in lowest}


def module_name(path: Path) -> str:
    """Return a file's module name; that of a package ends in `__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported_modules(path: Path, modules: set[str]) -> set[str]:
    """Return which of `modules` a file imports, including inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & modules
            found |= submodules or {str(node.module)}
    return {name if name in modules else f"{name}.__init__" for name in found} & modules


def siblings(importer: str, imported: str) -> tuple[str, str]:
    """Return importer and imported as siblings: their ancestors in the innermost shared folder."""
    ours, theirs = importer.split("."), imported.split(".")
    shared = next(
        i for i, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other
    )
    return ".".join(ours[: shared + 1]), ".".join(theirs[: shared + 1])


def test_no_import_circle() -> None:
    """No modules or folders of one folder import each other, directly or indirectly."""
    modules = {module_name(path): path for path in EVERY_FILE}
    left = {
        siblings(module, imported)
        for module, path in modules.items()
        for imported in imported_modules(path, set(modules))
    }
    # An import is in no circle if its target imports nothing or nothing imports its importer.
    while open_ended := {
        (importer, imported)
        for importer, imported in left
        if imported not in {one for one, _ in left} or importer not in {other for _, other in left}
    }:
        left -= open_ended
    assert not left


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_imports(layer: str) -> None:
    """A layer imports only the layers that the table allows."""
    for path in DEPLOYED.get(layer, (ROOT / layer).glob("*.py")):
        forbidden = imports(path) & OURS - {layer} - set(MAY_IMPORT[layer].split())
        assert not forbidden, f"{path.name} imports {forbidden}"


def test_web_uses_records_only() -> None:
    """`web` imports records, files and rules of names and tags from `services`, but no use case."""
    for path in DEPLOYED["web"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("services"):
                names = {alias.name for alias in node.names}
                assert names <= WEB_MAY_USE.get(str(node.module), set()), path.name


def test_packages() -> None:
    """Third-party packages are imported only in the layers that they belong to."""
    allowed = {
        "fastapi": {"main", "routers", "web"},
        "starlette": {"main", "routers", "web", "runtime"},
        "fastapi_offline": {"main"},
        "boto3": {"s3_client", "adapters"},
        "botocore": {"s3_client", "adapters", "scripts"},
        "obstore": {"s3_client", "adapters"},
        "urllib3": {"scripts"},
        "psycopg2": {"adapters"},
        "pymysql": {"adapters"},
        "PIL": {"imaging"},
        "pydantic": {"config", "schemas"},
        "prometheus_client": {"telemetry"},
        "opentelemetry": {"telemetry"},
    }
    for layer, paths in DEPLOYED.items():
        imported = {name for path in paths for name in imports(path)}
        assert not {name for name in imported & set(allowed) if layer not in allowed[name]}, layer


def test_decoders_are_light() -> None:
    """A decoder process, of which there are up to four, loads no unused parts of the service."""
    loaded = "import sys, imaging.decoding.worker; print(*sys.modules)"
    command = [sys.executable, "-c", loaded]
    modules = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"config", "pydantic", "sqlalchemy", "asyncio"} & set(modules.split())


def handlers() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Return the handlers of all routes."""
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


def test_routers_are_included() -> None:
    """The application includes every router by FastAPI's own means, and changes no route list."""
    source = (ROOT / "main.py").read_text()
    assert "include_router" in source
    assert "router.routes" not in source


def test_sessions_are_dependencies() -> None:
    """Every handler of images, variants and links takes its session as a dependency."""
    for name, node in handlers():
        takes = {ast.unparse(arg.annotation) for arg in node.args.args if arg.annotation}
        assert ("SessionDep" in takes) == name.startswith(("images.", "variants.", "links.")), name


def test_handlers() -> None:
    """A handler is a sync function of at most ten statements, without `try`."""
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
    """Importing all modules creates no engine, client or settings, and opens no connection."""
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
