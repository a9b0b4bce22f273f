"""Mutation tests for the write protocol: break each step of the code; a test must fail each time.

    python -m tests.tools.code_mutations [NAME ...]

Each mutation replaces text in a copy of the checkout and runs the relevant tests there. A mutation
whose text is missing is an error, so a change of the protocol changes its mutations, too. The
requirements are those of the tests; TEST_DB_URL makes the runs faster.
"""

# ruff: noqa: T201 - this command prints its results

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MATRIX, RACES = "tests/faults/test_fault_matrix.py", "tests/protocol/test_protocol_races.py"
REPAIR, DOWNLOAD = "tests/protocol/test_verification_repair.py", "tests/api/test_download.py"
VARIANTS = "tests/api/test_stored_variants.py"
VARIANT_RACES = "tests/protocol/test_variant_races.py"


class Mutation(NamedTuple):
    """Replacements in one file, and the tests that must fail (a file and `pytest -k`)."""

    file: str
    replacements: list[tuple[str, str]]
    tests: str
    chosen: str

    def apply(self, tree: Path) -> None:
        """Mutate the copy in `tree`. Raises LookupError unless each text occurs exactly once."""
        source = (tree / self.file).read_text()
        for old, new in self.replacements:
            if source.count(old) != 1:
                raise LookupError(f"{self.file} has {source.count(old)} times: {old}")
            source = source.replace(old, new)
        (tree / self.file).write_text(source)


_REMOVE = "    bucket.delete_image(key)\n"
_FORGET = """    with writing(session, single_statement=True) as connection:
        pending_objects.remove_entry(connection, key)
"""
_JOURNAL = "        retry(lambda _: self._journal_upload(key))\n"
_JOURNAL_BATCH = "        retry(lambda _: self._journal_uploads(keys))\n"
_COMMIT_BATCH = "            self._commit_uploads("
_COMMIT = "        try:\n            return retry(partial(self._commit_upload,"
_PUT = (
    "                obstore.put(store, key, content, attributes=attributes, use_multipart=False)\n"
)
_OLD = "    _journal_objects_of(connection, current)\n    return UploadResult("
_DELETED = "            _journal_objects_of(connection, current)\n            return current\n"
_LOOK = "_row(references.read_of_key(connection, orphan.key))"
_REPAIR = "pending_objects.journal_deletion(connection, orphan.key, now, claimed_at=now)"
_LAST_DELETE = "            remove_object(self._sessions(), self._bucket, entry.s3_key)\n"
_NO_LAST_DELETE = """            if entry.is_claimed:
                with writing(self._sessions()) as connection:
                    pending_objects.remove_entry(connection, entry.s3_key)
                return "removed"
"""
_KEYS = "(image.s3_key, *variants.delete_variants(connection, image.s3_key))"
_LOCK = "images.lock_image(connection, image.name)"
_NAMED = "if current is None or current.s3_key != image.s3_key:"


def _uncounted(file: str, call: str, test: str) -> Mutation:
    """Ignore the row count of a statement."""
    change = (f"if not {call}:", f"if {call} is None:")
    return Mutation(file, [change], RACES, f"{test} and postgresql")


