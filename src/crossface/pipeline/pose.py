"""Head pose from five landmarks, or from the FSA-Net files where they are given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crossface.core.errors import WeightsError
from crossface.core.files import sha256_file
from crossface.core.geometry import Float64Array
from crossface.core.types import Box, Pose, UInt8Image
from crossface.core.weights import announce_licence, find_by_sha256
from crossface.pipeline.runtimes.sessions import Session, float_outputs

FACE_MODEL: Float64Array = np.array(
    [
        [-0.500, -0.46, 0.00],
        [+0.500, -0.46, 0.00],
        [+0.000, +0.11, -0.55],
        [-0.414, +0.69, -0.12],
        [+0.414, +0.69, -0.12],
    ]
)
"""(5, 3) in eye distances: x to the viewer's right, y down, z away from the viewer. x and y are
the ArcFace template's, made symmetric; the depths of nose tip and mouth corners are rounded
adult means."""

_FSANET_SIDE_PX = 64
_FSANET_MARGIN = 0.2


def pose_from_landmarks(landmarks_px: npt.ArrayLike) -> Pose:
    """Head pose of a mean face under scaled orthographic projection.

    Five points of one mean face carry little depth: take it as coarse, above all the pitch.

    Args:
        landmarks_px: (5, 2): viewer's left eye, right eye, nose tip, mouth corners.

    Raises:
        ValueError: if the points coincide or are not finite.

    Paper: the linear step of POS in DeMenthon and Davis, "Model-based object pose in 25 lines of
    code", IJCV 1995.
    Deviation: the two rows are made orthonormal together, by the polar decomposition.
    """
    points = np.asarray(landmarks_px, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ValueError(f"landmarks must be (5, 2) and finite, got shape {points.shape}")
    centred = points - points.mean(axis=0)
    if (centred**2).sum() < 1e-12:
        raise ValueError("landmarks coincide, no pose is defined")
    model = FACE_MODEL - FACE_MODEL.mean(axis=0)
    projection = np.linalg.lstsq(model, centred, rcond=None)[0].T
    u, _, vt = np.linalg.svd(projection, full_matrices=False)
    rows = u @ vt
    depth = np.cross(rows[0], rows[1])
    looks_x, looks_y, looks_z = -rows[0, 2], -rows[1, 2], -depth[2]
    return Pose(
        yaw_deg=float(np.degrees(np.arctan2(looks_x, -looks_z))),
        pitch_deg=float(np.degrees(np.arcsin(np.clip(-looks_y, -1, 1)))),
        roll_deg=float(np.degrees(np.arctan2(rows[1, 0], rows[0, 0]))),
    )


class FsaNet:
    """Head pose by one or more FSA-Net files, averaged.

    Args:
        paths: ONNX files that take (1, 3, 64, 64) BGR, (value - 127.5) / 128, and give yaw, pitch
            and roll in degrees.

    Raises:
        WeightsError: not an ONNX file, or of another input or output.

    Paper: FSA-Net, CVPR 2019.
    Deviation: the box is widened by 20 % a side and cut at the picture's edge.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        if not paths:
            raise ValueError("FsaNet needs at least one file")
        self._sessions = [open_small(path, (1, 3, 64, 64), 3) for path in paths]

    def estimate(self, image: UInt8Image, box: Box) -> Pose:
        """Pose of the face in ``box``; ``image`` is (H, W, 3) uint8 RGB."""
        import cv2

        part = image[_inside(box, image.shape[0], image.shape[1])]
        crop = cv2.resize(part, (_FSANET_SIDE_PX, _FSANET_SIDE_PX))
        values = (crop[..., ::-1].astype(np.float32) - np.float32(127.5)) / np.float32(128)
        tensor = np.ascontiguousarray(values.transpose(2, 0, 1)[None])
        angles = [float_outputs(session, tensor)[0].reshape(3) for session in self._sessions]
        yaw, pitch, roll = (float(angle) for angle in np.mean(angles, axis=0))
        return Pose(yaw_deg=-yaw, pitch_deg=pitch, roll_deg=roll)  # its yaw is the subject's


def open_small(path: str | Path, shape: tuple[int | None, ...], width: int) -> Session:
    """A small network on one thread, refused unless its input and output have these shapes.

    Args:
        path: the ONNX file.
        shape: of the input; None where any number will do.
        width: of the only output.

    Raises:
        WeightsError: naming the file, what was expected and what it has.
    """
    session = Session(path, threads=1)
    (port,) = session.inputs
    agrees = len(port.shape) == len(shape) and all(
        have == want or have is None or want is None
        for have, want in zip(port.shape, shape, strict=True)
    )
    widths = [out.shape[-1] if out.shape else None for out in session.outputs]
    if not agrees or widths != [width]:
        raise WeightsError(
            f"{session.name}: expected an input {list(shape)} and one output of width {width}, "
            f"got {list(port.shape)} and {widths}"
        )
    known = find_by_sha256(sha256_file(path))
    if known is not None:
        announce_licence(known)
    return session


def _inside(box: Box, height: int, width: int) -> tuple[slice, slice]:
    margin_x, margin_y = _FSANET_MARGIN * box.width, _FSANET_MARGIN * box.height
    x1, y1 = int(max(box.x1 - margin_x, 0)), int(max(box.y1 - margin_y, 0))
    x2, y2 = int(min(box.x2 + margin_x, width)), int(min(box.y2 + margin_y, height))
    return slice(min(y1, height - 1), max(y2, y1 + 1)), slice(min(x1, width - 1), max(x2, x1 + 1))
