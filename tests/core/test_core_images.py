"""Decoding hostile bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossface.core.errors import ImageError
from crossface.core.images import DEFAULT_LIMITS, ImageLimits, decode_image
from face_files import encode, huge_png_header, pattern

PICTURE = pattern(3, (40, 60))


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, "PNG", exif=exif)
    return stream.getvalue()


def test_path_bytes_pil_and_array_give_the_same_pixels(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(encode(PICTURE))
    for source in (path, str(path), path.read_bytes(), Image.fromarray(PICTURE), PICTURE):
        np.testing.assert_array_equal(decode_image(source), PICTURE)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG"])
def test_every_listed_type_is_read(kind: str) -> None:
    flat = np.full((16, 24, 3), 200, np.uint8)
    decoded = decode_image(encode(flat, kind))
    assert decoded.shape == (16, 24, 3)
    assert np.abs(decoded.astype(int) - 200).max() <= 3


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, PICTURE),
        (2, PICTURE[:, ::-1]),
        (3, PICTURE[::-1, ::-1]),
        (4, PICTURE[::-1]),
        (5, PICTURE.transpose(1, 0, 2)),
        (6, np.rot90(PICTURE, -1)),
        (7, np.rot90(PICTURE, 2).transpose(1, 0, 2)),
        (8, np.rot90(PICTURE, 1)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_image(_exif(orientation)), expected)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_other_modes_become_rgb(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    source = Image.new(mode, (8, 6))
    stream = io.BytesIO()
    source.save(stream, kind)
    assert decode_image(stream.getvalue()).shape == (6, 8, 3)


def test_a_bgr_array_is_turned() -> None:
    np.testing.assert_array_equal(
        decode_image(PICTURE[..., ::-1].copy(), channel_order="bgr"), PICTURE
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_truncated_picture_is_named(kind: str, part: float) -> None:
    whole = encode(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), kind)
    with pytest.raises(ImageError, match=r"ann.pic: "):
        decode_image(whole[: int(len(whole) * part)], name="ann.pic")


def test_a_huge_header_is_refused_without_decoding() -> None:
    with pytest.raises(ImageError, match=r"x.png: expected at most 64000000 pixels"):
        decode_image(huge_png_header(), name="x.png")


def test_the_pixel_limit_is_inclusive() -> None:
    data = encode(PICTURE)
    assert decode_image(data, limits=ImageLimits(max_pixels=2400)).shape == (40, 60, 3)
    with pytest.raises(ImageError, match="at most 2399 pixels, the header says 60 x 40"):
        decode_image(data, limits=ImageLimits(max_pixels=2399))


def test_a_file_above_the_byte_limit_is_refused_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "sparse.png"
    with path.open("wb") as stream:
        stream.truncate(DEFAULT_LIMITS.max_bytes + 1)
    with pytest.raises(ImageError, match=r"sparse.png: expected at most \d+ bytes, the file has"):
        decode_image(path)
    with pytest.raises(ImageError, match="at most 10 bytes, got 11"):
        decode_image(b"x" * 11, limits=ImageLimits(max_bytes=10))


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (b"", "an empty file"),
        (b"I am a poem.", "a text file"),
        ("Gedicht über das Meer".encode(), "a text file"),
        (b"\x00\x01\x02" * 10, "30 bytes of something else"),
        (b"%PDF-1.4 \xff\xff\xff\xff\xff\xff" * 3, "bytes of something else"),
    ],
)
def test_something_else_is_described(data: bytes, got: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"photo.jpg: expected an image .* got .*{got}"):
        decode_image(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png"):
        decode_image(tmp_path / "gone.png")


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
)
def test_an_array_of_another_form_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"expected \(H, W, 3\) uint8 RGB, got"):
        decode_image(array)


def test_something_that_is_no_picture_at_all_is_refused() -> None:
    with pytest.raises(ImageError, match="got int"):
        decode_image(7)  # type: ignore[arg-type]


def test_random_bytes_behind_a_real_header_raise_nothing_else() -> None:
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        whole = encode(PICTURE, kind)
        for _ in range(40):
            broken = bytearray(whole)
            for position in rng.integers(0, len(whole), size=4):
                broken[position] = rng.integers(0, 256)
            try:
                image = decode_image(bytes(broken))
            except ImageError:
                continue
            assert image.dtype == np.uint8
