"""The alarms of deploy/aws.yaml mirror docs/alarms.yaml, by metrics that exist."""

import json
import re
import shutil
import socket
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from config import Settings
from db import build_engine, build_sessions, writing
from devstack.service_process import ROOT, ServiceProcess
from devstack.waiting import wait_until
from repositories import pending_objects
from scripts import sweep, verify
from tests.support import pictures
from tests.support.cloudformation import Stack
from tests.support.filter_patterns import fields, matches
from tests.support.uploads import FORM, on_sqlite, upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STACK = Stack()
ALARMS = STACK.of_type("AWS::CloudWatch::Alarm")
FILTERS = STACK.of_type("AWS::Logs::MetricFilter")
RULES = [
    rule["alert"]
    for rule in yaml.safe_load((ROOT / "docs" / "alarms.yaml").read_text())["groups"][0]["rules"]
]
# 2026-11-30: "CloudWatch metrics for your Application Load Balancer" and "Amazon CloudWatch metrics
# for Amazon RDS", with the dimensions that the alarms use.
DOCUMENTED = {
    "AWS/ApplicationELB": {
        "HTTPCode_Target_5XX_Count": {"LoadBalancer"},
        "HTTPCode_ELB_5XX_Count": {"LoadBalancer"},
        "RequestCount": {"LoadBalancer"},
        "HealthyHostCount": {"LoadBalancer", "TargetGroup"},
    },
    "AWS/RDS": {
        "DatabaseConnections": {"DBInstanceIdentifier"},
        "FreeStorageSpace": {"DBInstanceIdentifier"},
    },
}
DAY = 24 * 3600


