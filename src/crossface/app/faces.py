"""Faces for people: JSON values, one line each, and a drawing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossface.core.files import atomic_path
from crossface.core.types import Face, Failure, UInt8Image

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage
    from PIL.ImageDraw import ImageDraw

_GREEN, _RED, _WHITE = (0, 200, 0), (220, 0, 0), (255, 255, 255)


def face_json(face: Face) -> dict[str, Any]:
    """A face without its embedding, as JSON values; lengths in pixels, angles in degrees."""
    pose = face.pose
    parts = face.quality_parts
    return {
        "bbox_xyxy_px": [round(float(edge), 2) for edge in face.bbox.as_xyxy()],
        "kps_px": [[round(float(x), 2), round(float(y), 2)] for x, y in face.kps_px],
        "det_score": round(face.det_score, 4),
        "quality": None if face.quality is None else round(face.quality, 4),
        "quality_parts": None if parts is None else {n: getattr(parts, n) for n in parts.__slots__},
        "pose_deg": None if pose is None else [pose.yaw_deg, pose.pitch_deg, pose.roll_deg],
        "liveness": face.liveness,
        "raw_norm": face.raw_norm,
        "failure": None if face.failure is None else face.failure.reason,
    }


def picture_json(name: str, result: list[Face] | Failure) -> dict[str, Any]:
    """One picture's answer: its faces, or the reason there is none."""
    if isinstance(result, Failure):
        return {"image": name, "faces": [], "failure": result.reason}
    return {"image": name, "faces": [face_json(face) for face in result], "failure": None}


def face_line(name: str, number: int, face: Face) -> str:
    """One face in a line for a terminal."""
    box = face.bbox
    words = [
        f"{name}  face {number}",
        f"box {box.x1:.0f},{box.y1:.0f},{box.x2:.0f},{box.y2:.0f}",
        f"score {face.det_score:.3f}",
    ]
    if face.quality is not None:
        words.append(f"quality {face.quality:.2f}")
    if face.liveness is not None:
        words.append(f"live {face.liveness:.2f}")
    if face.failure is not None:
        words.append(face.failure.reason)
    return "  ".join(words)


def show_pictures(names: list[str], results: list[list[Face] | Failure], *, lines: bool) -> int:
    """Lines on stdout, reasons on stderr; the exit code: 4 a bad picture, 3 no face, else 0."""
    for name, result in zip(names, results, strict=True):
        if isinstance(result, Failure):
            print(f"crossface: {result.reason}", file=sys.stderr)
            continue
        if not result:
            print(f"crossface: {name}: no face was found", file=sys.stderr)
        for number, face in enumerate(result, start=1):
            if lines:
                print(face_line(name, number, face))
    if any(isinstance(result, Failure) for result in results):
        return 4
    return 0 if any(results) else 3


def draw_faces(
    image: UInt8Image, faces: list[Face], target: Path, labels: Sequence[str] = ()
) -> None:
    """Write the picture with boxes, landmarks and labels as a PNG; a face that failed is red."""
    with atomic_path(target) as temporary:
        with_faces(image, faces, labels).save(temporary, "PNG")


def with_faces(image: UInt8Image, faces: list[Face], labels: Sequence[str] = ()) -> PilImage:
    """The picture with boxes, landmarks and labels; a face that failed is red."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(image)
    pen = ImageDraw.Draw(picture)
    line = max(1, round(max(picture.size) / 400))
    for number, face in enumerate(faces):
        label = labels[number] if number < len(labels) else ""
        colour = _GREEN if face.failure is None else _RED
        box = face.bbox
        pen.rectangle((box.x1, box.y1, box.x2, box.y2), outline=colour, width=line)
        for x, y in face.kps_px.tolist():
            pen.ellipse((x - line, y - line, x + line, y + line), fill=colour)
        if label:
            _write(pen, picture.size, face, label, colour)
    return picture


def _write(
    pen: ImageDraw, size: tuple[int, int], face: Face, label: str, colour: tuple[int, int, int]
) -> None:
    """A label in a filled box above the face, moved inside where the picture ends."""
    from PIL import ImageFont

    height = max(11, round(max(size) / 45))
    font = ImageFont.load_default(size=height)
    left, top, right, bottom = pen.textbbox((0, 0), label, font=font)
    wide, tall = right - left + height // 2, bottom - top + height // 2
    x = min(max(face.bbox.x1, 0.0), max(0.0, size[0] - wide))
    y = face.bbox.y1 - tall if face.bbox.y1 >= tall else min(face.bbox.y2, size[1] - tall)
    pen.rectangle((x, y, x + wide, y + tall), fill=colour)
    pen.text((x - left + height // 4, y - top + height // 4), label, fill=_WHITE, font=font)
