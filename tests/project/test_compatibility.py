"""docs/compatibility.md lists the backends that were tested and their differences from S3."""

from tests.support.stores import STORES
from tests.tools.compatibility import COMPILED_ONLY, DATABASES, PAGE, Outcome, Row, page


def test_page() -> None:
    """The page shows each backend with its version, its passed tests and its differences."""
    stores = [Row("Store", "1.2", {"contract": Outcome(9, 8)}, ("is slow", "is loud"))]
    databases = [Row("Base", "3", {"Store": Outcome(40, 40)})]
    shown = page(stores, databases, "2026-01-02")
    assert "on 2026-01-02" in shown
    assert "| Store | 1.2 | 8 of 9 | is slow; is loud |\n" in shown
    assert "| database | version | Store |\n" in shown
    assert "| Base | 3 | 40 of 40 |\n" in shown
    assert shown.count("compiled, not run") == len(COMPILED_ONLY)
    assert not [kind.title for kind in STORES.values() if kind.title in shown]


def rows(heading: str) -> dict[str, list[str]]:
    """Return the rows of the committed table under that heading, by their first cell."""
    table = PAGE.read_text().partition(f"## {heading}\n\n")[2].partition("\n\n")[0]
    lines = [line.strip("| ").split("|") for line in table.splitlines()[2:]]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_differences_are_stated() -> None:
    """The committed page states the contract's current differences for every store."""
    stated = {kind.title: "; ".join(kind.differences) or "none" for kind in STORES.values()}
    shown = {title: cells[-1] for title, cells in rows("Object stores").items()}
    assert len(shown) >= 3
    assert shown.items() <= stated.items(), "make matrix"


def test_all_passed() -> None:
    """The committed page shows that all tests passed, on every database with every store."""
    databases = rows("Databases on each store")
    known = {database.title for database in DATABASES.values()}
    assert set(databases) - set(COMPILED_ONLY) == known
    stores = rows("Object stores")
    cells = [cell for title in known for cell in databases[title][1:]]
    assert len(cells) == len(known) * len(stores)
    for cell in [*cells, *(row[1] for row in stores.values())]:
        passed, run = cell.split(" of ")
        assert passed == run
        assert int(run) > 0
