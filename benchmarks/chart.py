"""An SVG chart of the CPU per request of this service and of its peers."""

from html import escape

from benchmarks.comparison import NAMES, Comparison, requests, variants
from benchmarks.results import Results
from benchmarks.table import number

_LABELS, _BARS, _VALUES = 225, 170, 65  # widths
_COLUMN = _LABELS + _BARS + _VALUES
_BAR, _GAP, _TOP = 13, 9, 82  # heights
_LEGEND = (0, 90, 250, 375, 445)  # where the names start, from left to right
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333 }
.title { font-weight: 600 }
.ours { fill: #0b7285 } .plain { fill: #adb5bd } .supabase { fill: #63c08f }
.thumbor { fill: #e8956b } .ipx { fill: #9b8bd8 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .ours { fill: #3bc9db } .plain { fill: #6c757d }
}
"""


def svg(results: Results) -> str:
    """Draw a bar for each service and request; the longest bar of each request has full length."""
    columns = {
        "Requests, 16 clients": requests(results),
        "Variants: cold with one client, warm with 16": variants(results),
    }
    width = _COLUMN * len(columns)
    height = _TOP + max(sum(map(_height, column)) for column in columns.values())
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>CPU time per request of this service and of its peers</title>",
        f"<style>{_STYLE}</style>",
        '<text x="0" y="16" class="title">CPU ms per request; shorter is better</text>',
        *_legend(),
    ]
    for index, (title, column) in enumerate(columns.items()):
        left, top = index * _COLUMN, _TOP
        lines.append(f'<text x="{left}" y="{_TOP - 12}" class="title">{escape(title)}</text>')
        for one in column:
            lines += _block(left, top, one)
            top += _height(one)
    return "\n".join([*lines, "</svg>", ""])


def _height(one: Comparison) -> int:
    return _BAR * len(one.figures) + _GAP


def _legend() -> list[str]:
    lines = []
    for left, (service, name) in zip(_LEGEND, NAMES.items(), strict=True):
        x = left * 3 // 2
        lines += [
            _bar(x, 28, _BAR, service),
            f'<text x="{x + 20}" y="40">{escape(name)}</text>',
        ]
    return lines


def _block(left: int, top: int, one: Comparison) -> list[str]:
    lines = [f'<text x="{left}" y="{top + 11}">{escape(one.row)}</text>']
    longest = max(figure.cpu_ms for figure in one.figures)
    start = left + _LABELS
    for index, figure in enumerate(one.figures):
        y, length = top + index * _BAR, max(1, round(_BARS * figure.cpu_ms / longest))
        lines += [
            _bar(start, y, length, figure.service),
            f'<text x="{start + length + 5}" y="{y + 10}">{number(figure.cpu_ms)}</text>',
        ]
    return lines


def _bar(x: int, y: int, width: int, service: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{_BAR - 2}" class="{service}"/>'
