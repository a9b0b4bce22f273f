"""The fenced blocks of docs/operations.md, selected by language and mark."""

import re
from typing import NamedTuple

from devstack.service_process import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()


class Block(NamedTuple):
    """A fenced block: its language, its text and the heading above it."""

    language: str
    text: str
    heading: str

    @property
    def mark(self) -> str:
        """The first line's mark: `AWS only`, `needs Docker`, or an empty string."""
        found = re.match(r"# (AWS only|needs Docker)\n", self.text)
        return found[1] if found else ""


def blocks(language: str, mark: str = "") -> list[Block]:
    """Return the blocks with this language and this mark."""
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        heading = section.partition("\n")[0]
        fenced = re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        found += [Block(name, text, heading) for name, text in fenced]
    return [block for block in found if block.language == language and block.mark == mark]
