"""``crossface evaluate ... liveness``: scores of a table, or networks on photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossface.evaluation.report import Report


def liveness_report(
    model: str,
    data: str | None,
    detector: str | None,
    *,
    threshold: float | None,
    threads: int | None,
    progress: bool,
) -> Report:
    """The report of a table of scores (no data), or of networks on photographs.

    Args:
        model: a CSV with kind,score, or MiniFASNet files with commas between them.
        data: photographs by kind.
        detector: finds the faces; the package's own by default.
        threshold: taken for live from this score on.
        threads: CPU threads.
        progress: show progress on stderr.

    Raises:
        UsageError: what is missing or too much. DataError: what does not fit.
    """
    from crossface.core.errors import UsageError
    from crossface.evaluation.liveness import evaluate_liveness, read_liveness_scores

    if Path(model).suffix.lower() == ".csv":
        if data is not None or detector is not None:
            raise UsageError(f"{Path(model).name} holds scores: --data and --detector have no use")
        return evaluate_liveness(read_liveness_scores(model), threshold=threshold)
    if data is None:
        raise UsageError(
            "liveness networks look at photographs: --data is missing; scores that you have "
            "already are read from a CSV with kind,score in the model's place"
        )
    from crossface.audit.liveness import open_presentations, score_liveness
    from crossface.pipeline.analysis import FaceAnalysis

    presentations = open_presentations(data)
    files = model.split(",")
    analysis = FaceAnalysis(None, detector, quality=False, liveness=files, threads=threads)
    named = "+".join(Path(file).stem for file in files)
    scores = score_liveness(analysis, presentations, model=named, progress=progress)
    return evaluate_liveness(scores, threshold=threshold)
