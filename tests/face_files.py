"""Writers of small face sets, from the definitions of the formats; pictures are plain patterns."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

MAGIC = struct.pack("<I", 0xCED7230A)


def pattern(seed: int, size_hw: tuple[int, int] = (112, 112)) -> np.ndarray:
    """A smooth coloured picture, another one for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size_hw[0], : size_hw[1]] / max(size_hw)
    waves = [
        127.5
        + 120 * np.sin(6 * (rng.uniform(-1, 1) * x + rng.uniform(-1, 1) * y) + 6 * rng.random())
        for _ in range(3)
    ]
    return np.stack(waves, axis=-1).astype(np.uint8)


def encode(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def png(seed: int) -> bytes:
    return encode(pattern(seed))


def people(identities: int = 3, each: int = 2, suffix: str = ".png") -> dict[str, bytes]:
    """Member name to bytes: a folder per identity."""
    return {
        f"person_{who}/person_{who}_{number:04d}{suffix}": png(10 * who + number)
        for who in range(identities)
        for number in range(1, each + 1)
    }


def write_zip(path: Path, members: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    pairs = members.items() if isinstance(members, Mapping) else members
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in pairs:
            archive.writestr(name, data)
    return path


def write_folder(path: Path, members: Mapping[str, bytes]) -> Path:
    for name, data in members.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return path


def record_bytes(payload: bytes) -> bytes:
    """One RecordIO record, cut at each magic on a four-byte boundary (dmlc-core recordio.h)."""
    parts, start = [], 0
    for position in range(0, len(payload) - 3, 4):
        if payload[position : position + 4] == MAGIC:
            parts.append(payload[start:position])
            start = position + 4
    parts.append(payload[start:])
    out = b""
    for number, part in enumerate(parts):
        if len(parts) == 1:
            kind = 0
        elif number == 0:
            kind = 1
        else:
            kind = 3 if number == len(parts) - 1 else 2
        out += MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
    return out


def payload_bytes(labels: float | list[float], picture: bytes, number: int = 0) -> bytes:
    if isinstance(labels, list):
        head = struct.pack("<IfQQ", len(labels), 0.0, number, 0)
        return head + struct.pack(f"<{len(labels)}f", *labels) + picture
    return struct.pack("<IfQQ", 0, labels, number, 0) + picture


def write_records(path: Path, payloads: Mapping[int, bytes]) -> Path:
    """A ``.rec`` and its ``.idx``."""
    body, lines = b"", []
    for number, payload in payloads.items():
        lines.append(f"{number}\t{len(body)}\n")
        body += record_bytes(payload)
    path.write_bytes(body)
    path.with_suffix(".idx").write_text("".join(lines))
    return path


def insightface_records(pictures: list[tuple[int, bytes]]) -> dict[int, bytes]:
    """Payloads of an InsightFace training set: header, pictures, one record per identity."""
    classes = sorted({label for label, _ in pictures})
    first_identity = len(pictures) + 1
    payloads = {
        0: payload_bytes([float(first_identity), float(first_identity + len(classes))], b"")
    }
    for number, (label, data) in enumerate(pictures, start=1):
        payloads[number] = payload_bytes(float(label), data, number)
    for position, label in enumerate(classes):
        rows = [n for n, (own, _) in enumerate(pictures, start=1) if own == label]
        payloads[first_identity + position] = payload_bytes([float(rows[0]), rows[-1] + 1.0], b"")
    return payloads


def huge_png_header() -> bytes:
    """A PNG whose header claims 100,000 x 100,000 pixels, with a few bytes of data."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )
