"""Every size fits its database: connections of all tasks, also while they are replaced."""

from typing import Any

import pytest

from config import Settings
from db import build_engine
from tests.support.cloudformation import Stack, environment, source

SIZES = list(source()["Mappings"]["Sizes"])
ENGINES = list(source()["Mappings"]["Engines"])
GIB = 2**30
# Memory of the classes, 2026-11-30, "Hardware specifications for DB instance classes".
MEMORY = {"db.t4g.small": 2 * GIB, "db.m7g.large": 8 * GIB, "db.m7g.xlarge": 16 * GIB}
# "Quotas and constraints for Amazon RDS": DBInstanceClassMemory by this, at most so many.
DIVISORS = {"postgres": (9531392, 5000), "mysql": (12582880, 100_000)}
# RDS keeps some of the memory: docs/sizing.md.
USABLE = 0.8
# "Task size" of Fargate: vCPU units, least and most MiB.
FARGATE = {256: (512, 2048), 512: (1024, 4096), 1024: (2048, 8192), 2048: (4096, 16384)} | {
    4096: (8192, 30720)
}
by_size = pytest.mark.parametrize("size", SIZES)
by_engine = pytest.mark.parametrize("engine", ENGINES)


def connections(container: dict[str, Any]) -> int:
    """Return how many connections a process of a container opens with its settings."""
    variables = environment(container)
    named = Settings(
        db_url="sqlite:///none",
        aws_region="none",
        aws_s3_bucket="none",
        concurrency=int(variables["CONCURRENCY"]),
    )
    return named.threads + 2  # `pool_size` of adapters/engines.py


def most(minimum: int, service: dict[str, Any]) -> int:
    """Return how many tasks a service has at most while they are replaced."""
    return minimum * int(service["DeploymentConfiguration"]["MaximumPercent"]) // 100


def needed(stack: Stack) -> int:
    """Return the maximum number of connections of all tasks of the stack."""
    service = stack.container("ServiceTask", "service")
    workers = int(environment(service)["WEB_CONCURRENCY"])
    tasks = most(stack["Scaling"]["MaxCapacity"], stack["Service"])
    # `prepare` and the sweeper of a task run one after the other.
    housekeeping = [stack.container("HousekeepingTask", name) for name in ("prepare", "sweeper")]
    housekeepers = most(stack["Housekeeping"]["DesiredCount"], stack["Housekeeping"])
    verify = connections(stack.container("VerifyTask", "verify"))
    return (
        tasks * workers * connections(service)
        + housekeepers * max(map(connections, housekeeping))
        + 2 * verify  # the nightly one, and a command by hand
    )


@by_size
@by_engine
def test_connections(size: str, engine: str) -> None:
    """The alarm is at what the database accepts, and all tasks together stay below it."""
    stack = Stack(Size=size, Engine=engine)
    divisor, highest = DIVISORS[engine]
    memory = MEMORY[stack["Database"]["DBInstanceClass"]]
    usable = int(min(memory // divisor, highest) * USABLE)
    assert needed(stack) <= usable
    assert stack["ConnectionsAlarm"]["Threshold"] == usable


def test_pool() -> None:
    """The pool of the engine has as many connections as this file counts."""
    settings = Settings(
        db_url="postgresql://images@host/images", aws_region="none", aws_s3_bucket="none"
    )
    engine = build_engine(settings)
    container = {"Environment": [{"Name": "CONCURRENCY", "Value": settings.concurrency}]}
    assert engine.pool.size() == connections(container)  # type: ignore[attr-defined]


@by_size
def test_tasks(size: str) -> None:
    """Each zone has a task, the scaling can add more, and so can a deployment."""
    stack = Stack(Size=size)
    least = stack["Scaling"]["MinCapacity"]
    assert 2 <= least < stack["Scaling"]["MaxCapacity"]
    assert most(least, stack["Service"]) > least
    assert stack["TasksMissingAlarm"]["Threshold"] == least


@by_size
def test_fargate(size: str) -> None:
    """Fargate offers this CPU and memory, and a worker has at least a gigabyte (docs/sizing.md)."""
    stack = Stack(Size=size)
    for task in stack.of_type("AWS::ECS::TaskDefinition").values():
        least, largest = FARGATE[int(task["Cpu"])]
        assert least <= int(task["Memory"]) <= largest
    workers = int(environment(stack.container("ServiceTask", "service"))["WEB_CONCURRENCY"])
    assert int(stack["ServiceTask"]["Memory"]) >= 1024 * workers
    assert workers >= 2  # a supervisor replaces the one that dies
