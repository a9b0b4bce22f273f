"""The service starts with exactly what deploy/aws.yaml gives its containers, on moto."""

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256

import httpx
import pytest
from sqlalchemy import make_url

from adapters.rds_iam import token_source
from devstack.databases import connection
from devstack.object_store import ObjectStore
from tests.support.aws_policy import rds_call, refused
from tests.support.cloudformation import REQUIRED
from tests.support.metered_service import S3Meter
from tests.support.moto_stack import ACCOUNT, INSTANCE, REGION, MotoStack, unknown_to_moto
from tests.support.moto_store import moto_store
from tests.support.pictures import png
from tests.support.private_servers import private_server
from tests.support.stack_processes import Deployment
from tests.support.uploads import problem, upload

TOKEN = "a-key"
API_KEYS = f"web:write:{sha256(TOKEN.encode()).hexdigest()}"
PARAMETERS = {"ApiKeys": API_KEYS, "PublicReads": "false"}
# As RDS sets up its administrator, and the role whose members sign in with tokens of IAM.
RDS = (
    "CREATE ROLE rds_iam",
    "CREATE USER dbadmin CREATEROLE PASSWORD '{password}'",
    "GRANT rds_iam TO dbadmin WITH ADMIN OPTION",
    "CREATE DATABASE images OWNER dbadmin",
)
# These are not deployed; neither is the RDS instance.
NOT_IN_MOTO = {
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::CloudFront::CachePolicy",
    "AWS::CloudFront::Distribution",
    "AWS::CloudFront::VpcOrigin",
    "AWS::CloudWatch::Alarm",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::Scheduler::Schedule",
    "AWS::SecretsManager::Secret",
}
ENCRYPTED = """
SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
WHERE usename = 'images' AND datname = 'images' AND ssl
"""


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """Deploy the stack, with PostgreSQL in place of RDS, and run `prepare`, as ECS does first."""
    password = secrets.token_hex(8)
    with ExitStack() as ends:
        server = ends.enter_context(private_server("postgresql"))
        server.execute(*(statement.format(password=password) for statement in RDS))
        moto = ends.enter_context(moto_store())
        stack = MotoStack(moto.url, PARAMETERS, (*server.address, password))
        meter = ends.enter_context(S3Meter(ObjectStore(moto.url, "key", "secret")))
        deployment = Deployment(stack, server, meter)
        with deployment.running("HousekeepingTask", "prepare") as prepare:
            assert prepare.wait() == 0, prepare.log()
            assert "User images created." in prepare.log()
        yield deployment


def test_left_out() -> None:
    """The list of what moto cannot deploy is right."""
    assert unknown_to_moto() == NOT_IN_MOTO


def test_prepare_again(deployment: Deployment) -> None:
    """The next version's `prepare` passes, even if RDS refuses the administrator by then."""
    deployment.server.execute("ALTER USER dbadmin NOLOGIN")
    with deployment.running("HousekeepingTask", "prepare") as prepare:
        assert prepare.wait() == 0, prepare.log()
        assert "User images exists." in prepare.log()


def test_service(deployment: Deployment) -> None:
    """The service becomes healthy and ready, and clients with the key upload, read and delete."""
    target = deployment.stack.target_group()
    with deployment.running("ServiceTask", "service") as service:
        assert service.ports == [str(target["Port"])]
        service.wait_until(service.is_healthy)
        assert httpx.get(service.url + target["HealthCheckPath"]).status_code == 200
        host = {"Host": REQUIRED["DomainName"]}
        with httpx.Client(base_url=service.url, headers=host, timeout=60) as client:
            problem(upload(client, png(), "a.png"), 401, "key_required")
            client.headers["Authorization"] = f"Bearer {TOKEN}"
            assert upload(client, png(), "a.png").status_code == 201
            assert client.get("/images/a").content == png()
            wanted = {"allows": "read", "expires_in": 600}
            link = client.post("/images/a/links", json=wanted).json()["url"]
            assert httpx.get(service.url + link, headers=host).content == png()
            assert client.delete("/images/a").status_code == 200
            problem(client.get("/images/a"), 404, "image_not_found")
        with connection(deployment.server.url) as db:
            assert db.exec_driver_sql(ENCRYPTED).scalar_one() > 0


def test_sweeper(deployment: Deployment) -> None:
    """The sweeper sweeps."""
    with deployment.running("HousekeepingTask", "sweeper") as sweeper:
        sweeper.wait_until(lambda: "0 failed" in sweeper.log())


def test_verify(deployment: Deployment) -> None:
    """The verification finds bucket and tables clean, and says so as the metric filters expect."""
    with deployment.running("VerifyTask", "verify") as verify:
        assert verify.wait() == 0, verify.log()
        assert json.loads(verify.log().splitlines()[-1])["summary"]["clean"] is True


def test_role(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The role of the tasks allows every request to S3 and the sign-in, and no more."""
    for name, value in deployment.stack.credentials("ServiceTask").items():
        monkeypatch.setenv(name, value)
    (service,) = deployment.stack.containers("ServiceTask").values()
    url = make_url(deployment.environment("ServiceTask", service)["DB_URL"])
    token = token_source(url, REGION)()
    calls = {*deployment.meter.calls(), rds_call(token, ACCOUNT, INSTANCE)}
    granted = deployment.stack.permissions("TaskRole")
    assert refused(calls, granted) == []
    for needed in granted:
        assert refused(calls, (other for other in granted if other != needed)), needed
