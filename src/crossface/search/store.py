"""An open gallery file: who may open it, its transactions, its contracts."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossface.core.contract import EmbeddingContract
from crossface.core.errors import GalleryError
from crossface.core.log import get_logger
from crossface.search.compat import CompatRecord, Leave, leave_of
from crossface.search.keys import KEY_VARIABLE, Cipher, make_cipher
from crossface.search.log import AuditLog
from crossface.search.readers import FileReader
from crossface.search.schema import check_file, connect, create_tables, in_sentences, is_new

_CHECK_TEXT = b"crossface gallery key check"
_GALLERY_ID_BYTES = 16


class Store:
    """One open gallery file.

    Args:
        path: the file.
        key: 32 secret bytes, or None.
        contract: the model a new gallery is made for; None opens only what exists.

    Raises:
        GalleryError: if it cannot be opened, is no gallery, or the key does not fit.
    """

    def __init__(
        self, path: Path, *, key: bytes | None, contract: EmbeddingContract | None
    ) -> None:
        self.path = path
        make_cipher(key, bytes(_GALLERY_ID_BYTES))  # a missing extra must not leave a file behind
        if contract is None and not path.exists():
            raise GalleryError(f"{path.name} does not exist, and a new gallery needs a model")
        with in_sentences(path.name):
            self.db = connect(path)
            self.reader = FileReader(path)
            try:
                self._begin(key, contract)
            except BaseException:
                self.close()
                raise

    def _begin(self, key: bytes | None, contract: EmbeddingContract | None) -> None:
        if contract is not None and is_new(self.db):
            self._create(key, contract)
        check_file(self.db, self.path.name)
        gallery_id = self.meta("gallery_id")
        self.cipher: Cipher = self._unlock(key, gallery_id)
        self.log = AuditLog(self.db, self.cipher, gallery_id)
        if not self.cipher.encrypted:
            get_logger("search").warning(
                "%s is unencrypted: whoever can read the file can read names and templates; "
                "a gallery made with a key (%s or a key file) is encrypted",
                self.path.name,
                KEY_VARIABLE,
            )

    def _create(self, key: bytes | None, contract: EmbeddingContract) -> None:
        with self.change():
            if not is_new(self.db):  # another process was faster
                return
            create_tables(self.db)
            gallery_id = secrets.token_bytes(_GALLERY_ID_BYTES)
            cipher = make_cipher(key, gallery_id)
            self.set_meta("gallery_id", gallery_id)
            self.set_meta("key_check", cipher.seal(_CHECK_TEXT, b"key check"))
            self.set_meta("contract", contract.contract_id.encode())
            self.add_contract(contract)
            AuditLog(self.db, cipher, gallery_id).append(
                now(), "create", detail={"contract": contract.contract_id}
            )

    def _unlock(self, key: bytes | None, gallery_id: bytes) -> Cipher:
        name, check = self.path.name, self.meta("key_check")
        sealed = check != _CHECK_TEXT
        if sealed and key is None:
            raise GalleryError(f"{name} is encrypted: give its key file or set {KEY_VARIABLE}")
        if not sealed and key is not None:
            raise GalleryError(
                f"{name} was made without a key and is unencrypted: open it without one, or "
                "enrol anew in a gallery made with a key"
            )
        cipher = make_cipher(key, gallery_id)
        try:
            cipher.unseal(check, b"key check")
        except GalleryError:
            raise GalleryError(f"{name}: the key given is not the one it was made with") from None
        return cipher

    def close(self) -> None:
        """Close the file."""
        with in_sentences(self.path.name):
            self.db.close()
        self.reader.release()

    @contextmanager
    def change(self) -> Iterator[None]:
        """One transaction: all of it is on disk when this returns, or none of it."""
        with in_sentences(self.path.name):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """One state of the file for several reads, whatever other processes commit meanwhile."""
        with in_sentences(self.path.name):
            self.db.execute("BEGIN")
            try:
                yield
            finally:
                if self.db.in_transaction:
                    self.db.execute("COMMIT")

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """All rows of a query at once, so that no read stays open."""
        with in_sentences(self.path.name):
            return self.db.execute(sql, values).fetchall()

    def version(self) -> int:
        """Changes when another connection has committed."""
        version: int = self.rows("PRAGMA data_version")[0][0]
        return version

    def meta(self, key: str) -> bytes:
        """A setting of the file.

        Raises:
            GalleryError: if the file lacks it.
        """
        value = self.meta_or_none(key)
        if value is None:
            raise GalleryError(f"{self.path.name} is damaged: it lacks its {key}")
        return value

    def meta_or_none(self, key: str) -> bytes | None:
        """A setting of the file, None where it is not set."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return bytes(found[0][0]) if found else None

    def set_meta(self, key: str, value: bytes | None) -> None:
        """Set or unset a setting, inside a transaction."""
        if value is None:
            self.db.execute("DELETE FROM meta WHERE key = ?", (key,))
        else:
            self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def add_contract(self, contract: EmbeddingContract) -> None:
        """Remember a model, inside a transaction."""
        self.db.execute(
            "INSERT OR IGNORE INTO contracts VALUES (?, ?, ?)",
            (contract.contract_id, contract.space_id, contract.model_dump_json()),
        )

    def contract(self, contract_id: str) -> EmbeddingContract:
        """A model the gallery knows.

        Raises:
            GalleryError: if it does not know it.
        """
        found = self.rows("SELECT json FROM contracts WHERE contract_id = ?", (contract_id,))
        if not found:
            raise GalleryError(f"{self.path.name} is damaged: it lacks contract {contract_id}")
        return EmbeddingContract.model_validate_json(found[0][0])

    def primary(self) -> EmbeddingContract:
        """The model the gallery was made for, or moved to."""
        return self.contract(self.meta("contract").decode())

    def target(self) -> EmbeddingContract | None:
        """The model the gallery is moving to, None where it is not."""
        contract_id = self.meta_or_none("migrating_to")
        return None if contract_id is None else self.contract(contract_id.decode())

    def enrolling(self) -> EmbeddingContract:
        """The model whose vectors are enrolled: the target of a migration, else the gallery's."""
        return self.target() or self.primary()

    def add_compat(self, record: CompatRecord) -> None:
        """Honour a measured pairing, inside a transaction."""
        self.add_contract(record.gallery)
        self.add_contract(record.probe)
        self.db.execute(
            "INSERT OR REPLACE INTO compat VALUES (?, ?, ?, ?)",
            (
                record.gallery.contract_id,
                record.probe.contract_id,
                record.model_dump_json(),
                now(),
            ),
        )

    def leave_of(self, probe: EmbeddingContract) -> Leave:
        """Whose templates this model's probes may be compared with, and by which map."""
        found = self.rows(
            "SELECT json FROM compat WHERE probe_contract = ? ORDER BY created DESC, rowid DESC",
            (probe.contract_id,),
        )
        records = [CompatRecord.model_validate_json(row[0]) for row in found]
        return leave_of(probe, self.primary(), records)

    def searchable_by(self, probe: EmbeddingContract) -> tuple[str, ...]:
        """Contracts whose templates this model's probes may be compared with."""
        return self.leave_of(probe).contract_ids


def contract_of(path: Path) -> EmbeddingContract:
    """The model a gallery enrols with; it is no secret, so no key is needed.

    Raises:
        GalleryError: if the file is missing or is no gallery.
    """
    if not path.is_file():
        raise GalleryError(f"{path.name} does not exist")
    with in_sentences(path.name):
        db = connect(path)
        try:
            check_file(db, path.name)
            found = db.execute(
                "SELECT json FROM contracts WHERE contract_id = (SELECT CAST(value AS TEXT) FROM "
                "meta WHERE key IN ('contract', 'migrating_to') ORDER BY key DESC LIMIT 1)"
            ).fetchone()
        finally:
            db.close()
    if found is None:
        raise GalleryError(f"{path.name} is damaged: it lacks its contract")
    return EmbeddingContract.model_validate_json(found[0])


def now() -> str:
    """UTC to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
