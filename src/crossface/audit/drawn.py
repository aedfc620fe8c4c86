"""One attribute changed, everything else kept: an experiment on drawn people.

In photographs a group differs in a hundred ways at once. Drawn people can be drawn again with
another skin, age, pose or light and not one other trait changed, so a change of the error rate is
*caused* by the attribute, in this generator. About photographs it says nothing by itself, and
nothing at all unless the model tells drawn people apart: then the answer is void.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossface.core.card import Interval
from crossface.core.protocols import Embedder
from crossface.core.types import UInt8Image
from crossface.data.drawn import DrawnFaces
from crossface.data.drawn.draw import draw_face
from crossface.data.drawn.source import SCENE_PX, VERSION
from crossface.evaluation.dyadic import Impostors, fmr_at, fnmr_at
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.influence import FmrAt, auc_influence, combine, spread
from crossface.evaluation.intervals import difference_interval
from crossface.evaluation.metrics import threshold_at_fmr
from crossface.evaluation.report import align_columns, interval_dict
from crossface.evaluation.scores import ScoreTable, score_all_pairs

AUC_BAR = 0.9
FMR = 1e-2


@dataclass(frozen=True, slots=True)
class Attribute:
    """What is changed.

    Attributes:
        name: a trait of ``data.drawn.identity.Identity`` or of ``data.drawn.nuisance.Nuisance``.
        levels: values it is set to, one after the other, for everybody.
        of_person: whether it is a trait of the person, not of the picture.
    """

    name: str
    levels: tuple[float, ...]
    of_person: bool


ATTRIBUTES = (
    Attribute("skin_tone", (0.1, 0.3, 0.5, 0.7, 0.9), True),
    Attribute("age", (0.3, 0.6, 0.8, 0.95), True),
    Attribute("yaw_deg", (0.0, 20.0, 40.0), False),
    Attribute("light_strength", (0.1, 0.55, 1.0), False),
    Attribute("exposure_stops", (-1.2, 0.0, 1.2), False),
)


class ChangedFaces:
    """Drawn people with one attribute set; a ``core.protocols.FaceSource``.

    Args:
        source: the people as they are.
        attribute: what is changed.
        level: what it is set to in every picture.
    """

    def __init__(self, source: DrawnFaces, attribute: Attribute, level: float) -> None:
        self.source, self.attribute, self.level = source, attribute, level

    @property
    def name(self) -> str:
        """For example "drawn:ids=8,...; skin_tone=0.9"."""
        return f"{self.source.name}; {self.attribute.name}={self.level:g}"

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        """Key of the unchanged picture."""
        return self.source.key(index)

    def identity(self, index: int) -> str:
        """The person, who stays the same."""
        return self.source.identity(index)

    def read(self, index: int) -> UInt8Image:
        """(112, 112, 3) uint8 RGB."""
        who, how = self.source.person(index), self.source.circumstances(index)
        change = {self.attribute.name: self.level}
        if self.attribute.of_person:
            who = who.with_(**change)
        else:
            how = how.with_(**change)
        return draw_face(who, how, size=SCENE_PX).crop()

    def digest(self) -> str:
        """Hex sha256 of the people and the change."""
        told = [VERSION, self.source.digest(), self.attribute.name, self.level]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def audit_drawn(
    embedder: Embedder,
    *,
    people: int = 100,
    per_person: int = 3,
    seed: int = 1,
    nuisance: float = 0.5,
    attributes: tuple[Attribute, ...] = ATTRIBUTES,
    auc_bar: float = AUC_BAR,
    flip: bool = True,
    progress: bool = True,
) -> dict[str, Any]:
    """Change one attribute at a time and see what the error rates do.

    The common threshold is that of FMR 1e-2 on the unchanged people, since a threshold for
    photographs means nothing here. Differences are paired: the same people are on both sides.

    Args:
        embedder: the model.
        people: drawn people.
        per_person: pictures of each.
        seed: another seed, other people.
        nuisance: strength of pose, light and the rest, see ``DrawnFaces``.
        attributes: what is changed.
        auc_bar: the result is void unless the AUC on the unchanged people reaches this.
        flip: as the model is used.
        progress: show progress on stderr.

    Returns:
        {people, pictures, auc, auc_bar, void, reason, threshold, scope, attributes}; ``attributes``
        is empty where the result is void, else by name and level {fmr, fnmr, fmr_change},
        ``fmr_change`` against the unchanged people.
    """
    source = DrawnFaces(identities=people, per_identity=per_person, seed=seed, nuisance=nuisance)
    table = score_all_pairs(embed_faces(embedder, source, flip=flip, progress=progress))
    auc = auc_influence(table)
    report: dict[str, Any] = {
        "people": people,
        "pictures": len(source),
        "seed": seed,
        "auc": auc.value,
        "auc_bar": auc_bar,
        "void": auc.value < auc_bar,
        "reason": None,
        "scope": (
            "causal within the generator only: everything but the attribute is the same picture, "
            "but nothing here is a photograph"
        ),
        "attributes": {},
    }
    if report["void"]:
        report["reason"] = (
            f"void: the model separates drawn people with AUC {auc.value:.3f}, {auc_bar:g} is "
            "needed for a change to mean anything"
        )
        return report
    threshold = threshold_at_fmr(table.tail, FMR)
    report["threshold"] = threshold
    report["unchanged"] = _rates(table, threshold)
    for attribute in attributes:
        levels: dict[str, Any] = {}
        for level in attribute.levels:
            changed = ChangedFaces(source, attribute, level)
            faces = embed_faces(embedder, changed, flip=flip, progress=progress)
            other = score_all_pairs(faces, floor=threshold)
            change = interval_dict(_change(other, table, threshold))
            levels[f"{level:g}"] = {**_rates(other, threshold), "fmr_change": change}
        report["attributes"][attribute.name] = levels
    return report


def drawn_text(report: dict[str, Any]) -> str:
    """The result as aligned plain text."""
    head = f"drawn people: {report['people']}, AUC {report['auc']:.3f}; {report['scope']}"
    if report["void"]:
        return f"{head}\n{report['reason']}"
    rows = [("attribute", "level", "FMR", "change of the FMR", "FNMR")]
    rows.append(("unchanged", "", *_cells(report["unchanged"], None)))
    for name, levels in report["attributes"].items():
        for level, row in levels.items():
            rows.append((name, level, *_cells(row, row["fmr_change"])))
    return "\n".join([head, *align_columns(rows)])


def _cells(row: dict[str, Any], change: dict[str, Any] | None) -> tuple[str, str, str]:
    moved = ""
    if change is not None:
        moved = f"{change['value']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]"
    fnmr = row["fnmr"]["value"]
    return f"{row['fmr']['value']:.4f}", moved, "-" if fnmr is None else f"{fnmr:.4f}"


def _rates(table: ScoreTable, threshold: float) -> dict[str, Any]:
    return {
        "fmr": interval_dict(fmr_at(Impostors.of_table(table), threshold)),
        "fnmr": interval_dict(fnmr_at(table, threshold)),
    }


def _change(changed: ScoreTable, unchanged: ScoreTable, threshold: float) -> Interval:
    """FMR changed less FMR unchanged, the same people on both sides."""
    if not np.array_equal(changed.sizes, unchanged.sizes):
        raise ValueError("both sides must hold the same pictures of the same people")
    both = combine(
        [
            (1.0, FmrAt(changed, threshold).influence),
            (-1.0, FmrAt(unchanged, threshold).influence),
        ]
    )
    found = spread(both, changed.sizes)
    return difference_interval(both.value, found.variance, df=found.df)
