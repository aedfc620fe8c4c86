"""One lazy table per plug-in kind: a public name becomes an object on first use."""

from __future__ import annotations

import difflib
import fnmatch
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from crossface.core.errors import UnknownName


class Registry:
    """Maps public names to ``"package.module:attribute"`` and imports on demand.

    Args:
        kind: what the names are, in the singular, for messages ("backbone").
        table: public name to ``"module:attribute"``.
        group: entry-point group by which other packages add names ("crossface.backbones").

    ``names()`` imports nothing; ``resolve()`` imports one module.
    """

    def __init__(self, kind: str, table: dict[str, str], group: str | None = None) -> None:
        self.kind = kind
        self._table = dict(table)
        self._group = group
        self._outside_loaded = group is None

    def names(self, pattern: str = "*") -> list[str]:
        """Sorted public names that match a shell pattern."""
        self._load_outside()
        return sorted(fnmatch.filter(self._table, pattern))

    def __contains__(self, name: object) -> bool:
        self._load_outside()
        return name in self._table

    def resolve(self, name: str) -> Any:  # noqa: ANN401  # a table of anything
        """The object behind a name.

        Raises:
            UnknownName: with near matches, if no table holds the name.
        """
        self._load_outside()
        if name not in self._table:
            near = difflib.get_close_matches(name, self._table, n=3, cutoff=0.5)
            hint = (
                f"did you mean {' or '.join(near)}?"
                if near
                else f"known: {', '.join(self.names())}"
            )
            raise UnknownName(f"no {self.kind} is named {name!r}; {hint}")
        module, _, attribute = self._table[name].partition(":")
        return getattr(import_module(module), attribute)

    def _load_outside(self) -> None:
        if self._outside_loaded:
            return
        self._outside_loaded = True
        for point in entry_points(group=self._group or ""):
            self._table.setdefault(point.name, point.value)
