"""Pictures that were damaged on purpose, through get_many: no crash, a reason each."""

from __future__ import annotations

import io
import resource
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from crossface.core.contract import InputSpec
from crossface.core.images import ImageLimits, decode_image
from crossface.core.types import Failure
from crossface.pipeline.analysis import FaceAnalysis
from face_files import encode, huge_png_header, pattern
from pipeline.onnx_files import embedder, one_face

HEADERS = {
    "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": b"GIF89a",
    "WEBP": b"RIFF\x00\x10\x00\x00WEBPVP8 ",
    "BMP": b"BM\x00\x10\x00\x00",
    "TIFF": b"II*\x00\x08\x00\x00\x00",
}


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    props = {"crossface.input_spec": InputSpec().model_dump_json()}
    return FaceAnalysis(
        embedder(folder / "m.onnx", props=props),
        one_face(folder / "d.onnx"),
        threads=2,
        limits=ImageLimits(max_bytes=2**20, max_pixels=2_000_000),
    )


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def good_files():
    image = pattern(0, (48, 60))
    return [encode(image, kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def odd_files():
    """Readable or not, but never ordinary: name to bytes."""
    image = Image.fromarray(pattern(1, (48, 60)))
    frames = [Image.fromarray(pattern(n, (32, 32))) for n in range(3)]
    lie = struct.pack(">IIBBBBB", 60, 4000, 8, 2, 0, 0, 0)
    return {
        "one_pixel": saved(Image.new("RGB", (1, 1)), "PNG"),
        "a_line": saved(Image.new("RGB", (1, 5000)), "PNG"),
        "grey_16": saved(
            Image.fromarray((np.arange(2304) * 28).astype(np.uint16).reshape(48, 48)), "PNG"
        ),
        "float_32": saved(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"),
        "integer_32": saved(Image.fromarray(np.ones((9, 9), np.int32)), "TIFF"),
        "cmyk": saved(image.convert("CMYK"), "JPEG"),
        "cmyk_tiff": saved(image.convert("CMYK"), "TIFF"),
        "lab": saved(image.convert("LAB"), "TIFF"),
        "one_bit": saved(image.convert("1"), "PNG"),
        "palette": saved(image.convert("P"), "PNG"),
        "transparent": saved(image.convert("RGBA"), "PNG"),
        "animated": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "animated_webp": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "svg_as_jpeg": HEADERS["JPEG"] + b"<svg/>",
        "huge_header": huge_png_header(),
        "too_many_pixels": saved(Image.new("L", (2000, 2000)), "PNG"),
        "too_many_bytes": encode(pattern(0)) + b"\0" * 2**20,
        "empty": b"",
        "zeros": b"\0" * 500,
        "lying_height": HEADERS["PNG"]
        + chunk(b"IHDR", lie)
        + chunk(b"IDAT", zlib.compress(b"\0" * 9))
        + chunk(b"IEND", b""),
        "other_format": saved(image, "PPM"),
    }


def mutated(count, seed):
    """``count`` damaged files: flipped bytes, cut ends, swapped headers, and the odd ones."""
    rng = np.random.default_rng(seed)
    good, odd = good_files(), list(odd_files().values())
    headers = list(HEADERS.values())
    for number in range(count):
        data = bytearray(good[number % len(good)])
        way = number % 5
        if way == 0:
            for place in rng.integers(0, len(data), rng.integers(1, 20)):
                data[place] ^= int(rng.integers(1, 256))
        elif way == 1:
            del data[int(rng.integers(0, len(data))) :]
        elif way == 2:
            head = headers[int(rng.integers(len(headers)))]
            data[: len(head)] = head
        elif way == 3:
            start, stop = sorted(rng.integers(0, len(data), 2).tolist())
            data[start:stop] = rng.bytes(int(rng.integers(0, 400)))
        else:
            data = bytearray(odd[number // 5 % len(odd)])
            if number >= 5 * len(odd) and data:
                data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        yield bytes(data)


def check(results):
    for number, result in enumerate(results, start=1):
        if isinstance(result, Failure):
            assert result.name == f"picture {number}"
            assert result.reason.startswith(result.name)
            assert len(result.reason) > len(result.name) + 10
        else:
            assert len(result) <= 1  # none where the padding holds the face, as on a line
            assert all(f.embedding is not None or f.failure is not None for f in result)
        yield isinstance(result, Failure)


def test_two_hundred_mutated_pictures_give_a_face_or_a_reason(analysis):
    failed = list(check(analysis.get_many(mutated(200, seed=0))))
    assert len(failed) == 200
    assert 60 < sum(failed) < 190


def test_what_can_be_read_among_the_odd_ones_is_read(analysis):
    names = list(odd_files())
    results = analysis.get_many(odd_files().values())
    failed = {name for name, bad in zip(names, check(results), strict=True) if bad}
    assert failed == {
        "float_32",
        "integer_32",
        "svg",
        "svg_as_jpeg",
        "huge_header",
        "too_many_pixels",
        "too_many_bytes",
        "empty",
        "zeros",
        "lying_height",
        "other_format",
    }


def test_grey_of_16_bits_keeps_its_upper_8():
    values = (np.arange(2304) * 28).astype(np.uint16).reshape(48, 48)
    decoded = decode_image(odd_files()["grey_16"])
    np.testing.assert_array_equal(decoded, np.repeat((values // 256)[..., None], 3, axis=2))


def test_decoding_in_threads_leaves_the_warning_filters_as_they_were(analysis):
    before = list(warnings.filters)
    list(analysis.get_many(mutated(60, seed=3)))
    assert warnings.filters == before


@pytest.mark.slow
def test_ten_thousand_mutated_pictures_in_bounded_memory(analysis):
    list(analysis.get_many(mutated(500, seed=1)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(list(check(analysis.get_many(mutated(10_000, seed=2))))) == 10_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB
