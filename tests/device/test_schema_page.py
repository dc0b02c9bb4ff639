"""``SCHEMA.md`` is normative: it has the tables and columns that are made, no more and no less."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from support.pages import ROOT

from edge_probe.analysis.tables import TABLES
from edge_probe.capture.ledger import Ledger

PAGE = (ROOT / "edge_probe" / "SCHEMA.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """From a heading to the next one of its rank."""
    _, _, rest = PAGE.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def told(text: str) -> dict[str, list[str]]:
    """Columns of each table, in the order of the page; rows of other tables have one name."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (.*?) \|", text, re.MULTILINE)
    columns = {name: re.findall(r"`([a-z_0-9]+)`", cell) for name, cell in rows}
    return {name: found for name, found in columns.items() if len(found) > 1}


def made(db: sqlite3.Connection) -> dict[str, list[str]]:
    """The same of a database."""
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    return {
        name: [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
        for name in names
        if not name.startswith("sqlite_")
    }


def in_any_order(tables: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: sorted(columns) for name, columns in tables.items()}


def test_capture(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "capture.sqlite")
    found = made(ledger.connection)
    ledger.close()
    assert in_any_order(told(section("capture.sqlite"))) == in_any_order(found)


def test_detections() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(TABLES)
        assert in_any_order(told(section("detections.sqlite"))) == in_any_order(made(db))


def test_effort() -> None:
    from edge_probe.deployment.effort import COLUMNS

    rows = re.findall(r"^\| (`.*?`) \|", section("effort.csv"), re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`([a-z_0-9]+)`", row)] == list(COLUMNS)
