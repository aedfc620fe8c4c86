"""``run_demo``: the steps, the report, and a folder that is either whole or as it was before."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossface.app.demo import words
from crossface.app.demo.page import NAMES, render_page
from crossface.app.demo.plan import MODELS, DemoPlan
from crossface.app.demo.steps import Outcome, take_steps
from crossface.core.errors import UsageError
from crossface.core.files import write_json
from crossface.core.images import decode_image
from crossface.evaluation.report import align_columns

_MARK = ".crossface-demo"


def run_demo(
    out: Path, seed: int = 0, *, photos: Sequence[Path] = (), plan: DemoPlan | None = None
) -> None:
    """Run the demo and leave ``report.html``, ``report.json`` and the models in ``out``.

    Args:
        out: the folder; an earlier demo in it is replaced once this one has succeeded.
        seed: same seed, same numbers.
        photos: the reader's own, for the packaged models; they stay where they are, and the
            report shows them.
        plan: sizes; the five-minute demo by default.

    Raises:
        UsageError: if ``out`` holds something that is not a demo.
        ImageError: a photo that cannot be read; said before anything else is done.
        TrainingStopped: if the teacher does not beat the CNN alone.
    """
    plan = DemoPlan() if plan is None else plan
    progress = logging.getLogger("crossface").getEffectiveLevel() <= logging.INFO
    for photo in photos:
        decode_image(photo)
    with _replacing(out):
        outcome = take_steps(plan, out, seed=seed, photos=photos, progress=progress)
        write_json(out / "report.json", _report(outcome))
        (out / "report.html").write_text(
            render_page(outcome, plan, out=out, seed=seed), encoding="utf-8"
        )
    print(result_table(outcome))
    print(f"\n{words.headline(outcome)}\n{words.against_embedding(outcome)}")
    print(f"\n{words.packaged(outcome.packaged)}")
    for seen in outcome.packaged.photos:
        print(f"{seen.name}: {seen.said}")
    print(f"\nreport: {out / 'report.html'}")


def result_table(outcome: Outcome) -> str:
    """The four models as aligned text."""
    rows: list[tuple[str, ...]] = [("", "TAR at FMR 1e-2", "95 % interval", "minus CNN alone")]
    for name in MODELS:
        found = words.tar(outcome.reports[name])
        limits = "-" if found is None else f"{words.percent(found[1])} .. {words.percent(found[2])}"
        versus = outcome.comparisons.get(f"{name.removeprefix('student_')}_vs_alone")
        difference = None if versus is None else words.gain(versus)
        rows.append(
            (
                NAMES[name],
                "-" if found is None else words.percent(found[0]),
                limits,
                "" if difference is None else words.points(difference),
            )
        )
    return "\n".join(align_columns(rows))


def _report(outcome: Outcome) -> dict[str, Any]:
    return {
        **outcome.reports,
        "comparisons": outcome.comparisons,
        "best": outcome.best,
        "export": outcome.export,
        "packaged": outcome.packaged.as_json(),
        "seconds": outcome.clock.as_json(),
    }


@contextmanager
def _replacing(out: Path) -> Iterator[None]:
    """A fresh folder at ``out``; what was there comes back unless the body succeeds.

    The old folder is set aside instead of the new one, because the run folders inside remember
    the paths they were made at.
    """
    aside = out.with_name(f".{out.name}.old")
    if aside.exists():  # an earlier demo was killed: put things back as they were before it
        _remove_demo(out)
        aside.rename(out)
    if out.exists():
        _refuse_foreign(out)
        out.rename(aside)
    out.mkdir(parents=True)
    (out / _MARK).touch()
    done = False
    try:
        yield
        done = True
    finally:
        if done:
            shutil.rmtree(aside, ignore_errors=True)
        else:
            shutil.rmtree(out, ignore_errors=True)
            if aside.exists():
                aside.rename(out)


def _remove_demo(out: Path) -> None:
    if out.exists():
        _refuse_foreign(out)
        shutil.rmtree(out)


def _refuse_foreign(out: Path) -> None:
    if not out.is_dir() or (any(out.iterdir()) and not (out / _MARK).exists()):
        raise UsageError(f"{out}: holds something that is not a demo; choose another --out")
