"""A load generator with wrk: one thread and a Lua script that renders the requests."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.load import STRIDE, Load, Slot, Summary, Template
from devstack.processes import die_with_parent

_READ = """
local function read(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read("*a")
  file:close()
  return content
end
"""
_REQUEST = """
local function render(template, slots)
  local parts = {}
  for i, part in ipairs(template) do parts[i] = slots[part] or part end
  return table.concat(parts)
end

local n = -1
function request()
  n = n + 1
  local slots = {
    index = string.format("%07.0f", n * stride % indices),
    serial = string.format("%016.0f", first_serial + n),
  }
  local path = render(paths[n % #paths + 1], slots)
  return wrk.format(method, path, headers, #body > 0 and render(body, slots) or nil)
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "seconds": %f, "errors": %d, "p50_ms": %f, "p99_ms": %f}\\n',
    summary.requests, summary.duration / 1e6, e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


def install() -> str | None:
    """Return the version of wrk after installing it (Debian, as root); None if that fails."""
    if not shutil.which("wrk") and os.geteuid() == 0 and (apt_get := shutil.which("apt-get")):
        command = [apt_get, "install", "--yes", "--no-install-recommends", "wrk"]
        subprocess.run(command, check=False, stdout=sys.stderr, stdin=subprocess.DEVNULL)
    if not (wrk := shutil.which("wrk")):
        return None
    banner = subprocess.run([wrk, "-v"], check=False, capture_output=True, text=True).stdout
    return banner.split()[1]


def run(load: Load, clients: int, seconds: int) -> Summary:
    """Send `load` for `seconds` over one connection per client."""
    with tempfile.TemporaryDirectory(prefix="wrk-") as folder:
        script = Path(folder) / "load.lua"
        script.write_text(_script(load, Path(folder)))
        options = ["-t1", f"-c{clients}", f"-d{seconds}", "--timeout=20", "-s", str(script)]
        finished = subprocess.run(
            ["wrk", *options, load.base_url],  # noqa: S607 - found in PATH
            check=True,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGKILL),
        )
    return Summary(**json.loads(finished.stdout.splitlines()[-1]))


def _script(load: Load, folder: Path) -> str:
    headers = ", ".join(f"[{_quoted(k)}] = {_quoted(v)}" for k, v in load.headers.items())
    constants = {
        "stride": str(STRIDE),
        "indices": str(load.indices),
        "first_serial": str(load.first_serial),
        "method": _quoted(load.method),
        "headers": f"{{{headers}}}",
        "paths": f"{{{', '.join(_table(path, folder) for path in load.paths)}}}",
        "body": _table(load.body, folder),
    }
    return _READ + "".join(f"local {k} = {v}\n" for k, v in constants.items()) + _REQUEST


def _table(template: Template, folder: Path) -> str:
    """Render a template as a Lua table; Lua reads its bytes once from files."""
    parts = []
    for part in template:
        if isinstance(part, Slot):
            parts.append(_quoted(part.value))
            continue
        file = folder / f"part-{len(list(folder.iterdir()))}"
        file.write_bytes(part)
        parts.append(f"read({_quoted(str(file))})")
    return f"{{{', '.join(parts)}}}"


def _quoted(text: str) -> str:
    """Quote for Lua, which understands the JSON escapes that occur here."""
    return json.dumps(text)
