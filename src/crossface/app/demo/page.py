"""``report.html``: one file with everything inside, readable on a phone."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from crossface.app.demo import figures, words
from crossface.app.demo.packaged import PhotoAnswer
from crossface.app.demo.plan import MODELS, DemoPlan
from crossface.app.demo.steps import Outcome
from crossface.app.faces import with_faces
from crossface.evaluation.html import picture_uri

NAMES = {
    "teacher": "Swin, the teacher",
    "student_alone": "CNN alone",
    "student_embedding": "CNN taught by embedding",
    "student_cadfr": "CNN taught by CADFR",
}
_LEARNT = {
    "teacher": "identities, CosFace",
    "student_alone": "identities, CosFace",
    "student_embedding": "the teacher's embedding",
    "student_cadfr": "the teacher's embedding and pixels",
}
_PHOTO_PX = 480
_ROWS = (
    ("Same person, recognised", True),
    ("Same person, missed", False),
    ("Two people, told apart", True),
    ("Two people, taken for one", False),
)


def render_page(outcome: Outcome, plan: DemoPlan, *, out: Path, seed: int) -> str:
    """The whole page; ``out`` is the folder as the user named it."""
    css = (files(__package__) / "page.css").read_text(encoding="utf-8")
    body = "".join(
        [
            _opening(outcome, plan),
            _table(outcome),
            _curves(outcome),
            _similarities(outcome),
            _faces(outcome),
            _packaged(outcome),
            _meaning(outcome, plan),
            _onward(outcome, out, seed),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>crossface demo</title><style>{css}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _opening(outcome: Outcome, plan: DemoPlan) -> str:
    return (
        '<p class="kicker">crossface demo</p>'
        f"<h1>{escape(words.headline(outcome))}</h1>"
        f'<p class="lead">Measured on {plan.test_identities} drawn people whom no network has '
        f"seen, at the threshold that takes one in a hundred pairs of strangers for one person. "
        f"All CNNs are the same network, trained for the same {plan.student_steps} steps on the "
        f"same pictures of {plan.student_identities} people; the teacher had "
        f"{plan.teacher_identities}.</p>"
    )


def _table(outcome: Outcome) -> str:
    head = (
        "<tr><th>model</th><th>parameters</th><th>TAR at<br>FMR 1 %</th>"
        "<th>TAR at<br>FMR 0.1 %</th><th>EER</th><th>against the<br>CNN alone, points</th></tr>"
    )
    rows = []
    for name in MODELS:
        report = outcome.reports[name]
        eer = report["eer"]
        versus = {"student_alone": None, "teacher": "teacher_vs_alone"}.get(
            name, f"{name.removeprefix('student_')}_vs_alone"
        )
        cells = [
            f"{outcome.facts[name]['parameters']:,}".replace(",", "\u2009"),
            _rate(words.tar(report), strong=True),
            _rate(words.tar(report, "1e-3")),
            _rate(None if eer["low"] is None else (eer["value"], eer["low"], eer["high"])),
            "" if versus is None else _difference(words.gain(outcome.comparisons[versus])),
        ]
        said = (
            f'<td><span class="key {name}"></span>{NAMES[name]}<small>{_LEARNT[name]}</small></td>'
        )
        rows.append(f"<tr>{said}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
        '</div><small class="note">TAR: same-person pairs recognised, at the threshold where FMR, '
        "the share of pairs of strangers taken for one person, is as given. EER: where both errors "
        "are equal. Small figures: 95 % intervals with people as units; differences are paired, "
        "at FMR 1 %."
        "</small>"
    )


def _rate(found: tuple[float, float, float] | None, *, strong: bool = False) -> str:
    if found is None:
        return "–"
    value, low, high = (100 * part for part in found)
    shown = f"<b>{value:.1f} %</b>" if strong else f"{value:.1f} %"
    return f"{shown}<small>{low:.1f} – {high:.1f}</small>"


def _difference(found: tuple[float, float, float] | None) -> str:
    if found is None:
        return "–"
    value, low, high = (words.signed(part).replace("-", "\u2212") for part in found)
    return f"<b>{value}</b><small>{low} to {high}</small>"


def _curves(outcome: Outcome) -> str:
    taught = ("student_embedding", "student_cadfr")
    panels = [
        figures.learning_chart(outcome),
        figures.det_chart(outcome),
        figures.loss_chart(
            outcome, ("teacher", "student_alone"), said="cross-entropy of identities"
        ),
        figures.loss_chart(outcome, taught, said="1 \u2212 cosine to the teacher"),
    ]
    captions = (
        "<b>Learning.</b> How well each network separates people that its training kept apart, "
        "after each part of its steps.",
        "<b>Errors.</b> DET curves on the test people: lower is better, at every threshold.",
        "<b>Loss, learning identities.</b> The teacher takes more steps, and has more people "
        "to tell apart.",
        "<b>Loss, learning from the teacher.</b> CADFR's further terms are left out, so that both "
        "show the same quantity.",
    )
    shown = "".join(
        f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"
        for svg, caption in zip(panels, captions, strict=True)
    )
    return (
        f"<h2>How they learn, and how they err</h2>{_legend()}"
        f'<div class="panels pair">{shown}</div>'
    )


def _legend() -> str:
    keys = "".join(f'<span><i class="key {n}"></i>{figures.SHORT[n]}</span>' for n in MODELS)
    return f'<p class="legend">{keys}</p>'


def _similarities(outcome: Outcome) -> str:
    shown = "".join(
        f"<figure>{figures.histogram_chart(outcome, name)}"
        f"<figcaption><b>{NAMES[name]}</b></figcaption></figure>"
        for name in MODELS
    )
    return (
        "<h2>Same person, strangers</h2>"
        '<p class="legend"><span><i class="key genuine"></i>pairs of one person</span>'
        '<span><i class="key impostor"></i>pairs of strangers</span>'
        "<span>dotted: threshold at FMR 1 %</span></p>"
        f'<div class="panels pair">{shown}</div>'
    )


def _faces(outcome: Outcome) -> str:
    rows = []
    for (title, right), pairs in zip(_ROWS, figures.shown_pairs(outcome), strict=False):
        cells = "".join(
            f'<figure><div class="pair"><img src="{pair.left}" alt="drawn face">'
            f'<img src="{pair.right}" alt="drawn face"></div>'
            f'<figcaption>{pair.similarity:.2f} <span class="{"right" if right else "wrong"}">'
            f"{'same' if pair.accepted else 'different'}</span></figcaption></figure>"
            for pair in pairs
        )
        said = "right" if right else "wrong"
        rows.append(
            f'<div class="row"><h3>{title} <span>· {said}</span></h3>'
            f'<div class="faces">{cells or "<small>none in this run</small>"}</div></div>'
        )
    threshold = outcome.reports[outcome.best]["fnmr_at_fmr"]["1e-2"]["threshold"]
    told = "" if threshold is None else f" Threshold {threshold:.3f}."
    return (
        "<h2>Hits and misses</h2>"
        f"<p>What the {NAMES[outcome.best]} says of pairs of test pictures: cosine similarity and "
        f"decision at FMR 1 %.{told} Each row runs evenly from the most to the least similar pair "
        "of its kind, a person at most once; of the strangers told apart, the most "
        "similar twentieth."
        f"</p>{''.join(rows)}"
    )


def _packaged(outcome: Outcome) -> str:
    found = outcome.packaged
    threshold = ""
    if found.threshold is not None and found.fpir is not None:
        threshold = (
            f" Its card's threshold, {found.threshold:.2f}, lets {100 * found.fpir:g} % of real "
            "strangers pass; drawn people are not like those."
        )
    shown = "".join(
        f'<figure><img src="{_photo(photo)}" alt="{escape(photo.name)}">'
        f"<figcaption><b>{escape(photo.name)}</b> {escape(photo.said)}</figcaption></figure>"
        for photo in found.photos
    )
    own = (
        f'<div class="panels pair">{shown}</div>'
        if shown
        else ("<p>Your own photographs: <code>crossface demo --photo me.jpg</code>.</p>")
    )
    return (
        "<h2>What comes with the package</h2>"
        f"<p>{escape(words.packaged(found))}{threshold}</p>{own}"
    )


def _photo(photo: PhotoAnswer) -> str:
    """A data URI of the photograph with what was found in it, small enough for a page."""
    drawn = with_faces(photo.image, photo.faces)
    drawn.thumbnail((_PHOTO_PX, _PHOTO_PX))
    return picture_uri(np.asarray(drawn))


def _meaning(outcome: Outcome, plan: DemoPlan) -> str:
    return (
        "<h2>What this shows, and what it does not</h2>"
        f"<p>{escape(words.against_alone(outcome))} {escape(words.against_embedding(outcome))}</p>"
        "<p>The machinery works from end to end: a teacher, students that learn from it, figures "
        "with intervals on people nobody trained on, an export that was compared with its "
        "original. The teacher knows more people than the students are shown, and its embedding "
        "says more in each step than a label does; this run does not tell the two apart.</p>"
        "<p>It shows nothing about real faces. The people are drawn by a formula, the networks "
        f"are tiny, training lasts {plan.student_steps} steps, and there is one seed: the "
        "intervals are about other people of the same kind, not about other trainings. The CNN "
        "alone is still learning when its steps are spent: trained for much longer, or shown as "
        "many people as the teacher, it may close the gap. For the question whether "
        "CADFR beats embedding regression on real faces, see the benchmarks.</p>"
    )


def _onward(outcome: Outcome, out: Path, seed: int) -> str:
    parity = outcome.export["parity"]
    clock = outcome.clock.as_json()
    return (
        "<h2>Go on from here</h2>"
        f"<p>The {NAMES[outcome.best]}, best on the people its training kept apart, was exported "
        f"to <code>student.onnx</code> ({outcome.export['size_bytes'] / 1e6:.2f} MB). Over "
        f"{parity['crops']} test crops its embeddings differ from the original's by at most "
        f"{parity['max_abs_difference_unit']:.1e} at unit length.</p>"
        f"<pre><code>{escape(_next_commands(out))}</code></pre>"
        f"<footer><small>Seed {seed}. {clock['total']:.0f} s, {clock['core_seconds']['total']:.0f} "
        "processor seconds. Every figure of this page is in <code>report.json</code>. No "
        "photograph of anyone was used.</small></footer>"
    )


def _next_commands(out: Path) -> str:
    test = out / "faces" / "test.zip"
    return (
        f"crossface evaluate {out / 'student.onnx'} all-pairs --data {test}\n"
        f"crossface compare {out / 'student_cadfr'} {out / 'student_embedding'} --data {test}"
    )
