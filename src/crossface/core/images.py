"""Hostile bytes to RGB pixels: limits before decoding, one clear error that names the file."""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from crossface.core.errors import ImageError
from crossface.core.types import UInt8Image

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What is refused before a pixel is decoded."""

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000


DEFAULT_LIMITS = ImageLimits()


class _NoWarnings:
    """Silence shared by all threads that decode: the first turns it on, the last off.

    ``warnings.catch_warnings`` alone exchanges the filters of the whole process, so that two
    threads that overlap leave them changed for good.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._outer: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._outer = warnings.catch_warnings()
                self._outer.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._outer is not None:
                self._outer.__exit__(None, None, None)
                self._outer = None


_NO_WARNINGS = _NoWarnings()


def decode_image(
    source: str | Path | bytes | Image | npt.NDArray[np.uint8],
    *,
    name: str | None = None,
    limits: ImageLimits = DEFAULT_LIMITS,
    channel_order: Literal["rgb", "bgr"] = "rgb",
) -> UInt8Image:
    """Any picture a user may hold, as (H, W, 3) uint8 RGB with EXIF rotation applied.

    Args:
        source: a path, encoded bytes, a PIL image, or an (H, W, 3) uint8 array.
        name: what to call it in errors; the file's name by default.
        limits: bytes and pixels above which it is refused.
        channel_order: of an array; encoded pictures are always read as RGB.

    Raises:
        ImageError: missing, too large, of another type, truncated or broken.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "the array", channel_order)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(bytes(source), name or "the image", limits)
    if isinstance(source, str | Path):
        path = Path(source)
        return _from_bytes(read_bytes(path, name=name, limits=limits), name or path.name, limits)
    if hasattr(source, "convert") and hasattr(source, "size"):
        return _to_rgb(source, name or "the image")
    raise ImageError(
        f"{name or 'image'}: expected a path, bytes, a PIL image or an array, "
        f"got {type(source).__name__}"
    )


def read_bytes(
    path: Path, *, name: str | None = None, limits: ImageLimits = DEFAULT_LIMITS
) -> bytes:
    """The bytes of an image file, refused above the limit before they are read."""
    label = name or path.name
    try:
        size = path.stat().st_size
        if size > limits.max_bytes:
            raise ImageError(
                f"{label}: expected at most {limits.max_bytes} bytes, the file has {size}"
            )
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{label}: cannot be read: {error.strerror or error}") from None


def _from_array(
    array: npt.NDArray[np.uint8], label: str, channel_order: Literal["rgb", "bgr"]
) -> UInt8Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(
            f"{label}: expected (H, W, 3) uint8 {channel_order.upper()}, "
            f"got {array.shape} {array.dtype}"
        )
    return array if channel_order == "rgb" else np.ascontiguousarray(array[..., ::-1])


def _from_bytes(data: bytes, label: str, limits: ImageLimits) -> UInt8Image:
    from PIL import Image, UnidentifiedImageError

    if len(data) > limits.max_bytes:
        raise ImageError(f"{label}: expected at most {limits.max_bytes} bytes, got {len(data)}")
    try:
        # Pillow warns of size, of odd tags and the like; here our limits and errors decide
        with _NO_WARNINGS, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > limits.max_pixels:
                raise ImageError(
                    f"{label}: expected at most {limits.max_pixels} pixels, "
                    f"the header says {width} x {height}"
                )
            image.load()
            return _to_rgb(image, label)
    except UnidentifiedImageError:
        raise ImageError(
            f"{label}: expected an image ({', '.join(FORMATS)}), got {_what_is(data)}"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{label}: expected at most {limits.max_pixels} pixels, the header claims far more"
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        raise ImageError(f"{label}: broken or truncated image: {error}") from None


def _to_rgb(image: Image, label: str) -> UInt8Image:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            return _from_16_bit(upright)
        if upright.mode in {"I", "F"}:
            raise ImageError(
                f"{label}: expected 8 or 16 bits a channel, got 32 (mode {upright.mode})"
            )
        return np.asarray(upright.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{label}: broken or truncated image: {error}") from None


def _from_16_bit(image: Image) -> UInt8Image:
    """Grey of 16 bits to its upper 8; Pillow's own conversion would cut everything above 255."""
    grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _what_is(data: bytes) -> str:
    if not data:
        return "an empty file"
    head = data[:512]
    if b"\0" not in head:
        try:
            head.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(head) - 4:
                return f"{len(data)} bytes of something else"
        return "a text file"
    return f"{len(data)} bytes of something else"
