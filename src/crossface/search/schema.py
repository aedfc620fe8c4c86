"""The gallery's SQLite file: tables, settings, and errors in sentences."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossface.core.errors import GalleryError

APPLICATION_ID = 0x63664731
"""Marks the file as a gallery: "cfG1"."""

SCHEMA_VERSION = 1

_PAGE_BYTES = 8192
_BUSY_S = 30.0

_TABLES = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE contracts (
    contract_id TEXT PRIMARY KEY,
    space_id TEXT NOT NULL,
    json TEXT NOT NULL
);
CREATE TABLE persons (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid BLOB NOT NULL,
    name BLOB NOT NULL,
    tag BLOB NOT NULL UNIQUE,
    consent BLOB,
    retain_until TEXT,
    created TEXT NOT NULL
);
CREATE TABLE templates (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person INTEGER NOT NULL REFERENCES persons(id) ON DELETE CASCADE,
    contract_id TEXT NOT NULL REFERENCES contracts(contract_id),
    vector BLOB NOT NULL,
    quality REAL,
    note BLOB,
    created TEXT NOT NULL
);
CREATE INDEX templates_of_person ON templates(person);
CREATE TABLE compat (
    gallery_contract TEXT NOT NULL,
    probe_contract TEXT NOT NULL,
    json TEXT NOT NULL,
    created TEXT NOT NULL,
    PRIMARY KEY (gallery_contract, probe_contract)
);
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    entry TEXT NOT NULL,
    link BLOB NOT NULL
);
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection that syncs every commit and overwrites what it deletes.

    The file is made readable by its owner alone.

    Raises:
        GalleryError: if the file cannot be opened or is no gallery.
    """
    try:
        # Only a file that is not there yet may be opened and closed here: see ``readers``.
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass  # another process made it in between
    except OSError as error:
        raise GalleryError(f"{path.name}: {error.strerror or error}") from None
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        if not is_new(db):  # another program's database must stay as it is
            check_file(db, path.name)
        for pragma in (
            f"page_size={_PAGE_BYTES}",
            "auto_vacuum=NONE",
            "temp_store=MEMORY",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",
            "trusted_schema=OFF",
        ):
            db.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        db.close()
        raise
    return db


def is_new(db: sqlite3.Connection) -> bool:
    """Whether the file holds nothing at all yet."""
    return not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def create_tables(db: sqlite3.Connection) -> None:
    """Lay out an empty gallery, inside the caller's transaction."""
    for statement in _TABLES.split(";"):
        if statement.strip():
            db.execute(statement)
    db.execute(f"PRAGMA application_id={APPLICATION_ID}")
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def check_file(db: sqlite3.Connection, name: str) -> None:
    """Refuse a file that is no gallery, or one of a later schema.

    Raises:
        GalleryError: saying which.
    """
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise GalleryError(f"{name} is not a crossface gallery")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise GalleryError(
            f"{name} has gallery schema {version}, this crossface reads {SCHEMA_VERSION}"
        )


@contextmanager
def in_sentences(name: str) -> Iterator[None]:
    """SQLite's errors as GalleryError: what happened and that nothing was half-written."""
    try:
        yield
    except sqlite3.Error as error:
        raise GalleryError(f"{name}: {_sentence(str(error))}") from error


def _sentence(text: str) -> str:
    if "locked" in text or "busy" in text:
        return "another process holds it; try again"
    if "full" in text or "disk I/O" in text:
        return f"could not be written ({text}); nothing of this change was kept"
    if "malformed" in text or "not a database" in text:
        return f"is damaged or not a gallery ({text})"
    return text
