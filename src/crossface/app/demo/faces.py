"""The demo's pictures: drawn once, kept as zips of crops that every verb reads."""

from __future__ import annotations

import multiprocessing
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2

from crossface.core.errors import DataError
from crossface.core.files import atomic_path
from crossface.core.progress import Progress
from crossface.core.protocols import FaceSource

_JPEG_QUALITY = 95
_CHUNK = 50
_WORTH_A_PROCESS = 500


def write_zip(source: FaceSource, path: Path, *, processes: int, progress: bool = True) -> None:
    """Write a source as a zip of JPEGs, a folder per identity.

    A zip instead of drawing in every run: four trainings read the same pictures, and whoever
    wants to go on from the demo has files that look like a real set. Drawing is Python, which runs
    on one core only, so the work is spread over processes; the bytes do not depend on their number.

    Args:
        source: faces whose keys are "identity/picture".
        path: the archive; it appears only when it is whole.
        processes: that draw; a set too small to be worth it is drawn in this one.
        progress: show how far and how long on stderr.

    Raises:
        DataError: if a picture cannot be encoded.
    """
    count = len(source)
    chunks = [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
        Progress(f"drawing {path.name}", count, enabled=progress) as shown,
        _spread(partial(_encode, source), chunks, processes) as results,
    ):
        for chunk, pictures in zip(chunks, results, strict=True):
            for index, encoded in zip(chunk, pictures, strict=True):
                _add(archive, f"{source.key(index)}.jpg", encoded)
            shown.advance(len(chunk))


def copy_first(path: Path, into: Path, count: int) -> None:
    """The first ``count`` pictures of a zip as a zip of their own, byte for byte."""
    with (
        zipfile.ZipFile(path) as archive,
        atomic_path(into) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as copy,
    ):
        for name in archive.namelist()[:count]:
            _add(copy, name, archive.read(name))


@contextmanager
def _spread(
    encode: partial[list[bytes]], chunks: list[range], processes: int
) -> Iterator[Iterator[list[bytes]]]:
    if processes < 2 or sum(len(chunk) for chunk in chunks) < _WORTH_A_PROCESS:
        yield map(encode, chunks)
        return
    # "spawn": a process that copies this one could inherit a lock that one of its threads holds.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            yield pool.map(encode, chunks)
        finally:
            pool.shutdown(cancel_futures=True)


def _encode(source: FaceSource, chunk: range) -> list[bytes]:
    pictures = []
    for index in chunk:
        bgr = cv2.cvtColor(source.read(index), cv2.COLOR_RGB2BGR)
        done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        if not done:
            raise DataError(f"{source.name}: {source.key(index)} cannot be encoded as JPEG")
        pictures.append(encoded.tobytes())
    return pictures


def _add(archive: zipfile.ZipFile, name: str, encoded: bytes) -> None:
    # A fixed date: the same seed gives the same bytes.
    archive.writestr(zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0)), encoded)