MUTATIONS = {
    "no-row-count-of-finish-upload": _uncounted(
        "services/write_protocol.py", "pending_objects.finish_upload(connection, key)", "swept"
    ),
    "no-row-count-of-finish-uploads": _uncounted(
        "services/bulk_writes.py", "pending_objects.finish_uploads(connection, keys)", "both_swept"
    ),
    "batch-journaled-after-its-puts": Mutation(
        "services/bulk_writes.py",
        [(_JOURNAL_BATCH, ""), (_COMMIT_BATCH, "    " + _JOURNAL_BATCH + _COMMIT_BATCH)],
        RACES,
        "put_of_both and postgresql",
    ),
    "objects-of-a-failed-batch-left": Mutation(
        "services/bulk_writes.py",
        [("                abandoned.callback(self._abandon_upload, key)\n", "")],
        RACES,
        "upload_of_both and postgresql",
    ),
    "no-row-count-of-replace-image": _uncounted(
        "services/write_protocol.py",
        "images.replace_image(connection, current, values)",
        "before_the_overwrite",
    ),
    "no-row-count-of-delete-image": _uncounted(
        "services/write_protocol.py",
        "images.delete_image(connection, current)",
        "before_the_delete",
    ),
    "no-row-count-of-take-upload": _uncounted(
        "services/maintenance/sweeper.py",
        "pending_objects.claim_upload(connection, entry.s3_key, claimed_at=now)",
        "before_the_sweep",
    ),
    "object-deleted-before-the-commit": Mutation(
        "services/image_store.py",
        [
            (
                "self._deletions.note(current)\n",
                "self._bucket.delete_image(current.s3_key)\n",
            )
        ],
        MATRIX,
        "commit and delete and postgresql",
    ),
    "put-retried-on-the-same-key": Mutation(
        "s3_client.py",
        [
            (
                _PUT,
                "                for left in (2, 1, 0):\n                    try:\n        "
                + _PUT
                + "                        break\n                    except BaseError:\n"
                + "                        if not left:\n                            raise\n",
            )
        ],
        MATRIX,
        "s3_500_once and postgresql",
    ),
    "clean-up-on-an-unknown-commit": Mutation(
        "services/write_protocol.py",
        [("            self._abandon_upload(key)\n", "            self.remove_object(key)\n")],
        MATRIX,
        "db_commit_done and postgresql",
    ),
    "entry-removed-before-its-object": Mutation(
        "services/write_protocol.py",
        [(_REMOVE + _FORGET, _FORGET + _REMOVE)],
        MATRIX,
        "s3_refused and postgresql",
    ),
    "no-horizon": Mutation(
        "services/maintenance/sweeper.py",
        [("pause = self._horizon if entry.is_claimed else self._keep", "pause = self._keep")],
        MATRIX,
        "put_late and postgresql",
    ),
    "journal-after-the-put": Mutation(
        "services/write_protocol.py",
        [(_JOURNAL, ""), (_COMMIT, _JOURNAL + _COMMIT)],
        MATRIX,
        "put_l and postgresql",
    ),
    "no-journal-of-the-old-key": Mutation(
        "services/write_protocol.py",
        [(_OLD, "    return UploadResult(")],
        MATRIX,
        "db_commit_done and postgresql",
    ),
    "no-journal-of-a-deleted-key": Mutation(
        "services/write_protocol.py",
        [(_DELETED, "            return current\n")],
        MATRIX,
        "s3_refused and postgresql",
    ),
    "put-on-an-unknown-journal-entry": Mutation(
        "services/write_protocol.py",
        [
            (
                _JOURNAL,
                "        try:\n    "
                + _JOURNAL
                + "        except DatabaseUnavailableError:\n            pass\n",
            )
        ],
        MATRIX,
        "db_other_commit and postgresql",
    ),
    "put-without-a-deadline": Mutation(
        "services/write_protocol.py",
        [("            deadline=deadline,\n", "")],
        RACES,
        "held_up and postgresql",
    ),
    "no-second-delete-after-the-horizon": Mutation(
        "services/maintenance/sweeper.py",
        [(_LAST_DELETE, _NO_LAST_DELETE + _LAST_DELETE)],
        MATRIX,
        "put_late and postgresql",
    ),
    "repair-that-looks-before-it-journals": Mutation(
        "services/maintenance/verification.py",
        [(_LOOK, "seen"), (_REPAIR, f"seen = {_LOOK}\n                {_REPAIR}")],
        REPAIR,
        "commit_before_insert and postgresql",
    ),
    "row-read-only-once": Mutation(
        "services/read_protocol.py",
        [("    if current.s3_key == image.s3_key:\n", "    if current:\n")],
        DOWNLOAD,
        "overwritten_meanwhile",
    ),
    "no-journal-of-a-variant": Mutation(
        "services/write_protocol.py",
        [(_KEYS, f"{_KEYS}[:1]")],
        VARIANTS,
        "overwritten and postgresql",
    ),
    "variants-kept-without-their-original": Mutation(
        "services/write_protocol.py",
        [(_KEYS, "(image.s3_key,)")],
        VARIANT_RACES,
        "go_with and postgresql",
    ),
    "variant-of-a-lost-original": Mutation(
        "services/variant_store.py", [(_NAMED, "if False:")], VARIANT_RACES, "gone and postgresql"
    ),
    "variant-without-a-lock": Mutation(
        "services/variant_store.py",
        [(_LOCK, "images.find_image(self._session, image.name)")],
        VARIANT_RACES,
        "locked and postgresql",
    ),
}


def failures(mutation: Mutation) -> list[str]:
    """Return the tests that fail in a mutated copy."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        tree = Path(folder) / "tree"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "benchmarks", "data")
        shutil.copytree(ROOT, tree, ignore=ignored)
        mutation.apply(tree)
        run = ["-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", mutation.tests]
        done = subprocess.run(
            [sys.executable, *run, "-k", mutation.chosen],
            cwd=tree,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"the tests did not run:\n{done.stdout}{done.stderr}")
    found = re.findall(r"^(?:FAILED|ERROR) \S+::([^\s]+)", done.stdout, re.MULTILINE)
    return list(dict.fromkeys(found))


def main(names: list[str]) -> int:
    """Run the named mutations, or all; print the failing tests; return 1 if none fails for one."""
    unnoticed = 0
    for name in names or MUTATIONS:
        red = failures(MUTATIONS[name])
        unnoticed += not red
        print(f"{name}: {', '.join(red) or 'UNNOTICED'}", flush=True)
    return min(1, unnoticed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
