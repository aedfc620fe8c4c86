"""RFW (Racial Faces in the Wild): four lists of pairs, one per group, over aligned crops.

Layout (the folder ``test`` itself, or the one that holds it)::

    data/African/m.0abc/m.0abc_0001.jpg      pictures, already aligned to 112x112
    txts/African/African_pairs.txt           LFW rows: "m.0abc 1 3", "m.0abc 1 m.0xyz 2"
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crossface.core.errors import DataError
from crossface.data.formats.image_folder import ImageFolder
from crossface.data.formats.pair_list import Pair, PairList
from crossface.data.formats.pictures import Labels
from crossface.data.formats.published import bad_line, read_lines

FOLDS = 10


class RfwFaces(ImageFolder):
    """Pictures of all groups; keys are "African/m.0abc/m.0abc_0001".

    The published lists have no header: rows are cut into ten consecutive folds of one size. A
    header "folds<TAB>pairs", as LFW's, is taken at its word.

    Attributes:
        pair_lists: a list of pairs per group, in alphabetical order.

    Args:
        path: the folder that holds ``data`` and ``txts``, or its parent with a folder ``test``.
        labels: "none" hides the identities.

    Raises:
        DataError: naming the file and the line.
    """

    def __init__(self, path: str | Path, *, labels: Labels = "auto") -> None:
        root = _root(Path(path))
        super().__init__(root / "data", labels=labels)
        self._name = "RFW"
        lists = sorted((root / "txts").glob("*/*_pairs.txt"))
        if not lists:
            raise DataError(
                f"{root.resolve().name}: expected txts/GROUP/GROUP_pairs.txt, found none"
            )
        self.pair_lists: dict[str, PairList] = {}
        for file in lists:
            group = file.parent.name
            if file.name != f"{group}_pairs.txt":
                raise DataError(f"{file.name}: expected {group}_pairs.txt in the folder {group}")
            self.pair_lists[group] = read_group_pairs(file, group)


def read_group_pairs(path: Path, group: str) -> PairList:
    """A list in LFW's rows with or without a header; the number of fields says the kind.

    Raises:
        DataError: naming the file and the line.
    """
    lines = read_lines(path)
    folds, offset = FOLDS, 0
    header = lines[0].split()
    if len(header) <= 2 and all(_is_number(field) for field in header):
        folds, offset = (int(header[0]) if len(header) == 2 else 1), 1
    body = lines[offset:]
    if not body or folds < 1 or len(body) % folds:
        raise DataError(
            f"{path.name}: expected rows in {folds} folds of one size, got {len(body)} rows"
        )
    fold_of = np.repeat(np.arange(folds), len(body) // folds).tolist()
    pairs = [
        _pair(path, number, line, fold, group)
        for number, (line, fold) in enumerate(zip(body, fold_of, strict=True), start=offset + 1)
    ]
    return PairList(name=path.name, pairs=tuple(pairs))


def _pair(path: Path, number: int, line: str, fold: int, group: str) -> Pair:
    fields = line.split()
    wanted = "'name i j' of one person or 'name_1 i name_2 j' of two people"
    if len(fields) not in (3, 4):
        raise bad_line(path, number, wanted, line)
    same = len(fields) == 3
    first, second = fields[0], fields[0] if same else fields[2]
    numbers = (fields[1], fields[-1])
    if not all(map(_is_number, numbers)) or (not same and first == second):
        raise bad_line(path, number, wanted, line)
    a, b = (
        f"{group}/{person}/{person}_{int(place):04d}"
        for person, place in zip((first, second), numbers, strict=True)
    )
    return Pair(fold, a, b, same)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _root(path: Path) -> Path:
    for root in (path, path / "test"):
        if (root / "data").is_dir() and (root / "txts").is_dir():
            return root
    raise DataError(f"{path.resolve().name}: expected the folders data and txts of RFW's test set")
