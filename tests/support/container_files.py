"""Parsers for the Dockerfile and compose.yaml that follow Docker's own rules."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from devstack.service_process import ROOT

Build = Callable[[str], Path]


class Step(NamedTuple):
    """One instruction of a Dockerfile."""

    name: str
    text: str

    @property
    def command(self) -> list[str]:
        """The command of CMD or HEALTHCHECK, which must use the exec form."""
        command: list[str] = json.loads(self.text[self.text.index("[") :])
        return command


def dockerfile_stages() -> list[list[Step]]:
    """Return the steps of the Dockerfile, grouped by build stage."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    steps = [
        Step(*line.strip().split(maxsplit=1))
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip()
    ]
    stages: list[list[Step]] = []
    for step in steps:
        if step.name == "FROM":
            stages.append([])
        stages[-1].append(step)
    return stages


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """Return compose.yaml with `variables` interpolated, as `docker compose config` prints it."""
    filled: dict[str, Any] = _filled(YAML(typ="safe").load(ROOT / "compose.yaml"), variables)
    for service in filled["services"].values():
        service["environment"] = _resolved(service.get("environment", {}), variables)
    return filled


def _resolved(environment: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Give a variable without a value the one it has in `variables`; without one it is unset."""
    values = {name: variables.get(name) if v is None else v for name, v in environment.items()}
    return {name: value for name, value in values.items() if value is not None}


def _filled(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    return _interpolated(node, variables) if isinstance(node, str) else node


def _interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$$`, `${NAME:-default}` and `${NAME:?}`.

    Raises KeyError if a required variable is missing.
    """

    def value(found: re.Match[str]) -> str:
        name, default = found["name"], found["default"]
        if name is None:
            return "$"
        return variables[name] if default is None else variables.get(name) or default

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?)\}", value, text)
