"""Photographs of many people through one stream of the networks, handed over person by person."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from crossface.app.photos import pictures_of
from crossface.core.errors import DataError

if TYPE_CHECKING:
    from crossface.core.errors import CrossfaceError
    from crossface.pipeline.analysis import FaceAnalysis
    from crossface.pipeline.portraits import Portrait

Wanted = list[tuple[str, Path]]
"""Person and picture; the pictures of a person stand together."""


def listed(person: str, images: list[Path]) -> Wanted:
    """The pictures of one person; folders are looked through."""
    return [(person, picture) for picture in pictures_of(images)]


def people_in(folder: Path) -> Wanted:
    """The pictures of everybody who has a folder in this one.

    Raises:
        DataError: no such folder, or nobody in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder.name}: expected a folder of people, there is none")
    wanted = [
        (own.name, picture)
        for own in sorted(folder.iterdir())
        if own.is_dir()
        for picture in pictures_of([own])
    ]
    if not wanted:
        raise DataError(f"{folder.name}: expected a folder for each person in it, there is none")
    return wanted


def by_person(
    analysis: FaceAnalysis,
    wanted: Wanted,
    *,
    largest: bool,
    min_quality: float | None,
    progress: bool,
) -> Iterator[tuple[str, list[Portrait | CrossfaceError]]]:
    """Each person with what became of the pictures; see ``pipeline.portraits``."""
    from crossface.core.progress import Progress
    from crossface.pipeline.portraits import portraits

    found = portraits(
        analysis, (path for _, path in wanted), largest=largest, min_quality=min_quality
    )
    with Progress("enroll", len(wanted), enabled=progress) as bar:
        pairs = zip((name for name, _ in wanted), found, strict=True)
        for name, group in groupby(pairs, key=lambda pair: pair[0]):
            answers = []
            for _, answer in group:
                answers.append(answer)
                bar.advance()
            yield name, answers
