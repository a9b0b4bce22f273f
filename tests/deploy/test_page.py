"""docs/aws.md names what deploy/aws.yaml has, and calculates correctly."""

import re

import pytest

from devstack.service_process import ROOT
from tests.support.cloudformation import FILE, REQUIRED, Stack, environment, source

PAGE = (ROOT / "docs" / "aws.md").read_text().replace("\N{MULTIPLICATION SIGN}", "*")
PARAMETERS, OUTPUTS = set(source()["Parameters"]), set(source()["Outputs"])
COMMANDS = "\n".join(re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL))
SIZES = list(source()["Mappings"]["Sizes"])
# Variables of the shell that are not outputs.
_OF_THE_PAGE = {"REPOSITORY", "VERSION", "KEY"}
# Properties of the database that the page names.
_OF_RDS = {"AllowMajorVersionUpgrade", "ManageMasterUserPassword"}
COSTS = ("What a month costs", "A month with traffic")


def text_of(section: str) -> str:
    """Return the text of a section."""
    return PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]


def rows(section: str) -> list[list[str]]:
    """Return the cells of the table of a section, without its head."""
    lines = re.findall(r"^\| (.*) \|$", text_of(section), re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def test_names_of_the_page() -> None:
    """Parameters, outputs and resources on the page are those of the template."""
    given = set(re.findall(r"\b([A-Z][a-z]\w+)=", COMMANDS)) - {"Name", "Values"}  # of a filter
    assert given <= PARAMETERS
    used = set(re.findall(r"\$([A-Z]\w+)", COMMANDS))
    assert used - _OF_THE_PAGE <= OUTPUTS
    named = set(re.findall(r"`([A-Z][a-z]+[A-Z]?\w*)(?:=[^`]*)?`", PAGE))
    mappings = source()["Mappings"]
    known = {*source()["Resources"], *PARAMETERS, *OUTPUTS, *mappings, *_OF_RDS}
    known |= mappings["Engines"]["postgres"].keys()
    assert named - known <= {"Accept", "Retry-After"}
    deployed = COMMANDS.partition("--parameter-overrides")[2].partition("describe-stacks")[0]
    assert set(REQUIRED) <= set(re.findall(r"(\w+)=", deployed))


@pytest.mark.parametrize(
    "row", [row for section in COSTS for row in rows(section)[:-1]], ids=lambda row: row[0][:16]
)
def test_arithmetic(row: list[str]) -> None:
    """Each formula of the tables of costs gives the number behind it."""
    formulas = [cell.split(" = ") for cell in row[1:] if " = " in cell]
    assert formulas or row[0].startswith("all of the table above")
    for formula, result in formulas:
        assert re.fullmatch(r"[\d.()+* -]+", formula)
        value = eval(formula)  # noqa: S307 - digits and signs only
        assert round(value, 2) == float(result)


@pytest.mark.parametrize("section", COSTS)
def test_sums(section: str) -> None:
    """The last row of a table of costs is the sum of the others, and begins the next table."""
    assert rows(COSTS[1])[0][1:] == [cell.strip("*") for cell in rows(COSTS[0])[-1][1:]]
    *parts, total = rows(section)
    for column in range(1, 4):
        costs = [float(row[column].split(" = ")[-1]) for row in parts]
        assert round(sum(costs), 2) == float(total[column].strip("*"))


@pytest.mark.parametrize(("column", "size"), list(enumerate(SIZES, 1)))
def test_sizes_of_the_page(column: int, size: str) -> None:
    """The costs match the tasks and the database class of the template."""
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


def test_number_of_alarms() -> None:
    """The costs count all secrets, metrics and alarms, including two alarms per scaling policy."""
    stack = Stack()
    alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
    read = sum(str(one).count("'MetricName'") for one in alarms)
    policies = len(stack.of_type("AWS::ApplicationAutoScaling::ScalingPolicy"))
    secrets = len(stack.of_type("AWS::SecretsManager::Secret")) + 1  # of the administrator
    filters = len(stack.of_type("AWS::Logs::MetricFilter"))
    head = f"secrets, alarms, metrics: {secrets}, {read + 2 * policies}, {filters}"
    (row,) = (row for row in rows(COSTS[0]) if row[0].startswith("secrets"))
    assert row[0] == head
    assert row[1].startswith(f"{secrets} * 0.40 + {read + 2 * policies} * 0.10 + {filters} * 0.30")


def test_order_of_a_restore() -> None:
    """No sweeper runs before the verification, and the copy is made where the database is."""
    text = text_of("Restore")
    steps = ["HousekeepingTasks=0", "--db-subnet-group-name", "DatabaseSnapshot=", "scripts.verify"]
    places = [text.index(step) for step in (*steps, "--repair", "HousekeepingTasks=1")]
    assert places == sorted(places)
    assert "--no-publicly-accessible" in text
    for tasks in ("0", "1"):
        assert Stack(HousekeepingTasks=tasks)["Housekeeping"]["DesiredCount"] == tasks


def test_flag_that_refuses_corrections() -> None:
    """No command keeps a failed stack: CloudFormation would refuse most corrections of it."""
    assert "cloudformation deploy" in COMMANDS
    assert "--disable-rollback" not in COMMANDS


def test_times_of_the_page() -> None:
    """The times that the page promises are those of the template."""
    stack = Stack()
    group = stack["TargetGroup"]
    patience = group["HealthCheckIntervalSeconds"] * group["UnhealthyThresholdCount"]
    assert f"waits for {patience} s" in PAGE
    assert f"for up to {patience} s, until the load balancer gives it up" in PAGE
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
