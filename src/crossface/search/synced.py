"""The index of one open gallery, kept in step with the record whoever writes to it."""

from __future__ import annotations

import numpy as np

from crossface.core.contract import EmbeddingContract
from crossface.core.errors import GalleryError
from crossface.core.log import get_logger
from crossface.core.progress import Progress
from crossface.core.types import FloatArray
from crossface.search.changes import Added
from crossface.search.compat import Leave
from crossface.search.index import PersonIndex
from crossface.search.people import IdArray, People
from crossface.search.store import Store

_LOAD_ROWS = 4096


class SyncedIndex:
    """Built at the first search from the templates that probes of one model may be compared with.

    Args:
        store: the gallery file.
        people: its tables.
        contract: the model that makes the probes.
        backend: a name of ``BACKENDS``.

    Attributes:
        progress: whether building it shows progress on stderr.
    """

    def __init__(
        self, store: Store, people: People, contract: EmbeddingContract, backend: str
    ) -> None:
        self._store = store
        self._people = people
        self._contract = contract
        self._backend = backend
        self._index: PersonIndex | None = None
        self._version = -1
        self._leave = Leave(())
        self.progress = False

    def current(self) -> PersonIndex:
        """The index of what the record holds now; call it inside a snapshot.

        Raises:
            GalleryError: if a template does not decrypt.
        """
        version = self._store.version()
        if self._index is None:
            self._leave = self._store.leave_of(self._contract)
            into = self._leave.into
            dim = self._contract.dim if into is None else into.to_dim
            index = PersonIndex(self._backend, dim, self._vectors)
            self._load(index, *self._table())
            self._index = index
            self._tell_who_is_left_out(index.people)
        elif version != self._version:
            ids, persons = self._table()
            self._index.remove(np.setdiff1d(self._index.ids, ids, assume_unique=True))
            new = ~np.isin(ids, self._index.ids)
            self._load(self._index, ids[new], persons[new])
        self._version = version
        return self._index

    @property
    def mixed(self) -> bool:
        """Whether templates of another model than that of the probes are searched."""
        if self._index is None or len(self._leave.contract_ids) < 2:
            return False
        own, _ = self._people.table_of([self._contract.contract_id])
        return len(own) < len(self._index)

    def _tell_who_is_left_out(self, searched: int) -> None:
        """Nobody may take "unknown" for an answer about people who were not compared."""
        people = self._store.rows("SELECT count(*) FROM persons")[0][0]
        if searched < people:
            get_logger("search").warning(
                "%s: %d of %d people are not searched: they are enrolled with another model than "
                "%s, and no measured record lets it search their templates",
                self._store.path.name,
                people - searched,
                people,
                self._contract.model_id,
            )

    def if_whole(self) -> PersonIndex | None:
        """The index, or None where a template does not decrypt."""
        try:
            return self.current()
        except GalleryError:
            return None

    def enrolled(self, added: Added) -> None:
        """Add a person's committed templates."""
        if self._index is not None:
            ids = np.array(added.ids, dtype=np.int64)
            self._index.add(ids, np.full(len(ids), added.row.id), self.placed(added.vectors))

    def removed(self, ids: IdArray) -> None:
        """Take removed templates out."""
        if self._index is not None:
            self._index.remove(ids)

    def forget(self) -> None:
        """Build it anew at the next search."""
        self._index = None

    def placed(self, vectors: FloatArray) -> FloatArray:
        """(N, D) vectors of this model in the space that is searched."""
        into = self._leave.into
        return vectors if into is None else into.apply(vectors)

    def _vectors(self, ids: IdArray) -> FloatArray:
        """(N, D) templates as they are compared: those of this model are mapped like its probes."""
        into = self._leave.into
        if into is None:
            return self._people.vectors(ids)
        own = np.isin(ids, self._people.table_of([self._contract.contract_id])[0])
        out = np.empty((len(ids), into.to_dim), dtype=np.float32)
        for chosen, mapped in ((~own, False), (own, True)):
            if chosen.any():
                found = self._people.vectors(ids[chosen])
                out[chosen] = into.apply(found) if mapped else found
        return out

    def _table(self) -> tuple[IdArray, IdArray]:
        return self._people.table_of(self._leave.contract_ids)

    def _load(self, index: PersonIndex, ids: IdArray, persons: IdArray) -> None:
        with Progress("index templates", len(ids), enabled=self.progress) as bar:
            for start in range(0, len(ids), _LOAD_ROWS):
                part = slice(start, start + _LOAD_ROWS)
                index.add(ids[part], persons[part], self._vectors(ids[part]))
                bar.advance(len(ids[part]))
