"""deploy/aws.yaml: who may reach and do what, what is never lost, and in which order it starts."""

import json
import re
from typing import Any

import pytest

from devstack.service_process import ROOT
from tests.support.cloudformation import Stack, environment, settings_of, source
from tests.support.container_files import dockerfile_stages
from tests.support.runbook import blocks

STACK = Stack()
CONTAINERS = STACK.containers()
IMAGE = {step.name: step for step in dockerfile_stages()[-1]}
each_container = pytest.mark.parametrize("container", CONTAINERS.values(), ids=map(str, CONTAINERS))


@each_container
def test_confined(container: dict[str, Any]) -> None:
    """No container has root or capabilities, or can write anywhere but to /tmp."""
    assert container["User"] == IMAGE["USER"].text
    assert container["ReadonlyRootFilesystem"] is True
    assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert container["MountPoints"] == [{"SourceVolume": "tmp", "ContainerPath": "/tmp"}]  # noqa: S108
    # ECS gives a volume the mode of the path that the image declares (AWS: "Bind mounts").
    assert 'VOLUME ["/tmp"]' in (ROOT / "deploy" / "Dockerfile").read_text().splitlines()


def test_policy() -> None:
    """The tasks may do what `policy.json` of docs/operations.md says, and no more."""
    (page,) = (block.text for block in blocks("json") if "rds-db:connect" in block.text)
    (policy,) = STACK["TaskRole"]["Policies"]
    documented, given = json.loads(page), json.dumps(policy["PolicyDocument"])
    given = given.replace("${Bucket.Arn}", "arn:aws:s3:::my-images")
    given = given.replace("${Database.DbiResourceId}", "db-ABCDEFGHIJKL")
    assert json.loads(given) == documented
    tasks = STACK.of_type("AWS::ECS::TaskDefinition").values()
    assert {task["TaskRoleArn"] for task in tasks} == {"${TaskRole.Arn}"}


