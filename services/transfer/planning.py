"""The first pass of an import: decides which file becomes which image, and stores nothing."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from config import Settings
from errors import ImageTooLargeError, ServiceError
from services.inspection import Inspector
from services.names import normalise_name, split_extension_of
from services.origin import HERE, Origin
from services.transfer.export_format import (
    MANIFEST,
    UNFINISHED,
    Exported,
    is_of_export,
    read_manifest,
)
from services.transfer.failures import FileRefusedError, TransferError
from services.transfer.naming import NamesInCsv, Naming
from services.transfer.retries import patiently
from services.transfer.sources import Source, SourceFile

Outcome = Literal["created", "replaced", "unchanged", "refused", "skipped"]

# Hidden files of macOS and Windows, and the folder that macOS adds to archives
_HIDDEN_FILES = {"thumbs.db", "desktop.ini"}
_HIDDEN_FOLDER = "__MACOSX"


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of a file of the source; `reason` says why it was refused or skipped."""

    source: str
    name: str
    outcome: Outcome
    reason: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """A file, and the image that it will become.

    Without an `extension` the first bytes decide the format. The bytes must have the `sha256`, if
    there is one.
    """

    file: SourceFile
    name: str
    extension: str | None
    origin: Origin = HERE
    sha256: str | None = None


@dataclass(slots=True)
class Plan:
    """The images to import, and the files that are refused or skipped."""

    images: list[PlannedImage] = field(default_factory=list)
    others: list[FileResult] = field(default_factory=list)

    def leave_out(self, source: str, reason: str, outcome: Outcome = "refused") -> None:
        """Record why a file is not imported."""
        self.others.append(FileResult(source, "", outcome, reason))


@dataclass(frozen=True, slots=True)
class Planner:
    """Names the files of a source, and applies the rules of the deployment to them."""

    settings: Settings
    inspector: Inspector
    keep_dates: bool = False

    def plan(self, files: Iterable[SourceFile], naming: Naming) -> Plan:
        """Plan the import of ordinary files."""
        plan = Plan()
        for file in files:
            if _is_hidden(file.path):
                plan.leave_out(file.path, "It is hidden.", "skipped")
                continue
            try:
                name = naming(file.path)
                if name is None:
                    plan.leave_out(file.path, "The CSV file does not name it.", "skipped")
                    continue
                origin = Origin(created_at=file.modified) if self.keep_dates else HERE
                extension = split_extension_of(file.path)[1]
                plan.images.append(self._planned(file, name, extension, origin))
            except (FileRefusedError, ServiceError) as exc:
                plan.leave_out(file.path, str(exc))
        if isinstance(naming, NamesInCsv):
            for path in naming.missing:
                plan.leave_out(path, "The source does not have this file.")
        return _without_clashes(plan)

    def plan_export(
        self, files: Iterable[SourceFile], manifest: str, entries: Iterable[Exported]
    ) -> Plan:
        """Plan the import of the export whose manifest has the path `manifest`.

        Raises TransferError if the manifest is damaged.
        """
        root, plan = manifest.removesuffix(MANIFEST), Plan()
        by_path = {file.path: file for file in files if file.path != manifest}
        by_path.pop(root + UNFINISHED, None)
        for entry in entries:
            path = root + entry.file
            try:
                if (file := by_path.pop(path, None)) is None:
                    raise FileRefusedError("The export lacks this file.")
                planned = self._planned(file, entry.name, entry.extension, entry.origin)
                plan.images.append(replace(planned, sha256=entry.sha256))
            except (FileRefusedError, ServiceError) as exc:
                plan.leave_out(path, str(exc))
        for path in by_path:
            plan.leave_out(path, "The manifest does not name it.", "skipped")
        return _without_clashes(plan)

    def _planned(self, file: SourceFile, name: str, extension: str, origin: Origin) -> PlannedImage:
        """Raise FileRefusedError or a ServiceError if the file cannot become an image."""
        if file.reason:
            raise FileRefusedError(file.reason)
        if extension:
            self.inspector.require_allowed(extension)
        if file.size > self.settings.max_upload_bytes:
            raise ImageTooLargeError.of(self.settings.max_upload_bytes)
        return PlannedImage(file, normalise_name(name), extension or None, origin)


def find_manifest(files: Iterable[SourceFile]) -> SourceFile | None:
    """Return the manifest among the files of an export; None if they are ordinary files.

    Raises TransferError if there are several exports, or one without its manifest.
    """
    manifests, looks_exported = [], False
    for file in files:
        if file.path.rpartition("/")[2] == MANIFEST:
            manifests.append(file)
        looks_exported = looks_exported or is_of_export(file.path)
    if len(manifests) > 1:
        raise TransferError(f"The source has several exports: {manifests[0].path} and others.")
    if not manifests and looks_exported:
        raise TransferError(
            f"The source looks like an export without its {MANIFEST}: it is unfinished, or the"
            " manifest was lost."
        )
    return manifests[0] if manifests else None


def read_entries(source: Source, manifest: SourceFile) -> Iterator[Exported]:
    """Yield the images in a manifest. Raises TransferError, or what reading the source raises."""
    for _, fetch in source.contents([manifest], manifest.size):
        try:
            file = patiently(fetch)
        except FileRefusedError as exc:
            raise TransferError(f"{manifest.path}: {exc}") from exc
        with file:
            file.seek(0)
            yield from read_manifest(file)


def _is_hidden(path: str) -> bool:
    parts = path.split("/")
    return (
        any(part.startswith(".") and part.strip(".") for part in parts)
        or parts[-1].lower() in _HIDDEN_FILES
        or _HIDDEN_FOLDER in parts
    )


def _without_clashes(plan: Plan) -> Plan:
    """Refuse all files that would get the same name."""
    by_name: defaultdict[str, list[PlannedImage]] = defaultdict(list)
    for image in plan.images:
        by_name[image.name].append(image)
    plan.images = []
    for name, images in by_name.items():
        if len(images) == 1:
            plan.images += images
            continue
        for image in images:
            other = next(one for one in images if one is not image).file.path
            reason = f"{other!r} has the same name."
            plan.others.append(FileResult(image.file.path, name, "refused", reason))
    return plan
