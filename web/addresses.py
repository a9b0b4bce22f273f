"""Builds all addresses that the service gives to clients.

An address contains the tag of its version, so an overwrite changes it, and caches may keep the
response forever.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self
from urllib.parse import quote, unquote_plus

from starlette.requests import Request

from config import Settings
from services.image_store import ImageRecord
from services.tags import image_tag, variant_tag
from web.caller import caller
from web.signed_links import link_parameters

VERSION = "v"


class Address(NamedTuple):
    """The address of the current version of an image or a variant."""

    path: str
    tag: str

    def __str__(self) -> str:
        return f"{self.path}?{VERSION}={self.tag}"

    def moved(self, version: str, query: str) -> str | None:
        """Return the address to which a request for another `version` is redirected.

        It keeps the other parameters of the request's `query`. Returns None for the current version
        and for a request without a version.
        """
        if version in {"", self.tag}:
            return None
        parameters = [part for part in query.split("&") if part and not _is_version(part)]
        return "&".join([str(self), *parameters])


@dataclass(frozen=True, slots=True)
class Addresses:
    """Builds addresses as one client sees them: below `root_path`, the prefix of a proxy.

    `all_of` and `without_version` append the parameters of a signed `link`, if there is one.
    """

    root_path: str
    variants: tuple[str, ...]
    variant_formats: tuple[str, ...]
    link: str = ""

    @classmethod
    def of(cls, request: Request, settings: Settings) -> Self:
        """Return the builder for the client of `request`.

        A client that reads by a link gets addresses with the same link.
        """
        root_path: str = request.scope.get("root_path", "")
        signed = caller.get().link
        link = link_parameters(request.url.query) if signed and signed.allows == "read" else ""
        return cls(root_path, settings.variants, settings.variant_formats, link)

    def image(self, image: ImageRecord) -> Address:
        """Return the address of the bytes of an image."""
        return Address(self.root_path + image_path(image.name), image_tag(image.sha256))

    def variant(self, image: ImageRecord, variant: str) -> Address:
        """Return the address of a variant, such as `320` or `320.webp`, of an image."""
        path = f"{self.root_path}{image_path(image.name)}/variants/{variant}"
        return Address(path, variant_tag(image.sha256, self.variant_formats))

    def all_of(self, image: ImageRecord) -> tuple[str, dict[str, str]]:
        """Return the address of an image, and the addresses of its variants by their sizes."""
        end = f"&{self.link}" if self.link else ""
        of_image = f"?{VERSION}={image_tag(image.sha256)}{end}"
        of_variants = f"?{VERSION}={variant_tag(image.sha256, self.variant_formats)}{end}"
        return self._all_of(image.name, of_image, of_variants)

    def without_version(self, name: str) -> tuple[str, dict[str, str]]:
        """Return the addresses of an image, which need not exist, and its variants."""
        return self._all_of(name, f"?{self.link}", f"?{self.link}")

    def _all_of(self, name: str, of_image: str, of_variants: str) -> tuple[str, dict[str, str]]:
        """Return addresses with these queries."""
        url = self.root_path + image_path(name)
        below = f"{url}/variants/"
        return url + of_image, {size: f"{below}{size}{of_variants}" for size in self.variants}


def requested_version(request: Request) -> str:
    """Return the version in the address of a request, the last one of several, or ""."""
    return request.query_params.get(VERSION, "")


def image_path(name: str) -> str:
    """Return the path of the image `name`."""
    return f"/images/{quote(name, safe='')}"


def all_paths(name: str, settings: Settings) -> list[str]:
    """Return every path at which the service serves the image `name`, a variant or its metadata."""
    path = image_path(name)
    endings = ["", *(f".{encoding}" for encoding in settings.variant_formats)]
    variants = [variant + ending for variant in settings.variants for ending in endings]
    return [path, f"{path}/metadata", *(f"{path}/variants/{variant}" for variant in variants)]


def _is_version(parameter: str) -> bool:
    return unquote_plus(parameter.partition("=")[0]) == VERSION
