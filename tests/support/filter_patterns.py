"""Filter patterns of CloudWatch Logs, as far as deploy/aws.yaml uses them.

AWS: "Filter pattern syntax for metric filters". A pattern in braces is about a JSON object, one in
brackets about a line of fields that are separated by spaces.
"""

import json
import re
from fnmatch import fnmatchcase
from typing import Any

_COMPARISON = re.compile(r'\$\.([\w.]+) (?:= "([^"]*)"|IS (TRUE|FALSE))')
_FIELD = re.compile(r'(\w+)(?:="([^"]*)"| > (\d+))?')


def matches(pattern: str, line: str) -> bool:
    """Whether a line matches. Raises ValueError for a pattern that this does not know."""
    if pattern.startswith("{") and pattern.endswith("}"):
        return _matches_object(pattern[1:-1], line)
    if pattern.startswith("[") and pattern.endswith("]"):
        return fields(pattern, line) is not None
    raise ValueError(pattern)


def fields(pattern: str, line: str) -> dict[str, str] | None:
    """Return the fields of a line by the names in a pattern, None if it does not match."""
    words, specs = line.split(" "), pattern[1:-1].split(", ")
    if len(words) != len(specs):
        return None
    found = {}
    for spec, word in zip(specs, words, strict=True):
        if not (match := _FIELD.fullmatch(spec)):
            raise ValueError(spec)
        name, text, least = match.groups()
        if text is not None and not fnmatchcase(word, text):
            return None
        if least is not None and not (word.isdigit() and int(word) > int(least)):
            return None
        found[name] = word
    return found


def _matches_object(comparisons: str, line: str) -> bool:
    try:
        document = json.loads(line)
    except ValueError:
        return False
    return any(_holds(each.strip(" ()"), document) for each in comparisons.split("||"))


def _holds(comparison: str, document: Any) -> bool:
    if not (match := _COMPARISON.fullmatch(comparison)):
        raise ValueError(comparison)
    path, text, truth = match.groups()
    value = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if truth:
        return value is (truth == "TRUE")
    return isinstance(value, str) and fnmatchcase(value, text)
