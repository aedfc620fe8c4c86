"""What travels with every model: the input it wants and the space its vectors live in."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossface.core.errors import WeightsError
from crossface.core.template import ARCFACE_POINTS_112

Triple = tuple[float, float, float]
Points5 = tuple[
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
]

_ARCFACE_POINTS: Points5 = tuple((float(x), float(y)) for x, y in ARCFACE_POINTS_112)  # type: ignore[assignment]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputSpec(_Frozen):
    """How a network wants its face crop.

    A picture is warped so that the five landmarks fall on ``reference_points_px`` (a similarity
    transform), read in ``channel_order``, and normalised to ``(value - mean) / std`` on the 0-255
    scale.

    Attributes:
        size_hw: height and width of the crop in pixels.
        mean: per channel, on the 0-255 scale, in ``channel_order``.
        std: per channel, on the 0-255 scale, in ``channel_order``.
        channel_order: "rgb" or "bgr", what the network was trained on.
        layout: "nchw" or "nhwc".
        interpolation: how the crop is resampled; part of the spec, since Pillow's and OpenCV's
            bilinear differ by 15 grey levels on noise.
        reference_points_px: (5, 2) in pixels: viewer's left eye, right eye, nose tip, left and
            right mouth corner.
    """

    size_hw: tuple[int, int] = (112, 112)
    mean: Triple = (127.5, 127.5, 127.5)
    std: Triple = (127.5, 127.5, 127.5)
    channel_order: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] = "nchw"
    interpolation: Literal["cv2_linear"] = "cv2_linear"
    reference_points_px: Points5 = _ARCFACE_POINTS

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if min(self.size_hw) < 8 or max(self.size_hw) > 1024:
            raise ValueError(f"size_hw must lie in 8..1024, got {self.size_hw}")
        if any(not s > 0 for s in self.std):
            raise ValueError(f"std must be positive, got {self.std}")
        return self

    @property
    def digest(self) -> str:
        """Hex sha256 of the canonical JSON form."""
        return _digest(self.model_dump(mode="json"))

    @property
    def is_arcface_112(self) -> bool:
        """Whether the crop geometry is the common 112x112 template."""
        return self.size_hw == (112, 112) and self.reference_points_px == _ARCFACE_POINTS


class EmbeddingContract(_Frozen):
    """Who made a vector and which vectors it may be compared with.

    ``space_id`` names the space: a student trained into a teacher's space shares the teacher's,
    so their vectors may meet. ``contract_id`` names this very model.
    """

    model_id: str = Field(min_length=1)
    digest: str = Field(min_length=8, description="hex sha256 of the weights file")
    dim: int = Field(gt=0)
    space_id: str = Field(min_length=1)
    input_digest: str = Field(min_length=8)

    @property
    def contract_id(self) -> str:
        """First 16 hex digits of the sha256 of all fields."""
        return _digest(self.model_dump(mode="json"))[:16]

    def comparable_with(self, other: EmbeddingContract) -> bool:
        """Whether vectors of both may be compared."""
        return self.space_id == other.space_id and self.dim == other.dim


def parse_model(kind: type[_Frozen], text: str, *, source: str) -> Any:  # noqa: ANN401
    """Read a contract type from JSON, naming the file in the one-sentence error.

    Raises:
        WeightsError: if the text is not JSON or does not fit.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise WeightsError(f"{source}: bad {kind.__name__}: {where}: {first['msg']}") from None


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
