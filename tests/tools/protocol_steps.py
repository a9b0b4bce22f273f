"""The write protocol, one `yield` per statement or S3 call, in the order of image_store.py.

Change a step there, change it here, and let protocol_model.py show what it breaks. `wrong` names
a variant that is to fail (the table is below); with "" this is the protocol.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

from tests.tools.protocol_world import (
    CLAIMED,
    IMAGE,
    TO_DELETE,
    UNKNOWN,
    UNNAMED,
    UPLOADING,
    Candidate,
    Commit,
    Get,
    Key,
    Look,
    Put,
    Remove,
    Reply,
    Rollback,
    Select,
    Steps,
    Write,
    delete_row,
    derived,
    insert,
    pending,
    update,
)


def upload(key: Key, wrong: str) -> Steps:
    """Journal, PUT, publish; on an unknown COMMIT ask the journal; tidy up after the answer."""
    seen = yield Select()
    landed = wrong == "journal-after-put" and (yield Put(key))
    journaled = yield Commit(insert(pending(key), UPLOADING))
    if journaled != 1 and wrong != "put-on-unknown-journal":
        return
    if wrong != "journal-after-put":
        landed = yield Put(key)
    if not landed and wrong == "retry-same-key":
        landed = yield Put(key)
    if not landed:
        if wrong == "tidy-after-failed-put":
            yield from discard(key, wrong, UPLOADING)
        return
    outcome, old = yield from publish(key, wrong, seen)
    if outcome == UNKNOWN:
        outcome = yield from resolve(key, wrong)
    if outcome == 1:
        yield Reply(201)
        if old is not None:
            yield from discard(old, wrong)


def publish(key: Key, wrong: str, old: Key | None) -> Steps:
    """Step 3: one transaction takes the key out of the journal and names it. (COMMIT, old key).

    At first `old` is what was seen before the PUT.
    """
    for attempt in itertools.count():
        taken_out = yield delete_row(pending(key), UPLOADING)
        if not taken_out and wrong != "unchecked-journal-delete":
            return 0, None
        if attempt:
            old = yield Select()
        if wrong == "blind-upsert":
            named = yield Write("UPSERT", IMAGE, None, key)
        elif old is None:
            named = yield insert(IMAGE, key)
        else:
            named = (yield update(IMAGE, old, key)) or wrong == "unchecked-image-update"
        if named and old is not None:
            named = yield insert(pending(old), TO_DELETE)
        if named:
            if old is not None and wrong == "overwrite-object-first":
                yield Remove(old)
            return (yield Commit()), old
        if not (yield Rollback()):
            return UNKNOWN, None


def resolve(key: Key, wrong: str) -> Steps:
    """Step 4: after an unknown COMMIT, make sure that it never happens, or see that it did."""
    if wrong == "remove-on-unknown-commit":
        yield Remove(key)
        return 0
    disowned = yield Commit(update(pending(key), UPLOADING, TO_DELETE))
    if disowned == 1:  # it never committed and now cannot
        yield from discard(key, wrong)
    if disowned != 0:  # if this is unknown too, the journal decides
        return 0
    if wrong == "no-rows-means-committed":
        return 1
    return (yield Select()) == key  # 0 rows is also what a sweeper's claim leaves


def discard(key: Key, wrong: str, *states: str) -> Steps:
    """Step 5: an object that no row names any more; the object first, then its journal row."""
    forget = Commit(delete_row(pending(key), *(states or (TO_DELETE, CLAIMED))))
    if wrong == "forget-first":
        yield forget
    yield Remove(key)
    if wrong != "forget-first":
        yield forget


def delete(wrong: str) -> Steps:
    """Move the key from the image row to the journal; only then touch the object."""
    gone = False
    while not gone:
        key = yield Select()
        if key is None:
            return
        anything = wrong == "delete-by-name-only"
        gone = yield Write("DELETE", IMAGE, None if anything else (key,), None)
        gone = gone and (yield insert(pending(key), TO_DELETE))
        if not gone and not (yield Rollback()):
            return
    if wrong == "delete-object-first":
        yield Remove(key)
    outcome = yield Commit()
    if outcome == 1:
        yield Reply(204)
    if outcome == 1 or wrong == "delete-on-unknown-commit":
        yield from discard(key, wrong)


def sweep(wrong: str) -> Steps:
    """One journal row: claim it if it was uploading, else finish what was begun."""
    key, state = yield Candidate(wrong)
    if state == UNNAMED:
        original, picture = key
        gone = yield delete_row(derived(original), picture)
        if gone and wrong == "derived-forgotten-first":
            yield Commit()
            yield Remove(picture)
        elif gone and (yield insert(pending(picture), TO_DELETE)):
            yield Commit()
    elif state == UPLOADING and wrong == "sweep-without-claim":
        yield from discard(key, wrong, UPLOADING)
    elif state == UPLOADING:
        if (yield from claim(key, wrong)):
            yield Remove(key)
    elif state == CLAIMED and wrong == "no-second-delete":
        yield Commit(delete_row(pending(key), CLAIMED))
    else:
        yield from discard(key, wrong)


def claim(key: Key, wrong: str) -> Steps:
    """Take the key from its upload, which then cannot commit; whether that is certain."""
    statement = update(pending(key), UPLOADING, CLAIMED)
    if wrong == "remove-before-claim-commits":
        if (yield statement):
            yield Remove(key)
            yield Commit()
        return False
    claimed = yield Commit(statement)
    mistaken = {"unchecked-claim": 0, "unknown-claim": UNKNOWN}
    return claimed == 1 or claimed == mistaken.get(wrong, 1)


def read(wrong: str) -> Steps:
    """Row, then object; a missing object means that the row has changed: look again."""
    key = yield Select()
    while key is not None and not (yield Get(key)):
        again = yield Select()
        if again == key or wrong == "read-once":
            yield Reply(500)
        key = again


def derive(name: Key, wrong: str) -> Steps:
    """Make a variant of the image: journal, PUT, publish; whoever finds its row taken gives up."""
    by_name = wrong == "derived-by-name"
    original, picture = yield Look(by_name)
    if original is None or picture or not (yield Get(original)):
        return
    key, row = f"{name}/{original}", derived("name" if by_name else original)
    if wrong != "derived-without-journal" and (
        (yield Commit(insert(pending(key), UPLOADING))) != 1
    ):
        return
    if not (yield Put(key)):
        return
    if wrong not in {"derived-without-journal", "derived-unchecked-entry"}:
        if not (yield delete_row(pending(key), UPLOADING)):
            return
    elif wrong == "derived-unchecked-entry":
        yield delete_row(pending(key), UPLOADING)
    if wrong == "derived-upsert":
        named = yield Write("UPSERT", row, None, key)
    else:
        named = yield insert(row, key)
    outcome = (yield Commit()) if named else UNKNOWN
    if not named:
        yield Rollback()
    if outcome == UNKNOWN:
        yield from resolve(key, wrong)


def look(wrong: str) -> Steps:
    """Read a variant: what is found must be of the image as it is at that moment."""
    original, picture = yield Look(wrong == "derived-by-name")
    if picture and not picture.endswith(f"/{original}"):
        yield Reply(500)


def repair(key: Key, wrong: str) -> Steps:
    """`verify --repair`, however old its report: journal the key first, then look for its row."""
    if not (yield Get(key)):
        return
    if wrong == "repair-looks-first" and (yield Select()) == key:
        return
    if not (yield insert(pending(key), TO_DELETE)):
        return
    if wrong == "repair-looks-first" or (yield Select()) != key:
        yield Commit()


def upload_row_first(key: Key, _wrong: str) -> Steps:
    """Show the variant row-first: no journal; the row is taken back if the PUT fails."""
    if (yield Commit(insert(IMAGE, key))) == 1 and not (yield Put(key)):
        yield Commit(delete_row(IMAGE, key))


PROGRAMS: dict[str, Callable[..., Steps]] = {
    "upload": upload,
    "delete": delete,
    "sweep": sweep,
    "read": read,
    "repair": repair,
    "derive": derive,
    "look": look,
    "upload-row-first": upload_row_first,
}


class Variant(NamedTuple):
    """A wrong protocol: the mistake, all the invariants that it breaks, and a cast to show it.

    The invariant that tells the story best comes first; protocol_model.py explains them.
    """

    mistake: str
    breaks: str
    cast: str
    image: Key | None = None


VARIANTS = {
    "journal-after-put": Variant("the key is journalled after the PUT", "I5 END", "upload a"),
    "put-on-unknown-journal": Variant(
        "PUT although the COMMIT of the journal row is unknown", "I5 END", "upload a"
    ),
    "row-first": Variant(
        "the row is committed before the PUT, without a journal", "I1 I5 END", "upload-row-first a"
    ),
    "retry-same-key": Variant(
        "a failed PUT is tried again under the same key", "I5 I2 END", "upload a, delete, sweep"
    ),
    "tidy-after-failed-put": Variant(
        "after a failed PUT the upload clears object and journal", "I5 END", "upload a"
    ),
    "put-without-deadline": Variant(
        "an upload that was held up begins its PUT however late", "I5 END", "upload a, sweep"
    ),
    "no-horizon": Variant("the sweeper forgets a claimed key at once", "I5 END", "upload a, sweep"),
    "no-second-delete": Variant(
        "the sweeper does not delete again after the horizon", "I5 END", "upload a, sweep"
    ),
    "unchecked-journal-delete": Variant(
        "DELETE pending may hit 0 rows", "I1 END", "upload a, sweep"
    ),
    "blind-upsert": Variant(
        "SELECT, then an upsert whatever the row is by then", "I5 END", "upload a, upload b"
    ),
    "unchecked-image-update": Variant(
        "UPDATE images ... AND s3_key=:old may hit 0 rows", "I5 ACK END", "upload a, delete", "o"
    ),
    "overwrite-object-first": Variant(
        "an overwrite deletes the old object before its COMMIT", "I1 END", "upload a", "o"
    ),
    "delete-object-first": Variant(
        "a delete deletes the object before its COMMIT", "I1 END", "delete", "o"
    ),
    "delete-by-name-only": Variant(
        "DELETE images without AND s3_key=:key", "I5 END", "upload a, delete", "o"
    ),
    "remove-on-unknown-commit": Variant(
        "an upload deletes its object on an unknown COMMIT", "I1 END", "upload a"
    ),
    "delete-on-unknown-commit": Variant(
        "a delete deletes the object on an unknown COMMIT", "I1 END", "delete", "o"
    ),
    "no-rows-means-committed": Variant(
        "0 rows in step 4 is taken for success", "ACK", "upload a, sweep"
    ),
    "forget-first": Variant(
        "the journal row is removed before the object", "I5 END", "delete", "o"
    ),
    "sweep-without-claim": Variant(
        "the sweeper deletes what is uploading without a claim", "I1 I5 END", "upload a, sweep"
    ),
    "remove-before-claim-commits": Variant(
        "the object is deleted inside the claim's transaction", "I1 END", "upload a, sweep"
    ),
    "unchecked-claim": Variant("the sweeper's claim may hit 0 rows", "I1 END", "upload a, sweep"),
    "unknown-claim": Variant(
        "the sweeper acts on a claim whose COMMIT is unknown", "I1 END", "upload a, sweep"
    ),
    "sweep-uploads-only": Variant("the sweeper looks at state U only", "END", "delete", "o"),
    "read-once": Variant("a reader does not look at the row again", "I4", "read, upload a", "o"),
    "derived-by-name": Variant(
        "a variant is kept for the image's name, not for its object",
        "I4",
        "look, derive v, upload a",
        "o",
    ),
    "derived-without-journal": Variant(
        "a variant is PUT without a journal entry", "I5 END", "derive v", "o"
    ),
    "derived-unchecked-entry": Variant(
        "a variant's DELETE pending may hit 0 rows", "END", "derive v, sweep", "o"
    ),
    "derived-upsert": Variant(
        "a variant replaces the row of one that was faster", "I5 END", "derive v, derive w", "o"
    ),
    "derived-forgotten-first": Variant(
        "the sweeper deletes a variant's row without journalling its object",
        "I5 END",
        "derive v, delete, sweep",
        "o",
    ),
    "sweep-keeps-derived": Variant(
        "the sweeper does not look at variants whose original is gone",
        "END",
        "derive v, delete",
        "o",
    ),
    "repair-looks-first": Variant(
        "repair looks for the row before it journals the key", "I1 END", "repair a, upload a, sweep"
    ),
}