def metrics(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the metrics that an alarm reads."""
    if "Metrics" in alarm:
        return [one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one]
    return [alarm]


def matching(line: str, log: str) -> set[str]:
    """Return the filters of a log group whose pattern a line matches."""
    return {
        name
        for name, one in FILTERS.items()
        if one["LogGroupName"] == f"${{{log}}}" and matches(one["FilterPattern"], line)
    }


def test_alarms_mirror_the_rules() -> None:
    """Each rule for Prometheus has one alarm, whose description begins with its name."""
    covered = [
        name
        for alarm in ALARMS.values()
        for name in re.split(" and ", alarm["AlarmDescription"].partition(" - ")[0])
        if " - " in alarm["AlarmDescription"]
    ]
    assert sorted(covered) == sorted(RULES)
    for name, alarm in ALARMS.items():
        assert alarm["AlarmActions"] == ["${Alarms}"]
        # Where silence is the fault, no data raises the alarm.
        silent = "Missing" in alarm["AlarmDescription"] or name == "TasksMissingAlarm"
        assert (alarm["TreatMissingData"] == "breaching") == silent


def test_metrics_exist() -> None:
    """Each alarm reads metrics of AWS that are documented, or of a filter; each filter is read."""
    ours = {one["MetricTransformations"][0]["MetricName"] for one in FILTERS.values()}
    read = set()
    for metric in (metric for alarm in ALARMS.values() for metric in metrics(alarm)):
        namespace, name = metric["Namespace"], metric["MetricName"]
        if namespace == "images":  # the name of the stack
            read.add(name)
        else:
            dimensions = {one["Name"] for one in metric["Dimensions"]}
            assert dimensions == DOCUMENTED[namespace][name]
    assert read == ours
    assert {one["MetricTransformations"][0]["MetricNamespace"] for one in FILTERS.values()} == {
        "images"
    }


def test_periods() -> None:
    """An alarm covers at most a day, or a week with periods of an hour (AWS: "Alarms")."""
    for alarm in ALARMS.values():
        period = alarm.get("Period") or alarm["Metrics"][1]["MetricStat"]["Period"]
        assert period * alarm["EvaluationPeriods"] <= (7 * DAY if period >= 3600 else DAY)
    (rule,) = re.findall(r"5\.\..*> ([\d.]+)", _expression("ServerErrors"))
    assert ALARMS["ServerErrorsAlarm"]["Threshold"] == float(rule)
    overdue = re.findall(r"> (\d+)", _expression("SweepOverdue"))
    assert ALARMS["SweepOverdueAlarm"]["Period"] == int(overdue[0])


def _expression(name: str) -> str:
    groups = yaml.safe_load((ROOT / "docs" / "alarms.yaml").read_text())["groups"]
    (found,) = (rule["expr"] for rule in groups[0]["rules"] if rule["alert"] == name)
    return re.sub(r"\s+", " ", found)


@on_sqlite
@pytest.mark.planted_damage
def test_lost_image(
    service: ServiceProcess, settings: Settings, s3: "S3Client", bucket: str
) -> None:
    """The lines of a lost image, and no others, match the pattern."""
    with httpx.Client(base_url=service.base_url) as client:
        upload(client, pictures.png())
        (entry,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
        s3.delete_object(Bucket=bucket, Key=entry["Key"])
        assert client.get("/images/a").status_code == 500
        upload(client, pictures.png())  # the same bytes: the service notices and stores them again
        assert client.get("/images/a").status_code == 200
    wait_until(lambda: service.log().count('"GET /images/{name}') == 2, timeout=10, what="lines")
    found = [matching(line, "ServiceLog") for line in service.log().splitlines()]
    assert found.count({"LostImages"}) == 2
    assert found.count(set()) == len(found) - 2
    assert settings.aws_s3_bucket == bucket


@on_sqlite
def test_overload(service_environment: dict[str, str]) -> None:
    """The log line of a request that is refused as overloaded matches the pattern."""
    length = shutil.disk_usage(tempfile.gettempdir()).free * 6 // 10
    head = f"POST /images HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n"
    head += f"Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    with ServiceProcess(service_environment | {"MAX_UPLOAD_BYTES": str(2 * length)}) as service:
        address = ("127.0.0.1", service.port)
        with (
            socket.create_connection(address) as first,
            socket.create_connection(address) as second,
        ):
            first.sendall(head.encode())
            assert first.recv(12) == b"HTTP/1.1 100"
            second.sendall(head.encode())
            assert second.recv(12) == b"HTTP/1.1 503"
        wait_until(lambda: '"code":"overloaded"' in service.log(), timeout=10, what="the line")
        found = [matching(line, "ServiceLog") for line in service.log().splitlines()]
    assert found.count({"Overloads"}) == 1


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Return a function that runs a command with changed settings and returns its lines."""

    def command(main: Any, *arguments: str, **changes: Any) -> list[str]:
        changed = settings.model_copy(update=changes)
        monkeypatch.setattr(f"{main.__module__}.load_settings", lambda: changed)
        main(list(arguments))
        return capsys.readouterr().out.splitlines()

    return command


@on_sqlite
def test_sweeps(settings: Settings, run: Callable[..., list[str]]) -> None:
    """Each sweep prints a line whose last number counts the objects that could not be removed."""
    engine = build_engine(settings)
    with writing(build_sessions(engine)()) as connection:
        moment = datetime.now(UTC) - timedelta(minutes=10)
        pending_objects.journal_deletion(connection, "due.png", moment)
    engine.dispose()
    sweeps = FILTERS["Sweeps"]
    assert sweeps["MetricTransformations"][0]["MetricValue"] == "$failed"
    unreachable = {"aws_endpoint_url_s3": "http://127.0.0.1:1", "s3_max_attempts": 1}
    for changes, failed in ((unreachable, "1"), ({}, "0")):
        (line,) = run(sweep.main, "--once", **changes)
        assert matching(line, "JobLog") == {"Sweeps"}
        assert (fields(sweeps["FilterPattern"], line) or {})["failed"] == failed
    assert ALARMS["JournalStuckAlarm"]["Statistic"] == "Minimum"  # every sweep of the period


@on_sqlite
@pytest.mark.planted_damage
def test_verifications(
    settings: Settings, run: Callable[..., list[str]], s3: "S3Client", bucket: str
) -> None:
    """Each verification has a line, and one that found damage matches both patterns."""
    assert settings.aws_s3_bucket == bucket
    *_, line = run(verify.main, "--json")
    assert matching(line, "JobLog") == {"Verifications"}
    s3.put_object(Bucket=bucket, Key="orphan.png", Body=b"orphan")
    finding, line = run(verify.main, "--json")
    assert matching(finding, "JobLog") == set()
    assert matching(line, "JobLog") == {"Verifications", "VerificationsWithDamage"}
    (error,) = run(verify.main, "--json", aws_s3_bucket="another-bucket")
    assert matching(error, "JobLog") == set()
    assert "error" in json.loads(error)
