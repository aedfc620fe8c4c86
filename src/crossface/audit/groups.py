"""Who belongs to which group: ``groups.csv``, and lists of impostor pairs inside groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from crossface.core.errors import DataError
from crossface.data.formats.csv_table import KEY_COLUMNS, picture_key, read_table

MAX_VALUES = 100  # of one column: more is a measurement or a name, not a group

KeyPair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class GroupTable:
    """What is known of each picture.

    Attributes:
        name: of the file.
        columns: the attributes.
        values: key of the picture to its values, in the order of ``columns``; "" is unknown.
    """

    name: str
    columns: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]

    def of(self, columns: Sequence[str]) -> dict[str, str]:
        """Group of each picture by one or several columns; pictures with an unknown are left out.

        Raises:
            DataError: naming a column that is not there.
        """
        places = [self._place(column) for column in columns]
        chosen = {key: [row[place] for place in places] for key, row in self.values.items()}
        return {key: " / ".join(row) for key, row in chosen.items() if all(row)}

    def partitions(self, columns: Sequence[str] | None = None) -> list[tuple[str, ...]]:
        """The columns one by one, then two by two and so on: what is audited.

        Raises:
            DataError: naming a column that is not there or that has too many values.
        """
        chosen = self.columns if columns is None else tuple(columns)
        for column in chosen:
            place = self._place(column)
            count = len({row[place] for row in self.values.values()})
            if count > MAX_VALUES:
                raise DataError(
                    f"{self.name}: column {column!r} has {count} different values, a group column "
                    f"has at most {MAX_VALUES}; choose columns with --by"
                )
        return [part for size in range(1, len(chosen) + 1) for part in combinations(chosen, size)]

    def _place(self, column: str) -> int:
        if column not in self.columns:
            raise DataError(
                f"{self.name}: no column {column!r}, there are {', '.join(self.columns)}"
            )
        return self.columns.index(column)


def read_groups(path: str | Path) -> GroupTable:
    """Read a CSV with one row for each picture.

    The column named key, file, picture, image or path holds the picture's key in the set (a
    picture suffix is dropped); every other column is an attribute.

    Raises:
        DataError: naming the file, the line, what was expected and what came.
    """
    name = Path(path).name
    header, rows = read_table(path)
    found = [column for column in KEY_COLUMNS if column in header]
    if not found or len(header) < 2:
        raise DataError(
            f"{name}, line 1: expected a column of pictures ({', '.join(KEY_COLUMNS)}) and at "
            f"least one of groups, got {','.join(header)[:80]!r}"
        )
    place = header.index(found[0])
    columns = tuple(column for column in header if column != found[0])
    values: dict[str, tuple[str, ...]] = {}
    for line, row in rows:
        key = picture_key(row[place])
        if not key:
            raise DataError(f"{name}, line {line}: expected a picture, got an empty cell")
        if key in values:
            raise DataError(f"{name}, line {line}: {key!r} is there twice")
        values[key] = tuple(cell for at, cell in enumerate(row) if at != place)
    return GroupTable(name, columns, values)


def read_impostor_pairs(path: str | Path) -> dict[str, list[KeyPair]]:
    """Read a CSV of pairs of different people: columns ``a``, ``b`` and any that name the group.

    Returns:
        Pairs of each group, by the group columns' values joined with " / "; "all" where there is
        no such column.

    Raises:
        DataError: naming the file, the line, what was expected and what came.
    """
    name = Path(path).name
    header, rows = read_table(path)
    if "a" not in header or "b" not in header:
        raise DataError(
            f"{name}, line 1: expected the columns a and b, got {','.join(header)[:80]!r}"
        )
    first, second = header.index("a"), header.index("b")
    others = [place for place in range(len(header)) if place not in {first, second}]
    groups: dict[str, list[KeyPair]] = {}
    for line, row in rows:
        pair = (picture_key(row[first]), picture_key(row[second]))
        if not all(pair) or pair[0] == pair[1]:
            raise DataError(f"{name}, line {line}: expected two pictures, got {pair!r}")
        label = " / ".join(row[place] for place in others) or "all"
        groups.setdefault(label, []).append(pair)
    return groups
