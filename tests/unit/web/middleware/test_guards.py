"""A request reaches the application if no rule refuses it."""

from types import SimpleNamespace

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from config import Settings
from errors import CrossSiteRequestError, KeyRequiredError, ServiceError
from tests.support.records import SETTINGS
from web.middleware.guards import GuardMiddleware, Rule


def refuses(error: type[ServiceError]) -> Rule:
    """Return a rule that refuses every request."""

    def rule(_scope: Scope, settings: Settings) -> ServiceError:
        assert settings is SETTINGS
        return error()

    return rule


def allows(_scope: Scope, _settings: Settings) -> None:
    """Refuse no request."""


def status(*rules: Rule, kind: str = "http") -> int:
    """Return the status of a request under these rules; the application answers 204."""
    sent: list[Message] = []

    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        pytest.fail("the body is read")

    state = {"resources": SimpleNamespace(settings=SETTINGS)}
    scope = {"type": kind, "method": "GET", "path": "/", "headers": [], "state": state}
    guarded = GuardMiddleware(application, rules)
    anyio.run(guarded, scope | {"query_string": b"", "server": ("x", 80)}, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], 204),
        ([allows, allows], 204),
        ([allows, refuses(KeyRequiredError)], 401),
        ([refuses(CrossSiteRequestError), refuses(KeyRequiredError)], 403),
    ],
)
def test_first_refusal(rules: list[Rule], expected: int) -> None:
    """The first rule that refuses a request decides, before its body is read."""
    assert status(*rules) == expected


def test_other_scopes() -> None:
    """Rules apply to requests, not to the lifespan of the application."""
    assert status(refuses(KeyRequiredError), kind="lifespan") == 204
