"""Oracle and SQL Server without a server: the SQL that is compiled for them."""

import pytest

from tests.tools.dialect_statements import (
    DIALECTS,
    FOLDER,
    Recorder,
    dialect_of,
    functions,
    recorded,
    render,
)


@pytest.mark.parametrize("name", DIALECTS)
def test_statements(name: str) -> None:
    """Every table and statement compiles to the reviewed SQL of the engine."""
    expected = (FOLDER / f"{name}.sql").read_text()
    assert render(name) == expected, "python -m tests.tools.dialect_statements"


def test_every_statement_is_compiled() -> None:
    """The compiled statements cover every function of the repositories."""
    called = {function for function, _ in recorded(Recorder(dialect_of("oracle")))}
    assert functions() <= called


def test_no_empty_text() -> None:
    """No statement passes an empty string, which Oracle treats as NULL."""
    recorder = Recorder(dialect_of("oracle"))
    assert sum(len(statements) for _, statements in recorded(recorder)) > 20
    assert not recorder.empty
