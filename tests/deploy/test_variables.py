"""deploy/aws.yaml gives each container variables and secrets that its command accepts."""

import inspect
import json
import re
from typing import Any

import pytest
import uvicorn.config
from sqlalchemy import make_url
from uvicorn.middleware.proxy_headers import _TrustedHosts

from adapters.rds_iam import require_verified_server
from config import Settings
from devstack.service_process import ROOT
from scripts import create_user
from tests.support.cloudformation import (
    LINK_SECRET,
    REQUIRED,
    Stack,
    environment,
    secrets,
    settings_of,
)

STACK = Stack()
CONTAINERS = STACK.containers()
SERVICE = CONTAINERS["ServiceTask", "service"]
SETTINGS = {name.upper() for name in Settings.model_fields}
SECRETS = {"API_KEYS", "LINK_SECRETS"}
# What the server reads, and what scripts.create_user reads.
OF_UVICORN = {"WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"}
OF_ADMIN = {"DB_ADMIN_USER", "DB_ADMIN_PASSWORD"}
each_container = pytest.mark.parametrize("container", CONTAINERS.values(), ids=map(str, CONTAINERS))


@each_container
def test_variables(container: dict[str, Any]) -> None:
    """Every variable is a setting of the service, of uvicorn or of the command."""
    plain, secret = set(environment(container)), set(secrets(container))
    assert plain <= SETTINGS - SECRETS | OF_UVICORN
    assert secret <= SECRETS | OF_ADMIN
    for name in OF_UVICORN:
        assert name in inspect.getsource(uvicorn.config)
    for name in OF_ADMIN:
        assert f'os.environ["{name}"]' in inspect.getsource(create_user)


@each_container
@pytest.mark.parametrize("engine", ["postgres", "mysql"])
def test_settings(container: dict[str, Any], engine: str) -> None:
    """The variables are valid settings that name the same database and bucket everywhere."""
    settings = settings_of(container)
    assert settings.db_iam_auth
    assert settings.aws_region == "eu-central-1"
    url = make_url(settings.db_url)
    assert (url.username, url.password, url.database) == (
        "images",
        None,
        STACK["Database"]["DBName"],
    )
    require_verified_server(url, {})
    urls = {
        environment(one)["DB_URL"]
        for task in Stack(Engine=engine).of_type("AWS::ECS::TaskDefinition").values()
        for one in task["ContainerDefinitions"]
    }
    assert len(urls) == 1
    assert environment(container)["AWS_S3_BUCKET"] == "${Bucket}"


@pytest.mark.parametrize(
    ("engine", "verified"),
    [("postgres", "sslmode=verify-full&sslrootcert"), ("mysql", "ssl_ca")],
)
def test_certificates(engine: str, verified: str) -> None:
    """The tasks verify RDS by the certificates that deploy/Dockerfile adds to the image."""
    image = (ROOT / "deploy" / "Dockerfile").read_text()
    (file,) = re.findall(
        r"^ADD --chmod=444 https://truststore\.pki\.rds\S+ (\S+)$", image, re.MULTILINE
    )
    url = environment(Stack(Engine=engine).container("ServiceTask", "service"))["DB_URL"]
    assert url.endswith(f"/images?{verified}={file}")
    assert url.startswith({"postgres": "postgresql://", "mysql": "mysql://"}[engine])


@each_container
def test_secrets(container: dict[str, Any]) -> None:
    """The role that starts a task may read each of its secrets, and no others of the stack."""
    (task,) = (task for (task, name), one in CONTAINERS.items() if one is container)
    role = STACK[task]["ExecutionRoleArn"].removeprefix("${").removesuffix(".Arn}")
    readable = [
        place
        for policy in STACK[role]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        for place in statement["Resource"]
        if statement["Action"] == "secretsmanager:GetSecretValue"
    ]
    for place in secrets(container).values():
        secret = place.split(":")[0]
        assert secret in readable
        assert secret.strip("${}").split(".")[0] in STACK.resources


def test_administrator() -> None:
    """Only the container that creates the user gets the password of the administrator."""
    holders = {name for name, one in CONTAINERS.items() if OF_ADMIN & set(secrets(one))}
    assert holders == {("HousekeepingTask", "prepare")}
    roles = {
        name: json.dumps(role["Policies"]) for name, role in STACK.of_type("AWS::IAM::Role").items()
    }
    assert [name for name, policies in roles.items() if "MasterUserSecret" in policies] == [
        "HousekeepingExecutionRole"
    ]
    assert secrets(SERVICE).keys() == SECRETS


def test_clients_are_told_apart() -> None:
    """The client's address is the one that CloudFront appends, whatever the client claims."""
    proxies = _TrustedHosts(environment(SERVICE)["FORWARDED_ALLOW_IPS"])
    balancer = "10.20.0.7"
    assert balancer in proxies
    claimed, client = "198.51.100.1", "203.0.113.9"
    forwarded = proxies.get_trusted_client_address(f"{claimed}, {client}, {balancer}")
    assert forwarded == (client, 0)


def test_clients_are_authenticated() -> None:
    """The service starts with API keys and link secrets that it accepts, and for one host."""
    settings = settings_of(SERVICE)
    assert [key.name for key in settings.api_keys] == ["backend"]
    assert len(settings.link_secrets) == 1
    assert settings.allowed_hosts == (REQUIRED["DomainName"],)
    generated = STACK["LinkSecret"]["GenerateSecretString"]
    assert generated["PasswordLength"] == len(LINK_SECRET)
    assert generated["ExcludePunctuation"]  # a comma would make two of it
