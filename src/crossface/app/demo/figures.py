"""The report's charts and its grid of faces, from an outcome."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossface.app.demo.plan import MODELS
from crossface.app.demo.steps import TARGET, Outcome
from crossface.evaluation.charts import HEIGHT, Axis, Chart, even_ticks
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.html import picture_uri
from crossface.evaluation.metrics import roc

SHORT = {
    "teacher": "Swin",
    "student_alone": "CNN alone",
    "student_embedding": "CNN, embedding",
    "student_cadfr": "CNN, CADFR",
}
_BINS = 60
_PAIRS_SHOWN = 6
_LOWEST_FMR = 1e-4


@dataclass(frozen=True, slots=True)
class ShownPair:
    """One comparison of the grid.

    Attributes:
        left: data URI of a crop.
        right: data URI of the other.
        similarity: in [-1, 1].
        same: whether it is one person.
        accepted: whether the threshold takes it for one.
    """

    left: str
    right: str
    similarity: float
    same: bool
    accepted: bool


def learning_chart(outcome: Outcome) -> str:
    """Separation of held-apart people over the share of the steps, all four models."""
    lines = {
        name: [(m["step"], m["val_auc"]) for m in metrics if "val_auc" in m]
        for name, metrics in outcome.metrics.items()
    }
    lowest = min(value for line in lines.values() for _, value in line)
    low = min(0.95, np.floor(lowest * 20) / 20)
    shares = Axis(0, 100, [(v, f"{v} %") for v in (0, 25, 50, 75, 100)])
    chart = Chart(
        shares,
        Axis(low, 1, even_ticks(low, 1, about=4)),
        x_label="share of the training steps",
        y_label="AUC on people kept apart",
        title="Validation AUC over training",
    )
    for name, line in lines.items():
        last = line[-1][0]
        chart.line([100 * s / last for s, _ in line], [v for _, v in line], style=name, dots=True)
    return chart.svg()


def loss_chart(outcome: Outcome, names: tuple[str, ...], *, said: str) -> str:
    """What each student minimises for itself over the steps: CADFR's further terms left out."""
    lines = {
        name: [
            (m["step"], m.get("student", m["loss"])) for m in outcome.metrics[name] if "loss" in m
        ]
        for name in names
    }
    steps = max(line[-1][0] for line in lines.values())
    high = max(value for line in lines.values() for _, value in line)
    chart = Chart(
        Axis(0, steps, even_ticks(0, steps, about=4)),
        Axis(0, high, even_ticks(0, high, about=4)),
        x_label="step",
        y_label=said,
        title=f"{said} over training",
    )
    for name, line in lines.items():
        chart.line([s for s, _ in line], [v for _, v in line], style=name)
    return chart.svg()


def det_chart(outcome: Outcome) -> str:
    """FNMR against FMR of all models."""
    fmr_ticks = [(1e-4, "0.01 %"), (1e-3, "0.1 %"), (1e-2, "1 %"), (1e-1, "10 %"), (1.0, "100 %")]
    chart = Chart(
        Axis(_LOWEST_FMR, 1, fmr_ticks, log=True),
        Axis(0, 1, [(v / 4, f"{25 * v} %") for v in range(5)]),
        x_label="strangers let through (FMR)",
        y_label="same-person pairs missed (FNMR)",
        title="DET curves: false non-match rate against false match rate",
        height=HEIGHT,
    )
    chart.rule(float(TARGET))
    chart.text(float(TARGET), 1, f"FMR {TARGET}", style="quiet", shift=(5, 14))
    grid = np.geomspace(_LOWEST_FMR, 1, 160)
    for name in MODELS:
        table = outcome.tables[name]
        curve = roc(table.genuine, table.tail, n_impostor=table.n_impostor)
        place = np.searchsorted(curve.fmr, grid, side="right") - 1
        chart.line(grid, curve.fnmr[place], style=name)
    return chart.svg()


def histogram_chart(outcome: Outcome, name: str) -> str:
    """Similarities of genuine and impostor pairs, with the threshold of the target FMR."""
    table = outcome.tables[name]
    low = float(np.floor(min(table.genuine.min(), table.tail.min()) * 5) / 5)
    edges = np.linspace(low, 1.0, _BINS + 1)
    heights = [np.histogram(s, edges, density=True)[0] for s in (table.tail, table.genuine)]
    chart = Chart(
        Axis(low, 1, [(v, f"{v:.1f}") for v in np.arange(np.ceil(low * 2) / 2, 1.01, 0.5)]),
        Axis(0, float(max(h.max() for h in heights)) * 1.08, []),
        x_label="cosine similarity",
        y_label="",
        title=f"Similarities of {SHORT[name]}",
        height=210,
    )
    chart.steps(edges, heights[0], style="impostor")
    chart.steps(edges, heights[1], style="genuine")
    threshold = outcome.reports[name]["fnmr_at_fmr"][TARGET]["threshold"]
    if threshold is not None:
        chart.rule(threshold)
    return chart.svg()


def shown_pairs(outcome: Outcome) -> list[list[ShownPair]]:
    """Genuine hits, genuine misses, impostors refused, impostors let through, of the best student.

    Each row takes pairs evenly from the strongest to the weakest of its kind, and a person at
    most once, so that nothing is chosen for its looks.
    """
    faces = outcome.faces[outcome.best]
    threshold = outcome.reports[outcome.best]["fnmr_at_fmr"][TARGET]["threshold"]
    if threshold is None:
        return []
    scores = faces.embeddings @ faces.embeddings.T
    names = np.array(faces.identities, dtype=str)
    a, b = np.triu_indices(len(names), 1)
    values, same = scores[a, b], names[a] == names[b]
    rows = []
    for genuine, accepted in ((True, True), (True, False), (False, False), (False, True)):
        chosen = np.flatnonzero((same == genuine) & ((values >= threshold) == accepted))
        ordered = chosen[np.argsort(-values[chosen], kind="stable")]
        if not genuine and not accepted:
            ordered = ordered[: len(ordered) // 20 + _PAIRS_SHOWN]  # most strangers are easy
        rows.append(
            [
                ShownPair(
                    _data_uri(outcome, faces, int(a[k])),
                    _data_uri(outcome, faces, int(b[k])),
                    float(values[k]),
                    genuine,
                    accepted,
                )
                for k in _spread(ordered, a, b, names)
            ]
        )
    return rows


def _spread(
    ordered: npt.NDArray[np.intp],
    a: npt.NDArray[np.intp],
    b: npt.NDArray[np.intp],
    names: npt.NDArray[np.str_],
) -> list[int]:
    """Evenly spaced places; where a person was shown already, the next pair without one."""
    taken: set[str] = set()
    found: list[int] = []
    for start in np.linspace(0, max(len(ordered) - 1, 0), _PAIRS_SHOWN).astype(int):
        for k in ordered[start:].tolist():
            people = {str(names[a[k]]), str(names[b[k]])}
            if not people & taken:
                taken |= people
                found.append(k)
                break
    return found


def _data_uri(outcome: Outcome, faces: EmbeddedFaces, index: int) -> str:
    places = {outcome.test.key(i): i for i in range(len(outcome.test))}
    return picture_uri(outcome.test.read(places[faces.keys[index]]))
