"""The JSON models of requests and responses.

A field of `ImageMetadata` that no code sets is the field of `ImageRecord` with the same name.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.config import JsonDict

Right = Literal["read", "variants", "upload"]
"""What a link allows."""

_EXAMPLE: JsonDict = {
    "name": "sunset",
    "size_bytes": 48213,
    "extension": "jpg",
    "last_updated_at": "2026-11-23T14:05:09.123456Z",
    "content_type": "image/jpeg",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "width": 1024,
    "height": 768,
    "created_at": "2026-11-23T14:05:09.123456Z",
    "url": "/images/sunset?v=9f86d081884c7d65",
    "variants": {"320": "/images/sunset/variants/320?v=9f86d081884c7d6508ed2c4b"},
}


class ImageMetadata(BaseModel):
    """The metadata of an image."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: Annotated[str, Field(description="Unique name, NFC-normalised.")]
    size_bytes: Annotated[int, Field(description="Size of the file in bytes.")]
    extension: Annotated[
        str,
        Field(description="Lower case; that of the file name if it matches the format."),
    ]
    last_updated_at: Annotated[datetime, Field(description="When these bytes were stored.")]
    content_type: Annotated[str, Field(description="Media type of the content.")]
    sha256: Annotated[str, Field(description="SHA-256 of the bytes, hexadecimal.")]
    width: Annotated[int, Field(description="Width in pixels.")]
    height: Annotated[int, Field(description="Height in pixels.")]
    created_at: Annotated[datetime, Field(description="When the name was first uploaded.")]
    url: Annotated[str, Field(description="Address of these bytes, which caches may keep.")]
    variants: Annotated[dict[str, str], Field(description="Addresses of the variants, by size.")]
    created_by: Annotated[
        str | None,
        Field(description="API key that created the image; only in responses to API keys."),
    ] = None


class ImageList(BaseModel):
    """A page of images."""

    images: list[ImageMetadata]
    next_cursor: Annotated[
        str | None,
        Field(description="Value of `cursor` for the next page; null on the last page."),
    ]


class LinkRequest(BaseModel):
    """A request for links to an image."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"allows": "read", "expires_in": 3600}]}
    )

    allows: Annotated[
        Right,
        Field(description="The image, its metadata and variants; only its variants; or `PUT`."),
    ]
    expires_in: Annotated[
        int, Field(ge=1, le=604800, description="Seconds; the link lives at most an eighth longer.")
    ]
    replace: Annotated[
        bool, Field(description="For `upload`: whether it may replace an image.")
    ] = False
    max_bytes: Annotated[int | None, Field(ge=1, description="For `upload`: maximum bytes.")] = None

    @model_validator(mode="after")
    def _limit_only_uploads(self) -> Self:
        if self.allows != "upload" and (self.replace or self.max_bytes):
            raise ValueError("replace and max_bytes apply only to upload")
        return self

    @classmethod
    def from_json(cls, body: bytes) -> Self:
        """Parse a body. Raises ValueError, whose message names each invalid field."""
        try:
            return cls.model_validate_json(body, strict=True)
        except ValidationError as exc:
            faults = [": ".join([*map(str, fault["loc"]), fault["msg"]]) for fault in exc.errors()]
            raise ValueError("; ".join(faults)) from None


class Links(BaseModel):
    """Addresses that work without an API key until they expire."""

    url: Annotated[
        str | None,
        Field(
            description="Address of the image; null if the link allows only `variants`.",
            examples=["/images/sunset?v=9f86d081884c7d65&allows=read&expires=1795997250&sig=..."],
        ),
    ]
    variants: Annotated[
        dict[str, str] | None,
        Field(description="Addresses of the variants, by size; null for an `upload`."),
    ]
    expires_at: Annotated[datetime, Field(description="When the addresses expire.")]


class Deleted(BaseModel):
    """The image was deleted."""

    name: Annotated[str, Field(examples=["sunset"])]
    deleted: Annotated[bool, Field(examples=[True])]


class Health(BaseModel):
    """The state of the service."""

    status: Annotated[str, Field(examples=["ready"])]
    checks: Annotated[
        dict[str, str] | None,
        Field(examples=[{"database": "ok", "bucket": "ok"}]),
    ] = None


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: Annotated[str, Field(examples=["urn:image-api:problem:image_not_found"])]
    title: Annotated[str, Field(examples=["Image not found"])]
    status: Annotated[int, Field(examples=[404])]
    detail: Annotated[str, Field(examples=["Image not found"])]
    instance: Annotated[str, Field(description="Path of the request.", examples=["/images/sunset"])]
    code: Annotated[str, Field(description="Stable, for programs.", examples=["image_not_found"])]
    request_id: Annotated[str, Field(description="X-Request-ID of the response, also logged.")]
