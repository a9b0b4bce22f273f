"""Variations of the write protocol with one mistake each, and the invariants that they violate.

The model checker must find a counterexample for each of them. docs/write-protocol.md has the same
table.
"""

from typing import NamedTuple

from tests.tools.protocol_world import Key


class WrongProtocol(NamedTuple):
    """The mistake, all invariants that it violates, and a cast of actors that reveals it.

    The first invariant is the one whose counterexample `--wrong` prints.
    """

    mistake: str
    breaks: str
    cast: str
    image: Key | None = None


WRONG_PROTOCOLS = {
    "journal-after-put": WrongProtocol("the key is journaled after the PUT", "I5 END", "upload a"),
    "put-on-unknown-journal": WrongProtocol(
        "the upload sends its PUT although the COMMIT of the journal entry is unknown",
        "I5 END",
        "upload a",
    ),
    "row-first": WrongProtocol(
        "the row is committed before the PUT, without a journal entry",
        "I1 I5 END",
        "upload-row-first a",
    ),
    "retry-same-key": WrongProtocol(
        "a failed PUT is retried under the same key", "I5 I2 END", "upload a, delete, sweep"
    ),
    "tidy-after-failed-put": WrongProtocol(
        "after a failed PUT the upload removes its object and entry", "I5 END", "upload a"
    ),
    "put-without-deadline": WrongProtocol(
        "an upload that was delayed still starts its PUT", "I5 END", "upload a, sweep"
    ),
    "no-horizon": WrongProtocol(
        "the sweeper removes a claimed entry at once", "I5 END", "upload a, sweep"
    ),
    "no-second-delete": WrongProtocol(
        "the sweeper does not delete the object again after the horizon",
        "I5 END",
        "upload a, sweep",
    ),
    "unchecked-journal-delete": WrongProtocol(
        "DELETE pending_objects may affect 0 rows", "I1 END", "upload a, sweep"
    ),
    "blind-upsert": WrongProtocol(
        "an upsert follows the SELECT, whatever the row is by then", "I5 END", "upload a, upload b"
    ),
    "unchecked-image-update": WrongProtocol(
        "UPDATE images ... AND s3_key=:old may affect 0 rows", "I5 ACK END", "upload a, delete", "o"
    ),
    "overwrite-object-first": WrongProtocol(
        "an overwrite deletes the old object before its COMMIT", "I1 END", "upload a", "o"
    ),
    "delete-object-first": WrongProtocol(
        "a delete removes the object before its COMMIT", "I1 END", "delete", "o"
    ),
    "delete-by-name-only": WrongProtocol(
        "DELETE images runs without AND s3_key=:key", "I5 END", "upload a, delete", "o"
    ),
    "remove-on-unknown-commit": WrongProtocol(
        "an upload deletes its object after an unknown COMMIT", "I1 END", "upload a"
    ),
    "delete-on-unknown-commit": WrongProtocol(
        "a delete removes the object after an unknown COMMIT", "I1 END", "delete", "o"
    ),
    "no-rows-means-committed": WrongProtocol(
        "0 rows in step 4 are taken for success", "ACK", "upload a, sweep"
    ),
    "forget-first": WrongProtocol(
        "the journal entry is removed before the object", "I5 END", "delete", "o"
    ),
    "sweep-without-claim": WrongProtocol(
        "the sweeper deletes the object of an unfinished upload without a claim",
        "I1 I5 END",
        "upload a, sweep",
    ),
    "remove-before-claim-commits": WrongProtocol(
        "the object is deleted inside the transaction of the claim", "I1 END", "upload a, sweep"
    ),
    "unchecked-claim": WrongProtocol(
        "the claim of the sweeper may affect 0 rows", "I1 END", "upload a, sweep"
    ),
    "unknown-claim": WrongProtocol(
        "the sweeper acts on a claim whose COMMIT is unknown", "I1 END", "upload a, sweep"
    ),
    "sweep-uploads-only": WrongProtocol(
        "the sweeper handles entries in state U only", "END", "delete", "o"
    ),
    "read-once": WrongProtocol("a reader does not read the row again", "I4", "read, upload a", "o"),
    "derived-by-name": WrongProtocol(
        "a variant belongs to the name of the image, not to its object",
        "I4 I6 END",
        "look, derive v, upload a",
        "o",
    ),
    "derived-without-journal": WrongProtocol(
        "a variant is PUT without a journal entry", "I5 END", "derive v", "o"
    ),
    "derived-unchecked-entry": WrongProtocol(
        "DELETE pending_objects of a variant may affect 0 rows", "END", "derive v, sweep", "o"
    ),
    "derived-upsert": WrongProtocol(
        "a variant replaces the row of a faster one", "I5 END", "derive v, derive w", "o"
    ),
    "derived-unlocked": WrongProtocol(
        "a variant is committed without a lock on the row that names its original",
        "I6 END",
        "derive v, delete",
        "o",
    ),
    "derived-forgotten": WrongProtocol(
        "an overwrite or a delete removes the row of a variant without journaling its object",
        "I5 END",
        "derive v, delete",
        "o",
    ),
    "derived-kept": WrongProtocol(
        "an overwrite or a delete leaves the rows of the variants",
        "I6 END",
        "derive v, delete",
        "o",
    ),
    "repair-looks-first": WrongProtocol(
        "repair looks for the row before it journals the key", "I1 END", "repair a, upload a, sweep"
    ),
}
