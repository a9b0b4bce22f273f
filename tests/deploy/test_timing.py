"""deploy/aws.yaml: ports, health checks and time-outs agree from CloudFront to the service."""

import pytest

from main import create_app
from tests.support.cloudformation import REQUIRED, Stack, settings_of
from tests.support.container_files import dockerfile_stages

STACK = Stack()
SERVICE = STACK.container("ServiceTask", "service")
IMAGE = {step.name: step for step in dockerfile_stages()[-1]}
OPTIONS = dict(zip(IMAGE["CMD"].command, IMAGE["CMD"].command[1:], strict=False))


def attributes(resource: str, field: str) -> dict[str, str]:
    """Return the attributes of a load balancer or target group."""
    return {one["Key"]: one["Value"] for one in STACK[resource][field]}


def test_ports() -> None:
    """One port from the image to the load balancer; HTTPS in front of it; the database's own."""
    port = int(IMAGE["EXPOSE"].text)
    assert str(port) == OPTIONS["--port"]
    assert SERVICE["PortMappings"] == [{"ContainerPort": port}]
    assert STACK["TargetGroup"]["Port"] == port
    assert [one["ContainerPort"] for one in STACK["Service"]["LoadBalancers"]] == [port]
    (admitted,) = STACK["TaskSecurityGroup"]["SecurityGroupIngress"]
    assert (admitted["FromPort"], admitted["ToPort"]) == (port, port)
    assert admitted["SourceSecurityGroupId"] == "${LoadBalancerSecurityGroup}"
    (admitted,) = STACK["LoadBalancerSecurityGroup"]["SecurityGroupIngress"]
    listener = STACK["HttpsListener"]
    assert (listener["Protocol"], listener["Port"]) == ("HTTPS", admitted["FromPort"])
    assert admitted["SourcePrefixListId"] == REQUIRED["CloudFrontPrefixListId"]


@pytest.mark.parametrize(("engine", "port"), [("postgres", 5432), ("mysql", 3306)])
def test_port_of_the_database(engine: str, port: int) -> None:
    """The tasks, and nobody else, reach the port of the database."""
    stack = Stack(Engine=engine)
    (admitted,) = stack["DatabaseSecurityGroup"]["SecurityGroupIngress"]
    assert (admitted["FromPort"], admitted["ToPort"]) == (port, port)
    assert admitted["SourceSecurityGroupId"] == "${TaskSecurityGroup}"
    assert stack["Database"]["PubliclyAccessible"] is False
    # By group and not by address, because a VPC of the user has other addresses.
    left = stack["TaskEgressToDatabase"]
    assert (left["FromPort"], left["ToPort"]) == (port, port)
    assert left["GroupId"] == "${TaskSecurityGroup}"
    assert left["DestinationSecurityGroupId"] == "${DatabaseSecurityGroup}"


def test_health_paths() -> None:
    """The load balancer asks for readiness and ECS for liveness, on paths that exist."""
    routes = set(create_app().openapi()["paths"])
    assert STACK["TargetGroup"]["HealthCheckPath"] == "/health/ready"
    program, *command = SERVICE["HealthCheck"]["Command"]
    assert (program, command) == ("CMD", IMAGE["HEALTHCHECK"].command)
    assert "'/health/live'" in command[-1]
    assert {"/health/ready", "/health/live"} <= routes


def test_stop() -> None:
    """A task has time to finish its requests, and Fargate waits for it."""
    settings = settings_of(SERVICE)
    graceful = settings.shutdown_delay_seconds + int(OPTIONS["--timeout-graceful-shutdown"])
    assert graceful + 10 <= SERVICE["StopTimeout"] <= 120
    drained = attributes("TargetGroup", "TargetGroupAttributes")
    assert int(drained["deregistration_delay.timeout_seconds"]) >= 60


def test_idle_time_outs() -> None:
    """Each proxy drops an idle connection before the server behind it does."""
    balancer = attributes("LoadBalancer", "LoadBalancerAttributes")
    idle = int(balancer["idle_timeout.timeout_seconds"])
    assert idle < int(OPTIONS["--timeout-keep-alive"])
    (origin,) = STACK["Distribution"]["DistributionConfig"]["Origins"]
    assert origin["VpcOriginConfig"]["OriginKeepaliveTimeout"] < idle


def test_slow_store() -> None:
    """Neither proxy gives up an upload before the service does."""
    settings = settings_of(SERVICE)
    longest = settings.connect_timeout_seconds + 2 * settings.s3_put_timeout_seconds
    balancer = attributes("LoadBalancer", "LoadBalancerAttributes")
    (origin,) = STACK["Distribution"]["DistributionConfig"]["Origins"]
    assert longest < int(balancer["idle_timeout.timeout_seconds"])
    assert longest < origin["VpcOriginConfig"]["OriginReadTimeout"]
    doctor = settings_of(STACK.container("HousekeepingTask", "prepare"))
    assert doctor.s3_put_timeout_seconds == settings.s3_put_timeout_seconds


def test_failover_keeps_the_tasks() -> None:
    """While the database fails over, for up to two minutes, ECS does not replace the tasks."""
    group = STACK["TargetGroup"]
    assert group["HealthCheckIntervalSeconds"] * group["UnhealthyThresholdCount"] >= 150
    assert group["HealthCheckTimeoutSeconds"] > 2  # services/readiness.py answers within that
