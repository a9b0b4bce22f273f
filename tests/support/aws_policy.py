"""IAM without AWS: which action a request needs, and which permissions a policy has.

The actions are those of AWS's "Service Authorization Reference". What is not known here raises
instead of being allowed: a parameter may select another action, a condition may refuse one.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.runbook import blocks

_ACTIONS = {
    ("PUT", "object"): "s3:PutObject",
    ("GET", "object"): "s3:GetObject",
    ("HEAD", "object"): "s3:GetObject",
    ("DELETE", "object"): "s3:DeleteObject",
    ("GET", "bucket"): "s3:ListBucket",
    ("HEAD", "bucket"): "s3:ListBucket",
}
# None of these parameters and headers changes the action. Others do, such as `versionId`,
# `tagging`, `x-amz-acl` and `x-amz-copy-source`.
_PARAMETERS = re.compile(
    "list-type|prefix|delimiter|encoding-type|continuation-token|max-keys"
    "|x-id|response-[a-z-]+"
    "|x-amz-(algorithm|credential|date|expires|security-token|signedheaders|signature)",
    re.IGNORECASE,
)
_HEADERS = re.compile(
    "x-amz-(date|security-token|content-sha256|decoded-content-length|trailer|meta-name"
    "|sdk-checksum-algorithm|checksum-(sha256|crc32|mode))"
)
_STATEMENT = {"Effect", "Action", "Resource", "Sid"}


class Call(NamedTuple):
    """An action on a resource, whose name is an ARN."""

    action: str
    resource: str


def s3_call(method: str, target: str, headers: Iterable[str]) -> Call:
    """Return what a request to S3 in path style does, by the names of its headers.

    Raises ValueError if that is unknown.
    """
    url = urlsplit(target)
    key = url.path.removeprefix("/").partition("/")[2]
    parameters = {name for name, _ in parse_qsl(url.query, keep_blank_values=True)}
    names = {name.lower() for name in headers}
    odd = [name for name in parameters if not _PARAMETERS.fullmatch(name)]
    odd += [name for name in names if name.startswith("x-amz-") and not _HEADERS.fullmatch(name)]
    listing = "list-type" in parameters
    kind = "object" if key else "bucket"
    if odd or (method, kind) not in _ACTIONS or listing is not (method + kind == "GETbucket"):
        raise ValueError(f"unknown request to S3: {method} {target}, {odd}")
    return Call(_ACTIONS[method, kind], f"arn:aws:s3:::{unquote(url.path.strip('/'))}")


def rds_call(token: str, account: str, instance: str) -> Call:
    """Return what signing in to an RDS instance with a token of IAM does.

    Raises ValueError if the token is for something else.
    """
    parameters = dict(parse_qsl(urlsplit(f"//{token}").query))
    _, _, region, service, _ = parameters["X-Amz-Credential"].split("/")
    if (parameters["Action"], service) != ("connect", "rds-db"):
        raise ValueError(f"unknown token: {parameters}")
    user = parameters["DBUser"]
    return Call("rds-db:connect", f"arn:aws:rds-db:{region}:{account}:dbuser:{instance}/{user}")


class Permission(NamedTuple):
    """What one action and one resource of a statement allow; both may contain `*` and `?`."""

    action: str
    resource: str

    def allows(self, call: Call) -> bool:
        """Tell whether the permission covers the call."""
        action = _matches(self.action.lower(), call.action.lower())
        return action and _matches(self.resource, call.resource)


def permissions(policy: Mapping[str, Any]) -> Iterator[Permission]:
    """Yield the permissions of a policy. Raises ValueError if it does anything but allow."""
    for statement in _listed(policy["Statement"]):
        if statement["Effect"] != "Allow" or not statement.keys() <= _STATEMENT:
            raise ValueError(f"unknown statement: {statement}")
        pairs = product(_listed(statement["Action"]), _listed(statement["Resource"]))
        yield from (Permission(*pair) for pair in pairs)


def role_permissions(bucket: str = "my-images") -> list[Permission]:
    """Return the permissions of policy.json in docs/operations.md, for this bucket."""
    (text,) = (block.text for block in blocks("json") if "rds-db:connect" in block.text)
    return list(permissions(json.loads(text.replace("my-images", bucket))))


def refused(calls: Iterable[Call], granted: Iterable[Permission]) -> list[str]:
    """Return a sentence for each call that no permission allows."""
    allowed = list(granted)
    return [
        f"the role may not {call.action} {call.resource}"
        for call in calls
        if not any(permission.allows(call) for permission in allowed)
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _matches(pattern: str, text: str) -> bool:
    parts = {"*": ".*", "?": "."}
    expression = "".join(parts.get(letter) or re.escape(letter) for letter in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None
