"""Check what the service needs from its database and bucket: `python -m scripts.doctor`.

Prints a line for each permission and assumption: `ok`, `warning` or `FAILED`, the observation, and
the fix. Exit status 1 if a check failed. It is safe while the service runs: it rolls back what it
writes into the tables, and deletes the small objects that it puts into the bucket.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from config import ApiKey, Settings, load_settings
from errors import ConfigurationError
from resources import Resources
from scripts.command_line import build_parser, run
from scripts.doctor.bucket_checks import BUCKET_CHECKS, FIXES, code_of
from scripts.doctor.checks import Check, CheckFailed, CheckWarning, Status, Subject, check
from scripts.doctor.database_checks import DATABASE_CHECKS


class Result(NamedTuple):
    """The outcome of a check: what it saw and, unless it is ok, the fix."""

    title: str
    status: Status
    seen: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f". Fix: {self.fix}" if self.fix else ""
        return f"{self.status:<8} {self.title}: {self.seen}{fix}"


def main(arguments: list[str] | None = None) -> int:
    """Print the result of each check of the configured service; return the exit status."""
    build_parser("doctor", __doc__).parse_args(arguments)
    failed = False
    try:
        for result in examine(load_settings()):
            print(result, flush=True)
            failed |= result.status is Status.FAILED
    except ConfigurationError as exc:
        seen = exc.detail.removeprefix("Configuration: ").rstrip(".")
        print(Result("settings", Status.FAILED, seen, "see .env.example"))
        return 1
    return int(failed)


@check("API keys", "set API_KEYS, or authenticate clients in a proxy")
def _access(subject: Subject) -> str:
    """Describe what each key allows."""
    settings = subject.settings
    if not settings.api_keys:
        return "none: anyone who can reach the service may read, write and delete"
    names = ", ".join(f"{key.name} ({_described(key)})" for key in settings.api_keys)
    readers = {True: "public", "images": "public by name", False: "for keys only"}
    return f"{names}; reading is {readers[settings.public_reads]}"


def _described(key: ApiKey) -> str:
    return f"{key.scope} {key.prefix}*" if key.prefix else key.scope


@check("times", "set UPLOAD_GRACE_SECONDS well above S3_PUT_TIMEOUT_SECONDS")
def _times(subject: Subject) -> str:
    """Compare settings that depend on each other."""
    settings = subject.settings
    longest = settings.connect_timeout_seconds + 2 * settings.s3_put_timeout_seconds
    if settings.upload_grace_seconds <= longest:
        raise CheckWarning("the sweeper may abort an upload that is still running")
    return f"a PUT takes at most {longest:g} s: to connect, to send, and to be answered"


def examine(settings: Settings) -> Iterator[Result]:
    """Yield the result of each check. Raises ConfigurationError before the first one."""
    unmet: set[str] = set()  # the titles of failed and skipped checks
    with Resources.open(settings) as resources, closing(Subject(resources)) as subject:
        for each in (_times, _access, *DATABASE_CHECKS, *BUCKET_CHECKS):
            if each.needs in unmet:
                seen = f"not tested, because this failed: {each.needs}"
                result = Result(each.title, Status.WARNING, seen)
            else:
                result = _run(each, subject)
            if each.needs in unmet or result.status is Status.FAILED:
                unmet.add(each.title)
            yield result


def _run(each: Check, subject: Subject) -> Result:
    try:
        return Result(each.title, Status.OK, each.run(subject))
    except CheckFailed as exc:
        return Result(each.title, exc.status, str(exc), exc.fix or each.fix)
    except Exception as exc:  # noqa: BLE001 - any error of a check is a finding
        return Result(each.title, Status.FAILED, _cause(exc), FIXES.get(code_of(exc), each.fix))


def _cause(exc: Exception) -> str:
    """Return the first line of the cause of an error; in later lines SQLAlchemy quotes SQL."""
    sentence = str(exc.__cause__ or exc).partition("\n")[0].removeprefix("Configuration: ")
    return sentence.rstrip(".") or type(exc).__name__


if __name__ == "__main__":
    run(main)
