"""A host without free disk space or file descriptors: uploads get 503 and leave nothing behind."""

import errno
import os
import tempfile

import pytest

from config import Settings
from tests.support.pictures import noise_png
from tests.support.uploads import count, on_sqlite, problem, serving, upload


@on_sqlite
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_temporary_directory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """An upload that cannot be spooled to disk gets 503 with Retry-After and changes nothing."""

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    with serving(settings) as client:
        picture = noise_png(9_000_000)  # too large to be kept in memory
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        answer = upload(client, picture)
        problem(answer, 503, "out_of_resources")
        assert answer.headers["Retry-After"] == "2"
        monkeypatch.undo()
        assert count(settings, "images") == count(settings, "pending_objects") == 0
        assert upload(client, picture).status_code == 201
