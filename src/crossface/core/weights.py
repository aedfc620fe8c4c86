"""Third-party model files known by their hash: licence, caveat and the input they want."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from crossface.core.contract import InputSpec


class KnownWeights(BaseModel):
    """One row of ``weights.toml``.

    Attributes:
        name: public name, independent of what the file is called on a disk.
        sha256: of the file, hex.
        licence: of the weights, in a line.
        caveat: what a user of the weights, or of anything distilled from them, must know.
        input_spec: how its crops must be aligned and normalised.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str = Field(min_length=1)
    caveat: str
    input_spec: InputSpec


@cache
def known_weights() -> tuple[KnownWeights, ...]:
    """All rows of the table, in its order."""
    text = files("crossface.core").joinpath("weights.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text).items()
    return tuple(KnownWeights.model_validate({"name": name, **row}) for name, row in rows)


def find_by_sha256(sha256: str) -> KnownWeights | None:
    """The row of a file with this hash, or None."""
    return next((row for row in known_weights() if row.sha256 == sha256), None)
