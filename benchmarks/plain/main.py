"""FastAPI, SQLAlchemy's ORM and boto3 as their tutorials show them: no checks, no journal.

It has those routes of the service that the benchmarks compare, with the same paths and parameters.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Annotated
from uuid import uuid4

import boto3
from fastapi import Depends, FastAPI, Form, HTTPException, UploadFile
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

BUCKET = os.environ["AWS_S3_BUCKET"]
# Each takes a hand-over to a thread, so the default of 1 KB would cost far more.
CHUNK_BYTES = 64 * 1024

s3 = boto3.client("s3")
engine = create_engine(os.environ["DB_URL"])
SessionLocal = sessionmaker(engine)


class Base(DeclarativeBase):
    """The declarative base."""


class Picture(Base):
    """The table that `benchmarks.stack` fills."""

    __tablename__ = "pictures"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    size_bytes: Mapped[int]
    extension: Mapped[str]
    content_type: Mapped[str]
    s3_key: Mapped[str]
    created_at: Mapped[datetime]


class Metadata(BaseModel):
    """What clients see of a picture."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    size_bytes: int
    extension: str
    content_type: str
    created_at: datetime


class Page(BaseModel):
    """One page of a listing."""

    images: list[Metadata]
    next_cursor: str | None


Base.metadata.create_all(engine)
app = FastAPI()


def get_db() -> Iterator[Session]:
    """Yield a session."""
    with SessionLocal() as db:
        yield db


Db = Annotated[Session, Depends(get_db)]


def find(db: Session, name: str) -> Picture:
    """Return a picture, or answer with 404."""
    picture = db.scalar(select(Picture).where(Picture.name == name))
    if picture is None:
        raise HTTPException(404)
    return picture


@app.get("/health/live")
def live() -> dict[str, str]:
    """Answer."""
    return {"status": "alive"}


@app.post("/images", status_code=201)
def upload(db: Db, file: UploadFile, name: Annotated[str, Form()]) -> Metadata:
    """Store a picture."""
    picture = db.scalar(select(Picture).where(Picture.name == name)) or Picture(name=name)
    picture.s3_key = str(uuid4())
    picture.size_bytes = file.size or 0
    picture.extension = PurePath(file.filename or "").suffix.removeprefix(".")
    picture.content_type = file.content_type or "application/octet-stream"
    picture.created_at = datetime.now(UTC)
    extra = {"ContentType": picture.content_type}
    s3.upload_fileobj(file.file, BUCKET, picture.s3_key, ExtraArgs=extra)
    db.add(picture)
    db.commit()
    return Metadata.model_validate(picture)


@app.get("/images")
def page(db: Db, limit: int = 100, prefix: str = "", cursor: str = "") -> Page:
    """List pictures by name."""
    query = select(Picture).where(Picture.name.startswith(prefix), Picture.name > cursor)
    pictures = db.scalars(query.order_by(Picture.name).limit(limit)).all()
    following = pictures[-1].name if len(pictures) == limit else None
    images = [Metadata.model_validate(picture) for picture in pictures]
    return Page(images=images, next_cursor=following)


@app.get("/images/random/metadata")
def random(db: Db) -> Metadata:
    """Return the metadata of a random picture."""
    picture = db.scalar(select(Picture).order_by(func.random()).limit(1))
    return Metadata.model_validate(picture)


@app.get("/images/{name}/metadata")
def metadata(db: Db, name: str) -> Metadata:
    """Return the metadata of a picture."""
    return Metadata.model_validate(find(db, name))


@app.get("/images/{name}")
def download(db: Db, name: str, *, redirect: bool = False) -> Response:
    """Return the bytes, or redirect to S3."""
    picture = find(db, name)
    if redirect:
        where = {"Bucket": BUCKET, "Key": picture.s3_key}
        return RedirectResponse(s3.generate_presigned_url("get_object", Params=where))
    body = s3.get_object(Bucket=BUCKET, Key=picture.s3_key)["Body"]
    return StreamingResponse(body.iter_chunks(CHUNK_BYTES), media_type=picture.content_type)


@app.delete("/images/{name}")
def delete(db: Db, name: str) -> dict[str, bool]:
    """Delete a picture."""
    picture = find(db, name)
    db.delete(picture)
    db.commit()
    s3.delete_object(Bucket=BUCKET, Key=picture.s3_key)
    return {"deleted": True}
