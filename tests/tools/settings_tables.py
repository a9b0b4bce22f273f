"""Generates the tables of settings in README.md and .env.example from `config.Settings`.

    python -m tests.tools.settings_tables

Prints both. A test compares the two files with this output.
"""

# ruff: noqa: T201 - this command prints its results

from config import Settings

_EXAMPLES = {
    "DB_URL": "postgresql://images:secret@my-db.abc123.eu-central-1.rds.amazonaws.com/images",
    "AWS_REGION": "eu-central-1",
    "AWS_S3_BUCKET": "my-images",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000",
}


def defaults() -> dict[str, str]:
    """Return the default of each variable as text, or an empty string without a default."""
    written = {}
    for name, field in Settings.model_fields.items():
        value = "" if field.is_required() or field.default is None else field.default
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        written[name.upper()] = text.lower() if isinstance(value, bool) else text
    return written


def meaning(name: str) -> str:
    """Return the description of a variable on one line."""
    return " ".join(str(Settings.model_fields[name.lower()].description).split())


def readme_table() -> str:
    """Return the table for README.md."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, default in defaults().items():
        shown = f" `{default}`" if default else ""
        rows.append(f"| `{name}` |{shown} | {meaning(name)} |")
    return "\n".join(rows)


def env_example() -> str:
    """Return the lines of .env.example that follow its introduction."""
    lines = []
    for name, default in defaults().items():
        field = Settings.model_fields[name.lower()]
        comment = "" if field.is_required() else "#"
        value = _EXAMPLES.get(name, default)
        lines += [f"# {meaning(name).replace('`', '')}", f"{comment}{name}={value}"]
    return "\n".join(lines)


if __name__ == "__main__":
    print(readme_table())
    print()
    print(env_example())
