"""The gallery: people enrolled, found, refused, and erased."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

import numpy as np

from crossface.core.card import ThresholdCard
from crossface.core.contract import EmbeddingContract
from crossface.core.errors import GalleryError
from crossface.core.types import Face, FloatArray, Match
from crossface.search import doctor, export, migration
from crossface.search.changes import Changes
from crossface.search.compat import CompatRecord
from crossface.search.door import Enrolling, as_vectors, check_name, prepare
from crossface.search.erasure import Eraser
from crossface.search.index import Group
from crossface.search.keys import read_key
from crossface.search.log import LogCheck, LogEntry, LogHead
from crossface.search.people import People, Row
from crossface.search.records import Enrolment, Health, Identification, Migration, Person, Removal
from crossface.search.store import Store, now
from crossface.search.synced import SyncedIndex
from crossface.search.thresholds import Decision, check_card, decide


class Gallery:
    """People and their templates in one file, searched in memory.

    Made by ``Gallery.open``. The file is the record; the index is a cache that is built at the
    first search. Every change is on disk and in the audit log when its call returns. A gallery
    may be open in several processes and used from several threads.
    """

    def __init__(
        self,
        store: Store,
        contract: EmbeddingContract,
        *,
        card: ThresholdCard | None,
        min_quality: float | None,
        fpir: float,
        backend: str,
    ) -> None:
        self._store = store
        self._people = People(store)
        self._contract = contract
        self._card = card
        self._min_quality = min_quality
        self._fpir = fpir
        self._index = SyncedIndex(store, self._people, contract, backend)
        self._changes = Changes(store, self._people, contract.contract_id)
        self._eraser = Eraser(store)
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        contract: EmbeddingContract | None = None,
        key: bytes | str | Path | None = None,
        card: ThresholdCard | None = None,
        create: bool = True,
        min_quality: float | None = None,
        fpir: float = 0.01,
        backend: str = "exact",
        progress: bool = False,
    ) -> Self:
        """Open a gallery, or make one.

        Args:
            path: the file.
            contract: the model whose vectors will be given; None opens an existing gallery with
                the model it was made for.
            key: 32 secret bytes, or a file that holds them; the environment variable
                CROSSFACE_GALLERY_KEY where None. Without either the gallery is unencrypted.
            card: the model's threshold card; without one there is no verdict unless a threshold
                is passed.
            create: make the gallery where the file does not exist.
            min_quality: least quality of a face that may be enrolled; None asks for none.
            fpir: the false positive identification rate that verdicts stand for.
            backend: the index, a name of ``BACKENDS``.
            progress: show on stderr how far the first search is in building the index.

        Raises:
            GalleryError: if the file cannot be opened, or the key is missing, needless or wrong.
            ContractMismatch: if it was enrolled with a model whose vectors cannot be compared.
        """
        path = Path(path)
        if not create and not path.exists():
            raise GalleryError(f"{path.name} does not exist")
        store = Store(path, key=read_key(key), contract=contract)
        try:
            if contract is not None:
                migration.check_opening(store, contract)
            resolved = contract or store.primary()
            if card is not None:
                check_card(card, resolved.contract_id)
            gallery = cls(
                store, resolved, card=card, min_quality=min_quality, fpir=fpir, backend=backend
            )
            gallery._index.progress = progress
            gallery.finish_erasure()
        except BaseException:
            store.close()
            raise
        return gallery

    @property
    def encrypted(self) -> bool:
        """Whether names and templates are encrypted in the file."""
        return self._store.cipher.encrypted

    @property
    def contract(self) -> EmbeddingContract:
        """The model whose vectors this gallery takes."""
        return self._contract

    def __len__(self) -> int:
        """How many people are enrolled."""
        count: int = self._store.rows("SELECT count(*) FROM persons")[0][0]
        return count

    def enroll(
        self,
        name: str,
        faces: FloatArray | Sequence[Face],
        *,
        quality: float | Sequence[float] | None = None,
        consent: str | None = None,
        retain_until: date | None = None,
        note: str | Sequence[str] | None = None,
    ) -> Enrolment:
        """Enrol faces of a person, new or known.

        Args:
            name: who it is; faces are added to a person of the same name.
            faces: (N, D) float32 unit rows, or faces with embeddings.
            quality: of all faces or of each; a face's own where None.
            consent: what the person agreed to, kept encrypted.
            retain_until: the last day the person may be kept; see ``expire``.
            note: where the faces come from, or each of them, kept encrypted.

        Raises:
            GalleryError: if the name or a face may not enter; nothing is then enrolled.
            ContractMismatch: if the gallery enrols with another model.
        """
        person = Enrolling(name, faces, quality, consent, retain_until, note)
        return self.enroll_many([person])[0]

    def enroll_many(self, people: Iterable[Enrolling]) -> tuple[Enrolment, ...]:
        """Enrol many people in one transaction: all of them or, on an error, none."""
        dim, least = self._contract.dim, self._min_quality
        ready = [
            (replace(person, name=check_name(person.name)), prepare(person, dim, least))
            for person in people
        ]
        with self._operation():
            done = self._changes.enroll(ready)
            for change in done:
                self._index.enrolled(change)
            return tuple(Enrolment(change.row.name, change.ids) for change in done)

    def re_enroll(
        self,
        name: str,
        faces: FloatArray | Sequence[Face],
        *,
        quality: float | Sequence[float] | None = None,
        note: str | Sequence[str] | None = None,
    ) -> Enrolment:
        """Replace all templates of a person, in one transaction, and erase the old ones.

        During a migration this is how a person who is seen again comes over: the old template is
        deleted only together with the commit of the new one.

        Raises:
            GalleryError: if nobody has this name or a face may not enter; nothing then changes.
            ContractMismatch: if the gallery enrols with another model.
        """
        person = Enrolling(check_name(name), faces, quality, note=note)
        templates = prepare(person, self._contract.dim, self._min_quality)
        with self._operation():
            change, gone, needles = self._changes.replace(person.name, templates)
            self._index.removed(gone)
            self._index.enrolled(change)
            return Enrolment(person.name, change.ids, self._eraser.erase(needles))

    def identify(
        self,
        face: FloatArray | Face,
        *,
        top: int = 5,
        threshold: float | None = None,
        group: Group = "max",
    ) -> Identification:
        """Who this is, or that it is nobody enrolled.

        Args:
            face: (D,) float32 unit vector, or a face with an embedding.
            top: how many people to name at most.
            threshold: accept at or above this similarity; the card's for this gallery's size
                where None.
            group: "max" compares with a person's best template, "mean-top-k" with the mean of the
                three best.

        Raises:
            GalleryError: if it is no unit vector of this gallery's length.
        """
        faces = face[None] if isinstance(face, np.ndarray) else [face]
        return self.identify_many(faces, top=top, threshold=threshold, group=group)[0]

    def identify_many(
        self,
        faces: FloatArray | Sequence[Face],
        *,
        top: int = 5,
        threshold: float | None = None,
        group: Group = "max",
    ) -> tuple[Identification, ...]:
        """``identify`` for (N, D) unit rows or several faces at once."""
        queries = as_vectors(faces, self._contract.dim)
        if top < 1:
            raise GalleryError(f"top must be at least 1, got {top}")
        with self._operation(), self._store.snapshot():
            index = self._index.current()
            decision = self._decision(threshold, index.people)
            found = index.nearest(self._index.placed(queries), top, group)
            names = self._people.names({score.person for row in found for score in row})
        bar = None if decision is None else decision.threshold
        return tuple(
            Identification(
                tuple(
                    Match(names[s.person], s.similarity, bar is not None and s.similarity >= bar)
                    for s in row
                ),
                bar,
                None if decision is None else decision.fpir,
            )
            for row in found
        )

    def remove(self, name: str) -> Removal:
        """Remove a person and erase name and templates from the gallery's files.

        Raises:
            GalleryError: if nobody has this name.
        """
        known = check_name(name)
        return self._remove("remove", lambda: [self._changes.known(known)])

    def expire(self, today: date | None = None) -> Removal:
        """Remove everybody whose last day of retention is before ``today`` (UTC by default)."""
        day = today or datetime.now(UTC).date()
        return self._remove("expire", lambda: self._people.overdue(day))

    def list(self) -> tuple[Person, ...]:
        """Everybody, in the order of enrolment, without vectors."""
        with self._operation(), self._store.snapshot():
            return tuple(person for _, person in self._people.everybody())

    def show(self, name: str) -> Person:
        """One person.

        Raises:
            GalleryError: if nobody has this name.
        """
        with self._operation(), self._store.snapshot():
            return self._people.person(self._changes.known(check_name(name)))

    def export(self, path: str | Path, *, plaintext: bool = False) -> None:
        """Write the gallery to a file; ``export.py`` documents both formats.

        Args:
            path: a JSON file, or an ``.npz`` where ``plaintext``.
            plaintext: write names and vectors in plain text; else neither is in the file.
        """
        with self._operation():
            with self._store.change():
                detail: dict[str, str | int] = {"plaintext": int(plaintext)}
                self._store.log.append(now(), "export", detail=detail)
            with self._store.snapshot():
                write = export.write_plain if plaintext else export.write_inventory
                write(self._store, self._people, Path(path))

    def log(self) -> tuple[LogEntry, ...]:
        """Every change, oldest first."""
        with self._operation():
            return tuple(self._store.log.entries())

    def log_head(self) -> LogHead:
        """The log's last entry: kept elsewhere, it later proves that nothing was cut off."""
        with self._operation():
            return self._store.log.head()

    def verify_log(self, head: LogHead | None = None) -> LogCheck:
        """Whether the log is whole, and agrees with the record and with an exported head."""
        with self._operation(), self._store.snapshot():
            return self._store.log.check(head)

    def allow(self, record: CompatRecord) -> None:
        """Honour a measured pairing: its probe model may search its gallery model's templates."""
        with self._operation():
            with self._store.change():
                self._store.add_compat(record)
                detail: dict[str, str | int] = {
                    "gallery": record.gallery.contract_id,
                    "probe": record.probe.contract_id,
                }
                self._store.log.append(now(), "compat", detail=detail)
            self._index.forget()

    def migrate(self, to: EmbeddingContract) -> Migration:
        """Start or look at the way to another model.

        From now on people are enrolled with ``to``; who is enrolled already keeps the old
        templates until seen again and given to ``re_enroll``. Calling it again tells how far it
        is. Once nobody waits the gallery is made for the new model.

        Raises:
            GalleryError: if it is made for that model already, or moving to a third one.
        """
        with self._operation():
            with self._store.change():
                migration.begin(self._store, to)
            return self.migration()

    def migration(self) -> Migration:
        """How many people are enrolled with the model that enrols, and who is not."""
        with self._operation(), self._store.snapshot():
            return migration.progress(self._store, self._people.everybody())

    def doctor(self, *, similarity: float | None = None, today: date | None = None) -> Health:
        """Duplicate people, outlier templates, blurry enrolments and other things to look at.

        Args:
            similarity: the cosine from which two faces count as the same person; the card's
                threshold for this gallery's size where None.
            today: the day retention dates are compared with; UTC by default.
        """
        with self._operation(), self._store.snapshot():
            index, decision = self._index.if_whole(), None
            if index is not None:
                decision = self._decision(similarity, index.people)
            return doctor.examine(
                self._store,
                self._people,
                index,
                similarity=None if decision is None else decision.threshold,
                min_quality=self._min_quality,
                today=today or datetime.now(UTC).date(),
            )

    def finish_erasure(self) -> str | None:
        """Try again to erase what was removed; None when nothing waits, else the reason."""
        with self._lock:
            return self._eraser.finish()

    def close(self) -> None:
        """Close the file; the gallery cannot be used any more."""
        with self._lock:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def _operation(self) -> Iterator[None]:
        with self._lock:
            if self._eraser.waits:
                self._eraser.finish()
            yield

    def _decision(self, threshold: float | None, people: int) -> Decision | None:
        if threshold is not None:
            return Decision(threshold, None)
        if self._card is None:
            return None
        return decide(self._card, persons=people, fpir=self._fpir, mixed=self._index.mixed)

    def _remove(self, action: str, choose: Callable[[], Sequence[Row]]) -> Removal:
        with self._operation():
            rows, gone, needles = self._changes.remove(action, choose)
            if not rows:
                return Removal((), 0)
            self._index.removed(gone)
            names = tuple(row.name for row in rows)
            return Removal(names, len(gone), self._eraser.erase(needles))