def test_only_way_in() -> None:
    """The load balancer and the tasks have no public address, and the VPC no route out."""
    assert STACK["LoadBalancer"]["Scheme"] == "internal"
    for one in (STACK["Service"], STACK["Housekeeping"]):
        network = one["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert network["AssignPublicIp"] == "DISABLED"
    kinds = {resource["Type"] for resource in STACK.resources.values()}
    assert not kinds & {"AWS::EC2::Route", "AWS::EC2::NatGateway", "AWS::EC2::EIP"}
    (origin,) = STACK["Distribution"]["DistributionConfig"]["Origins"]
    assert origin["VpcOriginConfig"]["VpcOriginId"] == "${VpcOrigin.Id}"
    assert STACK["VpcOrigin"]["VpcOriginEndpointConfig"]["OriginProtocolPolicy"] == "https-only"


@pytest.mark.parametrize(
    ("engine", "parameters"),
    [("postgres", {"rds.force_ssl": "1"}), ("mysql", {"require_secure_transport": "1"})],
)
def test_clear_text_is_refused(engine: str, parameters: dict[str, str]) -> None:
    """Database and bucket refuse connections without TLS."""
    stack = Stack(Engine=engine)
    assert stack["DatabaseParameters"]["Parameters"] == parameters
    assert stack["Database"]["DBParameterGroupName"] == "${DatabaseParameters}"
    (statement,) = stack["BucketPolicy"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == (
        "Deny",
        "*",
        "s3:*",
    )
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_cache() -> None:
    """The cache key covers what responses depend on, and CloudFront caches only what it may."""
    config = STACK["Distribution"]["DistributionConfig"]
    (variants,) = config["CacheBehaviors"]
    assert variants["CachePolicyId"] == "${VariantCachePolicy}"
    policy = STACK["VariantCachePolicy"]["CachePolicyConfig"]
    assert (policy["MinTTL"], policy["DefaultTTL"]) == (0, 0)
    key = policy["ParametersInCacheKeyAndForwardedToOrigin"]
    assert key["QueryStringsConfig"] == {"QueryStringBehavior": "all"}
    assert {"Accept", "Host", "Origin"} == set(key["HeadersConfig"]["Headers"])
    managed = {  # AWS: "Use managed cache policies", "... origin request policies"
        "CachePolicyId": "4cc15a8a-d715-48a4-82b8-cc0b614638fe",
        "OriginRequestPolicyId": "216adef6-5c7f-47e4-b989-5492eafa07d3",
    }
    assert managed.items() <= config["DefaultCacheBehavior"].items()
    errors = {one["ErrorCode"]: one["ErrorCachingMinTTL"] for one in config["CustomErrorResponses"]}
    assert errors == dict.fromkeys((404, 500, 502, 503, 504), 0)


def test_restored_database() -> None:
    """A snapshot brings its version, size, administrator and database; the rest is as before."""
    new, restored = STACK["Database"], Stack(DatabaseSnapshot="images-restored")["Database"]
    of_the_snapshot = {"EngineVersion", "AllocatedStorage", "MasterUsername", "DBName"}
    assert of_the_snapshot <= new.keys()
    kept = {name: value for name, value in new.items() if name not in of_the_snapshot}
    assert restored == kept | {"DBSnapshotIdentifier": "images-restored"}


def test_nothing_is_lost() -> None:
    """Objects stay as long as backups do, and deleting the stack destroys neither."""
    days = STACK["Database"]["BackupRetentionPeriod"]
    keepers = [one for one in CONTAINERS.values() if "KEEP_DELETED_SECONDS" in environment(one)]
    assert len(keepers) == 3
    for one in keepers:
        assert settings_of(one).keep_deleted_seconds >= days * 24 * 3600
    database, bucket = STACK.resources["Database"], STACK.resources["Bucket"]
    assert {database["DeletionPolicy"], database["UpdateReplacePolicy"]} == {"Snapshot"}
    assert {bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]} == {"Retain"}
    for promise in ("MultiAZ", "StorageEncrypted", "DeletionProtection"):
        assert STACK["Database"][promise] is True
    assert STACK["Bucket"]["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = STACK["Bucket"]["LifecycleConfiguration"]["Rules"]
    assert {rule["Id"] for rule in rules} == {"expire-deleted", "abort-unfinished-uploads"}


def test_order() -> None:
    """A new version's tables exist, and the doctor has passed, before its service starts."""
    service, housekeeping = STACK.resources["Service"], STACK.resources["Housekeeping"]
    assert "Housekeeping" in service["DependsOn"]
    for one in (service, housekeeping):
        deployment = one["Properties"]["DeploymentConfiguration"]
        assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
        assert deployment["MinimumHealthyPercent"] == 100
    prepare = CONTAINERS["HousekeepingTask", "prepare"]
    sweeper = CONTAINERS["HousekeepingTask", "sweeper"]
    scripts = re.findall(r"python -m scripts\.(\w+)(?: && |$)", prepare["Command"][-1])
    assert scripts == ["create_user", "create_tables", "doctor"]
    assert prepare["Essential"] is False
    assert sweeper["DependsOn"] == [{"ContainerName": "prepare", "Condition": "SUCCESS"}]
    assert sweeper["Command"] == ["python", "-m", "scripts.sweep", "--interval", "60"]
    assert "DesiredCount" not in service["Properties"]
    assert "TaskEgressToDatabase" in housekeeping["DependsOn"]
    (tag,) = STACK["VpcOrigin"]["Tags"]
    assert tag["Value"] == "${InternetGatewayAttachment.AttachmentType}"


def test_verification() -> None:
    """Every night a task compares the bucket with the tables."""
    schedule = STACK["VerifySchedule"]
    assert re.fullmatch(r"cron\(0 \d+ \* \* \? \*\)", schedule["ScheduleExpression"])
    assert schedule["Target"]["EcsParameters"]["TaskDefinitionArn"] == "${VerifyTask}"
    command = CONTAINERS["VerifyTask", "verify"]["Command"]
    assert command == ["python", "-m", "scripts.verify", "--json"]


def test_existing_network() -> None:
    """With an existing VPC the stack creates no network and requires the subnets."""
    stack = Stack(VpcId="vpc-0123abcd", SubnetIds="subnet-0123abcd,subnet-4567abcd")
    made = {name for name in STACK.resources if name not in stack.resources}
    assert {"Vpc", "SubnetA", "S3Endpoint", "LogsEndpoint", "InternetGateway"} <= made
    assert stack["LoadBalancer"]["Subnets"] == ["subnet-0123abcd", "subnet-4567abcd"]
    assert "${Vpc}" not in json.dumps(stack.resources)
    assert source()["Rules"]["VpcWithSubnets"]


def test_zones() -> None:
    """The zones of the new VPC can be chosen: not all have Fargate for ARM64 or VPC origins."""
    stack = Stack(ZoneA="us-east-1b", ZoneB="us-east-1d")
    chosen = [stack[subnet]["AvailabilityZone"] for subnet in ("SubnetA", "SubnetB")]
    assert chosen == ["us-east-1b", "us-east-1d"]
    assert STACK["SubnetA"]["AvailabilityZone"] != STACK["SubnetB"]["AvailabilityZone"]
    assert source()["Rules"]["TwoZones"]
