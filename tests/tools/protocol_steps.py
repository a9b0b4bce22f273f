"""The steps of the write protocol for the model checker: one `yield` per statement or S3 call.

They mirror the code in services/ and change together with it. `wrong` names a wrong protocol; with
an empty string the steps are the protocol itself.
"""

import itertools
from collections.abc import Callable

from tests.tools.protocol_world import (
    CLAIMED,
    IMAGE,
    TO_DELETE,
    UNKNOWN,
    UPLOADING,
    Candidate,
    Commit,
    Get,
    Key,
    Put,
    Remove,
    Reply,
    Rollback,
    Select,
    SelectVariant,
    Steps,
    Write,
    delete_row,
    derived,
    insert,
    lock,
    pending,
    update,
)


def upload(key: Key, wrong: str) -> Steps:
    """Journal, PUT, publish; resolve an unknown COMMIT; delete the old object after the answer."""
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
    """Step 3: move the key from the journal to the image row; return (COMMIT, old key).

    The first attempt uses the `old` key that was read before the PUT.
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
            named = yield from journal_old(old, wrong)
        if named:
            if old is not None and wrong == "overwrite-object-first":
                yield Remove(old)
            return (yield Commit()), old
        if not (yield Rollback()):
            return UNKNOWN, None


def journal_old(old: Key, wrong: str) -> Steps:
    """Journal the object of a replaced or deleted image, and its variant; whether that is done."""
    if not (yield insert(pending(old), TO_DELETE)):
        return False
    _, picture = yield SelectVariant()
    if picture is None or wrong == "derived-kept":
        return True
    gone = yield delete_row(derived(old), picture)
    return gone and (wrong == "derived-forgotten" or (yield insert(pending(picture), TO_DELETE)))


def resolve(key: Key, wrong: str) -> Steps:
    """Step 4: after an unknown COMMIT, prevent it, or find out that it happened."""
    if wrong == "remove-on-unknown-commit":
        yield Remove(key)
        return 0
    disowned = yield Commit(update(pending(key), UPLOADING, TO_DELETE))
    if disowned == 1:  # the transaction did not commit and no longer can
        yield from discard(key, wrong)
    if disowned != 0:  # if this COMMIT is unknown, too, a sweeper decides by the journal
        return 0
    if wrong == "no-rows-means-committed":
        return 1
    return (yield Select()) == key  # 0 rows can also mean that a sweeper claimed the key


def discard(key: Key, wrong: str, *states: str) -> Steps:
    """Step 5: delete an object that no row names, then its journal entry."""
    forget = Commit(delete_row(pending(key), *(states or (TO_DELETE, CLAIMED))))
    if wrong == "forget-first":
        yield forget
    yield Remove(key)
    if wrong != "forget-first":
        yield forget


def delete(wrong: str) -> Steps:
    """Move the key from the image row to the journal, then delete the object."""
    gone = False
    while not gone:
        key = yield Select()
        if key is None:
            return
        anything = wrong == "delete-by-name-only"
        gone = yield Write("DELETE", IMAGE, None if anything else (key,), None)
        gone = gone and (yield from journal_old(key, wrong))
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
    """Handle one journal entry: claim it if it is uploading, else delete its object."""
    key, state = yield Candidate(wrong)
    if state == UPLOADING and wrong == "sweep-without-claim":
        yield from discard(key, wrong, UPLOADING)
    elif state == UPLOADING:
        if (yield from claim(key, wrong)):
            yield Remove(key)
    elif state == CLAIMED and wrong == "no-second-delete":
        yield Commit(delete_row(pending(key), CLAIMED))
    else:
        yield from discard(key, wrong)


def claim(key: Key, wrong: str) -> Steps:
    """Claim the key, so that its upload cannot commit; return whether the claim is certain."""
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
    """Read the row, then the object; if the object is missing, read the row again."""
    key = yield Select()
    while key is not None and not (yield Get(key)):
        again = yield Select()
        if again == key or wrong == "read-once":
            yield Reply(500)
        key = again


def derive(name: Key, wrong: str) -> Steps:
    """Make a variant: journal, PUT, publish; give up if its original is gone, or its row there."""
    by_name = wrong == "derived-by-name"
    original, picture = yield SelectVariant(by_name)
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
    named = wrong in {"derived-unlocked", "derived-by-name"} or (yield lock(IMAGE, original))
    if wrong == "derived-upsert":
        named = named and (yield Write("UPSERT", row, None, key))
    else:
        named = named and (yield insert(row, key))
    outcome = (yield Commit()) if named else UNKNOWN
    if not named:
        yield Rollback()
    if outcome == UNKNOWN:
        yield from resolve(key, wrong)


def forget(_wrong: str) -> Steps:
    """Journal a variant whose object is lost, so that it is made again."""
    original, picture = yield SelectVariant()
    if picture is None or not (yield delete_row(derived(original), picture)):
        return
    if (yield insert(pending(picture), TO_DELETE)):
        yield Commit()


def look(wrong: str) -> Steps:
    """Read a variant, which must belong to the current version of the image."""
    original, picture = yield SelectVariant(wrong == "derived-by-name")
    if picture and not picture.endswith(f"/{original}"):
        yield Reply(500)


def repair(key: Key, wrong: str) -> Steps:
    """Repair an orphan as `verify --repair`: journal the key first, then look for its row."""
    if not (yield Get(key)):
        return
    if wrong == "repair-looks-first" and (yield Select()) == key:
        return
    if not (yield insert(pending(key), TO_DELETE)):
        return
    if wrong == "repair-looks-first" or (yield Select()) != key:
        yield Commit()


def upload_row_first(key: Key, _wrong: str) -> Steps:
    """The wrong protocol row-first: no journal; delete the row again if the PUT fails."""
    if (yield Commit(insert(IMAGE, key))) == 1 and not (yield Put(key)):
        yield Commit(delete_row(IMAGE, key))


PROGRAMS: dict[str, Callable[..., Steps]] = {
    "upload": upload,
    "delete": delete,
    "sweep": sweep,
    "read": read,
    "repair": repair,
    "derive": derive,
    "forget": forget,
    "look": look,
    "upload-row-first": upload_row_first,
}
