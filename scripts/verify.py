"""Compare bucket and tables: `python -m scripts.verify [--deep] [--repair] [--json]`.

Finds image rows whose object is lost, objects that neither a row nor the journal names (orphans),
and objects that are not what their row says: by size, and with --deep by SHA-256, for which every
object is read. The bucket must be the service's own: what strangers keep there counts as orphans.

Changes nothing but with --repair, which puts orphans into the journal; the sweeper deletes them
when its horizon (PUT_HORIZON_SECONDS) is over. Until then docs/backup-and-restore.md says how to
save them. Lost and altered images are for people to repair: upload them again, or delete them.

--json prints JSON Lines, because findings may be many: one object for each, {"damage", "key",
"name", "row": {"size_bytes", "sha256"}, "object": {"size_bytes", "sha256"}, "journaled"}, with
null for what there is not, and at last {"summary": {...}} or {"error": "..."}.

Exit status: 0 clean (or all journaled), 1 damage, 2 it could not be checked.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from config import Settings, load_settings
from errors import ConfigurationError, UnavailableError
from resources import Resources
from scripts.command_line import build_parser, explain, run
from services.maintenance.verification import Damage, Finding, Progress, VerifyReport

CLEAN, DAMAGED, UNCHECKED = 0, 1, 2

_BAR_WIDTH = 30  # characters
_BAR_PAUSE = 0.1  # seconds between two drawings of the bar
_CLEAR_LINE = "\r\x1b[K"


def main(arguments: list[str] | None = None) -> int:
    """Verify once and print what was found; return the exit status."""
    options = _parse(arguments)
    try:
        report = _verify(load_settings(), options)
    except BrokenPipeError:
        raise
    except (ConfigurationError, UnavailableError, OSError) as exc:
        _clear_bar()
        reason = explain(exc)
        print(json.dumps({"error": reason}) if options.json else reason, file=_errors_to(options))
        return UNCHECKED
    _clear_bar()
    print(json.dumps({"summary": _summary(report)}) if options.json else _sentence(report))
    return _exit_status(report)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = build_parser("verify", __doc__)
    parser.add_argument("--deep", action="store_true", help="read and hash every object")
    parser.add_argument("--repair", action="store_true", help="journal the orphans")
    parser.add_argument("--json", action="store_true", help="print JSON Lines")
    return parser.parse_args(arguments)


def _errors_to(options: argparse.Namespace) -> Any:
    return sys.stdout if options.json else sys.stderr


def _verify(settings: Settings, options: argparse.Namespace) -> VerifyReport:
    with Resources.open(settings) as resources:
        verifier = resources.verifier(deep=options.deep, repairs=options.repair)
        return verifier.verify(_printer(as_json=options.json), _progress())


def _exit_status(report: VerifyReport) -> int:
    if report.clean:
        return CLEAN
    remaining = report.found.total() - report.journaled
    return UNCHECKED if remaining == report.found[Damage.UNREADABLE] else DAMAGED


# --- for people -----------------------------------------------------------------------------------


def _printer(*, as_json: bool) -> Callable[[Finding], None]:
    def show(finding: Finding) -> None:
        _clear_bar()
        print(json.dumps(_document(finding)) if as_json else _line(finding), flush=True)

    return show


def _line(finding: Finding) -> str:
    """Describe a finding; repr, because a stranger's key may hold control characters."""
    image = f" of image {finding.image.name!r}" if finding.image else ""
    journaled = ": journaled" if finding.journaled else ""
    return f"{finding.damage:<10} {finding.key!r}{image}{_difference(finding)}{journaled}"


def _difference(finding: Finding) -> str:
    if finding.image is None or finding.stored is None:
        return ""
    if finding.damage is Damage.WRONG_SIZE:
        return f": {finding.stored.size_bytes} bytes instead of {finding.image.size_bytes}"
    if finding.damage is Damage.ALTERED:
        return f": SHA-256 {finding.stored.sha256} instead of {finding.image.sha256}"
    return ""


def _sentence(report: VerifyReport) -> str:
    seen = f"{report.objects} objects, {report.images} images, {report.entries} journal entries"
    seen += f", {report.variants} variants" if report.variants else ""
    found = ", ".join(f"{count} {damage}" for damage, count in sorted(report.found.items()))
    journaled = f" ({report.journaled} journaled)" if report.journaled else ""
    return f"{seen}: {found or 'clean'}{journaled}"


def _progress() -> Progress:
    """Return what draws the bar, or does nothing where nobody looks."""
    if not sys.stderr.isatty():
        return lambda _what, _done, _total: None
    drawn = -_BAR_PAUSE

    def draw(what: str, done: int, total: int | None) -> None:
        nonlocal drawn
        if time.monotonic() - drawn >= _BAR_PAUSE or done == total:
            drawn = time.monotonic()
            print(_CLEAR_LINE + _bar(what, done, total), end="", file=sys.stderr, flush=True)

    return draw


def _bar(what: str, done: int, total: int | None) -> str:
    if not total:
        return f"{what} {done:,}"
    full = min(done, total) * _BAR_WIDTH // total
    return f"{what} [{'#' * full}{'.' * (_BAR_WIDTH - full)}] {done:,} of {total:,}"


def _clear_bar() -> None:
    if sys.stderr.isatty():
        print(_CLEAR_LINE, end="", file=sys.stderr, flush=True)


# --- for machines ---------------------------------------------------------------------------------


def _document(finding: Finding) -> dict[str, Any]:
    image, stored = finding.image, finding.stored
    return {
        "damage": finding.damage,
        "key": finding.key,
        "name": image.name if image else None,
        "row": image and {"size_bytes": image.size_bytes, "sha256": image.sha256},
        "object": stored and {"size_bytes": stored.size_bytes, "sha256": stored.sha256},
        "journaled": finding.journaled,
    }


def _summary(report: VerifyReport) -> dict[str, Any]:
    return {
        "clean": report.clean,
        "objects": report.objects,
        "images": report.images,
        "variants": report.variants,
        "journal_entries": report.entries,
        "found": {damage: report.found[damage] for damage in Damage},
        "journaled": report.journaled,
    }


if __name__ == "__main__":
    run(main)
