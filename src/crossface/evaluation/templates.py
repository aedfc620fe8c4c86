"""Several pictures of one person to one embedding: a template.

InsightFace's IJB scripts name the choices by three switches, kept here: N (weigh a picture by the
length of its raw embedding, or make all lengths one first), D (weigh it by the detector's score)
and F (add the mirror image, ``embed_faces(flip=True)``). Their published figures are N1 D1 F1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.types import Failure, FloatArray
from crossface.evaluation.embed import EmbeddedFaces

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

_BLOCK_ROWS = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class TemplateSet:
    """Which pictures make which template.

    Attributes:
        keys: (N,) picture of each row, by the source's key; a picture may have several rows.
        templates: (N,) name of the template of each row.
        media: (N,) int64 media of each row: the frames of one video share a number.
        detector_scores: (N,) > 0, or None where there are none.
        subjects: identity of each template where known.
    """

    keys: Sequence[str]
    templates: Sequence[str]
    media: Int64Array
    detector_scores: Float64Array | None
    subjects: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class PooledTemplates:
    """Templates as embedded faces, one row per template.

    Attributes:
        faces: keys are the templates' names, sorted; a failure is a template without an embedding.
        n_pictures: pictures that were pooled.
        n_partial: templates that lack at least one of their pictures.
        switches: "N1D1F1" and so on.
    """

    faces: EmbeddedFaces
    n_pictures: int
    n_partial: int
    switches: str


def pool_templates(
    faces: EmbeddedFaces,
    members: TemplateSet,
    *,
    by_norm: bool = True,
    by_detector: bool = True,
) -> PooledTemplates:
    """One unit embedding per template: mean within each media, then over media, then length one.

    Args:
        faces: embedded pictures; those that failed are left out of their templates.
        members: which pictures make which template.
        by_norm: N1, weigh a picture by the length of its raw embedding; N0 otherwise.
        by_detector: D1, weigh it by the detector's score where there is one; D0 otherwise.

    Raises:
        DataError: naming a picture that the source does not have; or if ``by_norm`` is asked of
            embeddings whose lengths were not kept.

    Source: insightface ``recognition/_evaluation_/ijb/ijb_11.py``, ``image2template_feature``.
    Deviation: pictures that could not be embedded are left out instead of entering as noise.
    """
    rows, kept, n_lost = _rows_of(faces, members)
    names, template = np.unique(np.asarray(members.templates, dtype=str), return_inverse=True)
    weights = _weights(faces, members, rows, kept, by_norm=by_norm, by_detector=by_detector)
    sums = _sum_over_media(faces.embeddings, rows, weights, template[kept], members.media[kept])
    found, vectors = sums
    lengths = np.linalg.norm(vectors, axis=1)
    alive = lengths > 0
    n_partial = len(np.unique(template[n_lost]))
    has = np.zeros(len(names), dtype=bool)
    has[found[alive]] = True
    failures = [
        Failure(str(name), "none of its pictures could be embedded") for name in names[~has]
    ]
    kept_names = [str(name) for name in names[found[alive]]]
    pooled = replace(
        faces,
        embeddings=(vectors[alive] / lengths[alive, None]).astype(np.float32),
        keys=tuple(kept_names),
        identities=tuple(members.subjects.get(name) for name in kept_names),
        failures=tuple(failures),
        norms=None,
    )
    weighs_detector = by_detector and members.detector_scores is not None
    switches = f"N{by_norm:d}D{weighs_detector:d}F{faces.flip:d}"
    return PooledTemplates(pooled, len(rows), n_partial, switches)


def _rows_of(
    faces: EmbeddedFaces, members: TemplateSet
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Rows of the embeddings, and the members they belong to; then the members that failed."""
    place = {key: index for index, key in enumerate(faces.keys)}
    failed = {failure.name for failure in faces.failures}
    rows, kept, lost = [], [], []
    for number, key in enumerate(members.keys):
        row = place.get(key)
        if row is not None:
            rows.append(row)
            kept.append(number)
        elif key in failed:
            lost.append(number)
        else:
            raise DataError(f"a template holds {key!r}, not among the faces of {faces.source_name}")
    return (
        np.array(rows, dtype=np.int64),
        np.array(kept, dtype=np.int64),
        np.array(lost, dtype=np.int64),
    )


def _weights(
    faces: EmbeddedFaces,
    members: TemplateSet,
    rows: Int64Array,
    kept: Int64Array,
    *,
    by_norm: bool,
    by_detector: bool,
) -> Float64Array:
    weights = np.ones(len(rows))
    if by_norm:
        if faces.norms is None:
            raise DataError(
                f"{faces.source_name}: weighing by norm (N1) needs the lengths of the raw "
                "embeddings, which were not kept; embed again or pool with by_norm=False"
            )
        weights *= faces.norms[rows]
    if by_detector and members.detector_scores is not None:
        weights *= members.detector_scores[kept]
    return weights


def _sum_over_media(
    vectors: FloatArray,
    rows: Int64Array,
    weights: Float64Array,
    template: Int64Array,
    media: Int64Array,
) -> tuple[Int64Array, Float64Array]:
    """The templates that have a picture, and the sum of their media's means."""
    order = np.lexsort((media, template))
    rows, weights, template, media = rows[order], weights[order], template[order], media[order]
    if not len(rows):
        return np.empty(0, dtype=np.int64), np.empty((0, vectors.shape[1]))
    new_template = np.concatenate([[True], template[1:] != template[:-1]])
    new_media = new_template | np.concatenate([[True], media[1:] != media[:-1]])
    starts, first = np.flatnonzero(new_media), np.flatnonzero(new_template)
    counts = np.diff(np.concatenate([starts, [len(rows)]]))
    shares = weights / np.repeat(counts, counts)  # a mean within the media, summed over media
    ends = np.concatenate([first[1:], [len(rows)]])
    sums = np.empty((len(first), vectors.shape[1]))
    block = 0
    while block < len(first):  # whole templates at a time, in bounded memory
        last = int(np.searchsorted(ends, first[block] + _BLOCK_ROWS, side="right"))
        last = max(last, block + 1)
        inside = slice(int(first[block]), int(ends[last - 1]))
        weighted = vectors[rows[inside]].astype(np.float64) * shares[inside, None]
        sums[block:last] = np.add.reduceat(weighted, first[block:last] - first[block], axis=0)
        block = last
    return template[first], sums
