"""deploy/aws.yaml with its functions resolved for given parameters, as far as that needs no AWS."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import yaml  # type: ignore[import-untyped]

from config import Settings
from devstack.service_process import ROOT

FILE = ROOT / "deploy" / "aws.yaml"
REQUIRED = {
    "ImageUri": "111122223333.dkr.ecr.eu-central-1.amazonaws.com/image-api:0.2.0",
    "DomainName": "images.example.com",
    "CertificateArn": "arn:aws:acm:us-east-1:111122223333:certificate/one",
    "OriginCertificateArn": "arn:aws:acm:eu-central-1:111122223333:certificate/two",
    "CloudFrontPrefixListId": "pl-a3a144ac",
    "ApiKeys": f"backend:write:{'0' * 64}",
}
"""Values for the parameters that have no default"""
LINK_SECRET = "0123456789abcdef" * 4
"""What Secrets Manager may generate"""
_PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::StackName": "images",
}
_NOTHING = object()


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads `!Name value` as `{"Fn::Name": value}`."""


def _function(loader: Any, suffix: str, node: Any) -> dict[str, Any]:
    kinds: dict[type, Callable[..., Any]] = {
        yaml.ScalarNode: loader.construct_scalar,
        yaml.SequenceNode: lambda node: loader.construct_sequence(node, deep=True),
        yaml.MappingNode: lambda node: loader.construct_mapping(node, deep=True),
    }
    value = kinds[type(node)](node)
    if suffix == "GetAtt":
        value = value.split(".", 1)
    return {"Ref" if suffix == "Ref" else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


@cache
def source() -> dict[str, Any]:
    """Return the template as it is written."""
    document: dict[str, Any] = yaml.load(FILE.read_text(), _Loader)  # noqa: S506 - a SafeLoader
    return document


class Stack:
    """The resources that the template makes of some parameters.

    What only AWS knows stays a placeholder: `${Database.Endpoint.Address}`.
    """

    def __init__(self, **parameters: str) -> None:
        declared = source()["Parameters"]
        defaults = {name: one["Default"] for name, one in declared.items() if "Default" in one}
        self._values = {**_PSEUDO, **defaults, **REQUIRED, **parameters}
        self._conditions = source()["Conditions"]
        self.resources: dict[str, dict[str, Any]] = {
            name: {key: self._resolve(value) for key, value in resource.items()}
            for name, resource in source()["Resources"].items()
            if "Condition" not in resource or self._holds(resource["Condition"])
        }

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Return the properties of a resource."""
        properties: dict[str, Any] = self.resources[name]["Properties"]
        return properties

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the properties of all resources of a type such as `AWS::SNS::Topic`."""
        found = {name: one for name, one in self.resources.items() if one["Type"] == kind}
        return {name: one.get("Properties", {}) for name, one in found.items()}

    def containers(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the containers of all task definitions, by task and name."""
        return {
            (task, one["Name"]): one
            for task, definition in self.of_type("AWS::ECS::TaskDefinition").items()
            for one in definition["ContainerDefinitions"]
        }

    def container(self, task: str, name: str) -> dict[str, Any]:
        """Return a container of a task definition."""
        return self.containers()[task, name]

    def _holds(self, condition: str) -> bool:
        return bool(self._resolve(self._conditions[condition]))

    def _resolve(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for value in map(self._resolve, node) if value is not _NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1 and (name := next(iter(node))) in _FUNCTIONS:
            return _FUNCTIONS[name](self, node[name])
        resolved = {key: self._resolve(value) for key, value in node.items()}
        return {key: value for key, value in resolved.items() if value is not _NOTHING}

    def _ref(self, name: str) -> Any:
        return _NOTHING if name == "AWS::NoValue" else self._values.get(name, f"${{{name}}}")

    def _if(self, argument: Any) -> Any:
        return self._resolve(argument[1 if self._holds(argument[0]) else 2])

    def _sub(self, argument: Any) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else argument
        values: Mapping[str, Any] = self._values | self._resolve(given)
        return re.sub(r"\$\{([\w:.]+)\}", lambda match: str(values.get(match[1], match[0])), text)

    def _find_in_map(self, argument: Any) -> Any:
        name, first, second = self._resolve(argument)
        return source()["Mappings"][name][first][second]

    def _condition_of(self, argument: Any) -> list[bool]:
        return [bool(self._resolve(one)) for one in argument]

    def _equals(self, argument: Any) -> bool:
        first, second = self._resolve(argument)
        return bool(first == second)


_FUNCTIONS: dict[str, Callable[[Stack, Any], Any]] = {
    "Ref": Stack._ref,
    "Fn::GetAtt": lambda _, names: f"${{{'.'.join(names)}}}",
    "Fn::If": Stack._if,
    "Fn::Sub": Stack._sub,
    "Fn::FindInMap": Stack._find_in_map,
    "Fn::Equals": Stack._equals,
    "Fn::Not": lambda stack, argument: not stack._condition_of(argument)[0],
    "Fn::Or": lambda stack, argument: any(stack._condition_of(argument)),
    "Fn::Join": lambda stack, argument: argument[0].join(stack._resolve(argument[1])),
    "Fn::Split": lambda stack, argument: stack._resolve(argument[1]).split(argument[0]),
    "Fn::Select": lambda _, argument: f"${{Select {argument[0]}}}",
}


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of a container, without those that come from secrets."""
    return {one["Name"]: str(one["Value"]) for one in container["Environment"]}


def secrets(container: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables of a container that come from secrets, with their places."""
    return {one["Name"]: one["ValueFrom"] for one in container.get("Secrets", ())}


def settings_of(container: Mapping[str, Any]) -> Settings:
    """Return the settings that a container starts with, in its own environment alone."""
    kept = {"API_KEYS": REQUIRED["ApiKeys"], "LINK_SECRETS": LINK_SECRET}
    variables = environment(container) | {
        name: value for name, value in kept.items() if name in secrets(container)
    }
    # Names that only AWS knows.
    for place, value in {
        "${Bucket}": "images-bucket",
        "${Database.Endpoint.Address}": "images.abc.eu-central-1.rds.amazonaws.com",
        "${Database.Endpoint.Port}": "5432",
    }.items():
        variables = {name: text.replace(place, value) for name, text in variables.items()}
    return Settings.model_validate({name.lower(): text for name, text in variables.items()})
