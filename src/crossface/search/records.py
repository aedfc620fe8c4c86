"""What a gallery answers: frozen results, one per question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import overload

from crossface.core.types import Match


@dataclass(frozen=True, slots=True)
class Identification(Sequence[Match]):
    """Who this may be: the most similar people, best first, and what was decided.

    ``threshold`` is None where neither a card nor the caller gave one: then nothing is accepted
    and ``unknown`` is None, since there is no verdict. ``fpir`` is the false positive
    identification rate that the threshold stands for, None for a caller's own threshold.
    """

    matches: tuple[Match, ...]
    threshold: float | None
    fpir: float | None = None

    @property
    def unknown(self) -> bool | None:
        """True where nobody is similar enough, False where somebody is, None without a verdict."""
        if self.threshold is None:
            return None
        return not any(match.accepted for match in self.matches)

    @property
    def best(self) -> Match | None:
        """The most similar person if accepted, else None."""
        return next((match for match in self.matches if match.accepted), None)

    def __len__(self) -> int:
        return len(self.matches)

    def __iter__(self) -> Iterator[Match]:
        return iter(self.matches)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Match, ...]: ...
    def __getitem__(self, index: int | slice) -> Match | tuple[Match, ...]:
        return self.matches[index]


@dataclass(frozen=True, slots=True)
class Template:
    """One enrolled face, without its vector."""

    id: int
    contract_id: str
    quality: float | None
    note: str | None
    created: str


@dataclass(frozen=True, slots=True)
class Person:
    """One enrolled person. ``created`` is UTC in ISO 8601."""

    name: str
    templates: tuple[Template, ...]
    consent: str | None
    retain_until: date | None
    created: str


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What was committed when a person was enrolled.

    ``pending`` is the reason why the bytes of replaced templates are not erased yet, None when
    there are none; see ``Removal``.
    """

    person: str
    template_ids: tuple[int, ...]
    pending: str | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """What was removed, and whether its bytes are gone from the gallery's files.

    ``pending`` is None once they are; else it is the reason why erasure waits. It is retried on
    the next operation and by ``Gallery.finish_erasure``.
    """

    persons: tuple[str, ...]
    templates: int
    pending: str | None = None

    @property
    def erased(self) -> bool:
        """Whether nothing of it is left in any file of the gallery."""
        return self.pending is None


@dataclass(frozen=True, slots=True)
class Migration:
    """How far a gallery is on its way to another model: ``target`` is its contract."""

    target: str
    done: int
    waiting: tuple[str, ...]
    model: str = ""

    @property
    def complete(self) -> bool:
        """Whether everybody is enrolled with the target model."""
        return not self.waiting


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at. ``kind``: duplicate, outlier, low-quality, foreign, overdue,
    unencrypted, erasure-pending, unreadable.
    """

    kind: str
    person: str | None
    detail: str
    template: int | None = None
    other: str | None = None
    similarity: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """What ``doctor`` found, and what it could not look for."""

    findings: tuple[Finding, ...]
    skipped: tuple[str, ...] = ()
