"""docs/aws.md and the workflow `try AWS` name what deploy/aws.yaml has, and calculate correctly."""

import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from devstack.service_process import ROOT
from tests.support.cloudformation import FILE, REQUIRED, Stack, environment, source

PAGE = (ROOT / "docs" / "aws.md").read_text().replace("\N{MULTIPLICATION SIGN}", "*")
WORKFLOW = ROOT / ".github" / "workflows" / "try_aws.yaml"
PARAMETERS, OUTPUTS = set(source()["Parameters"]), set(source()["Outputs"])
COMMANDS = "\n".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL))
SIZES = list(source()["Mappings"]["Sizes"])
# Variables of the shell that are not outputs.
_OF_THE_PAGE = {"REPOSITORY", "VERSION", "KEY"}


def rows(section: str) -> list[list[str]]:
    """Return the cells of the table of a section, without its head."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (.*) \|$", text, re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def test_names_of_the_page() -> None:
    """Parameters, outputs and resources on the page are those of the template."""
    given = set(re.findall(r"\b([A-Z][a-z]\w+)=", COMMANDS)) - {"Name", "Values"}  # of a filter
    assert given <= PARAMETERS
    used = set(re.findall(r"\$([A-Z]\w+)", COMMANDS))
    assert used - _OF_THE_PAGE <= OUTPUTS
    named = set(re.findall(r"`([A-Z][a-z]+[A-Z]?\w*)(?:=[^`]*)?`", PAGE))
    known = {*source()["Resources"], *PARAMETERS, *OUTPUTS, *source()["Mappings"]}
    assert named - known <= {"Accept", "Retry-After"}
    deployed = COMMANDS.partition("--parameter-overrides")[2].partition("describe-stacks")[0]
    assert set(REQUIRED) <= set(re.findall(r"(\w+)=", deployed))


@pytest.mark.parametrize("row", rows("What a month costs")[:-1], ids=lambda row: row[0][:12])
def test_arithmetic(row: list[str]) -> None:
    """Each formula of the table of costs gives the number behind it."""
    formulas = [cell.split(" = ") for cell in row[1:] if " = " in cell]
    assert formulas
    for formula, result in formulas:
        assert re.fullmatch(r"[\d.()+* ]+", formula)
        value = eval(formula)  # noqa: S307 - digits and signs only
        assert round(value, 2) == float(result)


def test_sums() -> None:
    """The last row of the table of costs is the sum of the others."""
    *parts, total = rows("What a month costs")
    for column in range(1, 4):
        costs = [float(row[column].split(" = ")[-1]) for row in parts]
        assert round(sum(costs), 2) == float(total[column].strip("*"))


@pytest.mark.parametrize(("column", "size"), list(enumerate(SIZES, 1)))
def test_sizes_of_the_page(column: int, size: str) -> None:
    """The costs are those of the tasks and the class that the template has."""
    tasks, _, database, *_ = rows("What a month costs")
    stack = Stack(Size=size)
    cpu, memory = (int(stack["ServiceTask"][one]) // 1024 for one in ("Cpu", "Memory"))
    expected = f"{stack['Scaling']['MinCapacity']} * ({cpu} * 0.04048 + {memory} * 0.004445) * 730"
    assert tasks[column].startswith(expected)
    classes = re.findall(r"db\.[\w.]+", database[0])
    assert classes[column - 1] == stack["Database"]["DBInstanceClass"]
    least, most = stack["Scaling"]["MinCapacity"], stack["Scaling"]["MaxCapacity"]
    scaling = re.findall(r"[\d.]+", PAGE.partition("- Scaling adds up to")[2].partition("\n")[0])
    assert scaling[column - 1] == str(most - least)
    assert scaling[column + 2] == f"{float(tasks[column].split(' = ')[1]) / least:.2f}"


def test_times_of_the_page() -> None:
    """The times that the page promises are those of the template."""
    stack = Stack()
    group = stack["TargetGroup"]
    patience = group["HealthCheckIntervalSeconds"] * group["UnhealthyThresholdCount"]
    assert f"waits for {patience} s" in PAGE
    drained = {one["Key"]: one["Value"] for one in group["TargetGroupAttributes"]}
    delay = environment(stack.container("ServiceTask", "service"))["SHUTDOWN_DELAY_SECONDS"]
    times = drained["deregistration_delay.timeout_seconds"], int(delay) + 30
    assert "has {} s to finish its requests, and then {} s more".format(*times) in PAGE
    days = [
        rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
        for rule in stack["Bucket"]["LifecycleConfiguration"]["Rules"]
        if "NoncurrentVersionExpiration" in rule
    ]
    assert f"the bucket keeps for {days[0]} days" in PAGE


def test_template_is_small_enough() -> None:
    """`aws cloudformation deploy` needs a bucket for a template of more than 51,200 bytes."""
    assert FILE.stat().st_size <= 51_200


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    """Return the workflow."""
    document: dict[Any, Any] = yaml.safe_load(WORKFLOW.read_text())
    return document


def test_workflow_is_off(workflow: dict[Any, Any]) -> None:
    """It runs only by hand and where a variable says so, and tells that nobody has run it."""
    assert list(workflow[True]) == ["workflow_dispatch"]  # YAML 1.1 reads `on` as true
    (job,) = workflow["jobs"].values()
    assert job["if"] == "vars.TRY_AWS == 'yes'"
    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    assert "NOBODY HAS RUN THIS WORKFLOW YET" in WORKFLOW.read_text()
    *_, last = job["steps"]
    assert last["if"] == "always()"  # a failed try is deleted as well


def test_workflow_agrees(workflow: dict[Any, Any]) -> None:
    """It gives every parameter that has no default, and uses outputs that exist."""
    commands = {
        step["name"]: step["run"] for step in workflow["jobs"]["try"]["steps"] if "run" in step
    }
    given = set(re.findall(r'"([A-Z]\w+)=', commands["Deploy"]))
    assert set(REQUIRED) <= given
    assert given - {"KEY"} <= PARAMETERS
    used = set(re.findall(r"\$([A-Z][a-z]\w+)", "\n".join(commands.values())))
    assert used <= OUTPUTS
    for resource in re.findall(r"\$\(resource (\w+)\)", commands["Delete everything"]):
        assert resource in source()["Resources"]
    # Expressions in scripts would be pasted into them; variables are quoted (zizmor, shellcheck).
    assert not any("${{" in command for command in commands.values())
