"""An SVG chart of the CPU per request of this service and of Supabase Storage."""

from html import escape

from benchmarks.peer import PEER_CPU_MS
from benchmarks.results import Results
from benchmarks.table import number

_LABELS, _BARS, _VALUES = 130, 420, 90  # widths
_LINE, _BAR, _TOP = 40, 14, 56  # heights
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333 }
.title { font-weight: 600 }
.ours { fill: #0b7285 }
.peer { fill: #ced4da }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .ours { fill: #3bc9db } .peer { fill: #5c636a }
}
"""


def svg(results: Results) -> str:
    """Draw a pair of bars for each row of the peer; the longer bar of each pair has full length."""
    pairs = [
        (row, found.cpu_ms, peer)
        for row, setting, peer in PEER_CPU_MS
        if (found := results.find(row, **setting))
    ]
    width, height = _LABELS + _BARS + _VALUES, _TOP + _LINE * len(pairs)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img">',
        "<title>CPU time per request, this service and Supabase Storage 1.11</title>",
        f"<style>{_STYLE}</style>",
        '<text x="0" y="16" class="title">CPU ms per request, 16 clients; shorter is better</text>',
        *_legend(),
    ]
    for index, (row, ours, peer) in enumerate(pairs):
        lines += _pair(_TOP + index * _LINE, row, ours, peer)
    return "\n".join([*lines, "</svg>", ""])


def _legend() -> list[str]:
    return [
        f'<rect x="0" y="26" width="{_BAR}" height="{_BAR}" class="ours"/>',
        '<text x="20" y="38">this service</text>',
        f'<rect x="{_LABELS}" y="26" width="{_BAR}" height="{_BAR}" class="peer"/>',
        f'<text x="{_LABELS + 20}" y="38">Supabase Storage 1.11, another run</text>',
    ]


def _pair(top: int, row: str, ours: float, peer: float) -> list[str]:
    lines = [f'<text x="0" y="{top + 19}">{escape(row)}</text>']
    for name, value, y in (("ours", ours, top), ("peer", peer, top + _BAR)):
        length = round(_BARS * value / max(ours, peer))
        lines += [
            f'<rect x="{_LABELS}" y="{y}" width="{length}" height="{_BAR - 1}" class="{name}"/>',
            f'<text x="{_LABELS + length + 6}" y="{y + 11}">{number(value)}</text>',
        ]
    return lines
