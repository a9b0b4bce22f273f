"""The requests for variants, of the service and of its peers."""

from dataclasses import dataclass
from functools import partial

import urllib3

from benchmarks.deployment import Deployment, Row
from benchmarks.load import Load, Slot, Template
from benchmarks.peers import IPX, THUMBOR
from benchmarks.pictures import PICTURES, picture, similarity

WARM_UPS = 3  # cold requests before those that count

# For each picture: how many of its variants are made one after another, and which ones.
_WANTED = {
    "12 MP JPEG": (20, ("320 jpg", "320 webp", "320 avif", "1280 webp")),
    "2 MP PNG": (24, ("320 webp",)),
    "1 MP WebP": (32, ("320 webp",)),
}
_THUMBOR, _IPX = "/unsafe/fit-in/{0}x{0}/filters:format({1})/", "/s_{0}x{0},fit_inside,f_{1}/"


@dataclass(frozen=True)
class Variant:
    """A smaller picture that fits in a square of `side`."""

    picture: str
    side: int
    extension: str

    def path(self, service: str, name: Template) -> Template:
        """Return the path under which that service makes it of the picture with that name."""
        if service in {THUMBOR, IPX}:
            file_format = "jpeg" if self.extension == "jpg" else self.extension
            command = (_THUMBOR if service == THUMBOR else _IPX).format(self.side, file_format)
            return (command.encode(), *name, f".{PICTURES[self.picture][0]}".encode())
        return (b"/images/", *name, f"/variants/{self.side}.{self.extension}".encode())


def _store(deployment: Deployment, of: str, name: str) -> None:
    """Give the service or the peer a picture."""
    if deployment.setting.service in {THUMBOR, IPX}:
        (deployment.process.folder / f"{name}.{PICTURES[of][0]}").write_bytes(picture(of))
        return
    url = f"{deployment.base_url}/images/{name}"
    answer = urllib3.request("PUT", url, body=picture(of))
    if answer.status not in {200, 201}:
        raise RuntimeError(f"PUT {url} answered {answer.status}: {answer.data!r}")


def _cold(deployment: Deployment, variant: Variant, times: int) -> Load:
    """Store that many pictures; the load asks for a variant of each."""
    path = variant.path(deployment.setting.service, (b"cold-", Slot.SERIAL))
    load = Load(deployment.base_url, (path,)).with_new_serials()
    for number in range(times):
        _store(deployment, variant.picture, f"cold-{load.first_serial + number:016d}")
    return load


def _warm(deployment: Deployment, variant: Variant) -> Load:
    """Store one picture; the load asks for the same variant of it again and again."""
    name = f"warm-{variant.picture}".replace(" ", "-")
    _store(deployment, variant.picture, name)
    return Load(deployment.base_url, (variant.path(deployment.setting.service, (name.encode(),)),))


COLD: dict[str, Row] = {}
WARM: dict[str, Row] = {}
"""The rows of variants that are made and stored, and of those that are stored already."""

for _picture, (_times, _labels) in _WANTED.items():
    for _label in _labels:
        _side, _, _extension = _label.partition(" ")
        _variant = Variant(_picture, int(_side), _extension)
        COLD[f"cold {_label} of {_picture}"] = Row(
            partial(_cold, variant=_variant, times=WARM_UPS + _times),
            times=_times,
            judge=partial(similarity, _picture),
        )
        WARM[f"warm {_label} of {_picture}"] = Row(partial(_warm, variant=_variant))
