"""deploy/aws.yaml deployed to moto as far as moto goes."""

import json
from ast import literal_eval
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from uuid import uuid4

from boto3.session import Session
from moto.cloudformation.parsing import get_model_map

from tests.support.aws_policy import Call, Permission, permissions, refused
from tests.support.cloudformation import REQUIRED, Stack, source

REGION = "us-east-1"  # in all others moto's `GetAZs` is wrong
DATABASE = "AWS::RDS::DBInstance"  # moto knows it, but not with parameter groups
SECRET = "AWS::SecretsManager::Secret"
ACCOUNT, INSTANCE = "123456789012", "db-ABCDEFGHIJKL"
_SUBNETS = {0: "10.20.0.0/24", 1: "10.20.1.0/24"}


class MotoStack:
    """The stack, and what Fargate reads of it: task definitions, secrets, roles.

    moto cannot create the RDS instance: `database` is the host, the port and the password of the
    administrator of a server in its place. Secrets are created here by their properties.
    """

    def __init__(
        self, url: str, parameters: Mapping[str, str], database: tuple[str, int, str]
    ) -> None:
        self._session, self._url = Session("key", "secret", region_name=REGION), url
        self._name = f"images-{uuid4().hex[:8]}"
        self._source = source()["Resources"]
        certificate = self._client("acm").request_certificate(DomainName=REQUIRED["DomainName"])
        self.parameters = {
            **REQUIRED,
            "OriginCertificateArn": certificate["CertificateArn"],
            **parameters,
        }
        resolved = Stack(**self.parameters)
        secrets = resolved.of_type(SECRET)
        self._known = {name: self._make_secret(one) for name, one in secrets.items()}
        self._known |= self._database(resolved["Database"]["MasterUsername"], *database)
        self._create()

    def _client(self, service: str) -> Any:
        return self._session.client(service, endpoint_url=self._url)  # type: ignore[call-overload]

    def _database(self, admin: str, host: str, port: int, password: str) -> dict[str, str]:
        content = json.dumps({"username": admin, "password": password})
        return {
            "Database.Endpoint.Address": host,
            "Database.Endpoint.Port": str(port),
            "Database.DbiResourceId": INSTANCE,
            "Database.MasterUserSecret.SecretArn": self._make_secret({"SecretString": content}),
        }

    def _make_secret(self, properties: dict[str, Any]) -> str:
        client = self._client("secretsmanager")
        if generated := properties.get("GenerateSecretString"):
            value = client.get_random_password(**generated)["RandomPassword"]
        else:
            value = properties["SecretString"]
        return str(client.create_secret(Name=uuid4().hex, SecretString=value)["ARN"])

    def _create(self) -> None:
        template = self._without(source(), unknown_to_moto() | {DATABASE})
        given = [
            {"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()
        ]
        self._client("cloudformation").create_stack(
            StackName=self._name, TemplateBody=json.dumps(template), Parameters=given
        )

    def _without(self, template: dict[str, Any], types: set[str]) -> dict[str, Any]:
        """Return the template without resources of these types, and without outputs."""
        resources = template["Resources"]
        kept = {name: one for name, one in resources.items() if one["Type"] not in types}
        for name, one in kept.items():
            needed = one.get("DependsOn", [])
            needed = [needed] if isinstance(needed, str) else needed
            kept[name] = one | {"DependsOn": [other for other in needed if other in kept]}
        rest = {key: value for key, value in template.items() if key != "Outputs"}
        return rest | {"Resources": self._filled(kept)}

    def _filled(self, node: Any) -> Any:
        """Replace what refers to resources that moto lacks, and `Fn::Cidr`, which it lacks, too."""
        match node:
            case [*nodes]:
                return [self._filled(one) for one in nodes]
            case {"Ref": name} if name in self._known:
                return self._known[name]
            case {"Fn::GetAtt": [*names]} if ".".join(names) in self._known:
                return self._known[".".join(names)]
            case {"Fn::Select": [number, {"Fn::Cidr": _}]}:
                return _SUBNETS[number]
            case {**members}:
                return {key: self._filled(value) for key, value in members.items()}
        return self._substituted(node) if isinstance(node, str) else node

    def _substituted(self, text: str) -> str:
        for name, value in self._known.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    @cached_property
    def _physical(self) -> dict[str, str]:
        client = self._client("cloudformation")
        found = client.describe_stack_resources(StackName=self._name)["StackResources"]
        return {
            one["LogicalResourceId"]: one.get("PhysicalResourceId", "")
            for one in found
            if "LogicalResourceId" in one
        }

    def containers(self, task: str) -> dict[str, dict[str, Any]]:
        """Return the containers of a task definition by name, as ECS has them."""
        found = self._client("ecs").describe_task_definition(taskDefinition=self._physical[task])
        return {one["name"]: one for one in found["taskDefinition"]["containerDefinitions"]}

    def environment(self, task: str, container: Mapping[str, Any]) -> dict[str, str]:
        """Return the variables of a container as Fargate sets them.

        Raises PermissionError if the execution role may not read a secret.
        """
        variables = {one["name"]: one["value"] for one in container["environment"]}
        granted = self.permissions(self._role(task, "ExecutionRoleArn"))
        for one in container.get("secrets", ()):
            # ARN, key of a JSON secret, version stage, version id; an ARN has six colons.
            *arn, key = (one["valueFrom"] + ":" * 3).split(":")[:8]
            call = Call("secretsmanager:GetSecretValue", ":".join(arn))
            if refused([call], granted):
                raise PermissionError(str(call))
            got = self._client("secretsmanager").get_secret_value(SecretId=call.resource)
            text = got["SecretString"]
            variables[one["name"]] = json.loads(text)[key] if key else text
        return variables

    def _role(self, task: str, kind: str) -> str:
        return str(self._source[task]["Properties"][kind]["Fn::GetAtt"][0])

    def permissions(self, role: str) -> list[Permission]:
        """Return what the inline policies of a role allow."""
        iam, name = self._client("iam"), self._physical[role]
        found: list[Permission] = []
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            got = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            found += permissions(literal_eval(got))  # moto answers in Python, not in JSON
        return found

    def credentials(self, task: str) -> dict[str, str]:
        """Return the variables with the credentials of a task's role, which Fargate serves."""
        role = self._client("iam").get_role(
            RoleName=self._physical[self._role(task, "TaskRoleArn")]
        )
        assumed = self._client("sts").assume_role(
            RoleArn=role["Role"]["Arn"], RoleSessionName="task"
        )["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": assumed["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": assumed["SecretAccessKey"],
            "AWS_SESSION_TOKEN": assumed["SessionToken"],
        }

    def target_group(self) -> dict[str, Any]:
        """Return the target group of the load balancer."""
        arn = self._physical["TargetGroup"]
        client = self._client("elbv2")
        (group,) = client.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
        found: dict[str, Any] = group
        return found


def unknown_to_moto() -> set[str]:
    """Return the types of the template's resources that moto cannot deploy."""
    return {one["Type"] for one in source()["Resources"].values()} - get_model_map().keys()
