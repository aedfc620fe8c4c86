"""What the verbs on photographs share: pictures of folders, the model of a gallery, a detector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crossface.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from crossface.core.contract import EmbeddingContract, InputSpec
    from crossface.pipeline.analysis import FaceAnalysis


@dataclass(frozen=True, slots=True)
class PhotoOptions:
    """The options of a verb that finds and embeds faces."""

    model: str | None
    detector: str | None
    threads: int | None = None
    input_spec: str | None = None

    def spec(self) -> InputSpec | None:
        """The input spec that was named, read."""
        from crossface.pipeline.runtimes.specs import read_input_spec

        return None if self.input_spec is None else read_input_spec(self.input_spec)


def pictures_of(paths: list[Path]) -> list[Path]:
    """The files named, and for a folder the pictures in it and below, by name.

    Raises:
        DataError: a folder without a picture.
    """
    from crossface.core.images import SUFFIXES

    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise DataError(f"{path.name}: no picture in this folder ({', '.join(SUFFIXES)})")
        found += inside
    return found


def open_analysis(asked: PhotoOptions, contract: EmbeddingContract | None = None) -> FaceAnalysis:
    """Networks of a verb, embedding as the model's threshold card was measured.

    Args:
        asked: what the user said.
        contract: of the gallery, whose model is looked for where none was named; a gallery that
            is not there yet gets the package's own.

    Raises:
        UsageError: if the gallery's model is not on this machine.
    """
    from crossface.pipeline.analysis import FaceAnalysis
    from crossface.pipeline.networks import NetworkOptions

    model = asked.model or _model_of(contract)
    analysis = FaceAnalysis(
        model,
        asked.detector,
        threads=asked.threads,
        options=NetworkOptions(input_spec=asked.spec()),
    )
    analysis.follow_card()
    return analysis


def _model_of(contract: EmbeddingContract | None) -> str:
    """The file of the model store or of a pack that a gallery was enrolled with."""
    from crossface.core.files import sha256_file
    from crossface.pipeline.store import ModelStore

    if contract is None:
        from crossface.core.weights import DEFAULT_MODEL  # numpy and pydantic, not for --help

        return DEFAULT_MODEL
    store = ModelStore()
    for entry in store.models():
        if entry.path is not None and entry.known.sha256 == contract.digest:
            return entry.known.name
    for pack in store.packs():
        file = pack.files.get("embedding")
        if file and file.path.is_file() and sha256_file(file.path) == contract.digest:
            return str(pack.name)
    raise UsageError(
        f"the gallery enrols with {contract.model_id}, whose file is not in the model store: give "
        "--model or set CROSSFACE_MODEL"
    )
