"""The demo's pictures: drawn once, kept as zips of crops that every verb reads."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2

from crossface.core.errors import DataError
from crossface.core.files import atomic_path
from crossface.core.protocols import FaceSource

_JPEG_QUALITY = 95


def write_zip(source: FaceSource, path: Path) -> None:
    """Write a source as a zip of JPEGs, a folder per identity.

    A zip instead of drawing in every run: four trainings read the same pictures, and whoever
    wants to go on from the demo has files that look like a real set.

    Args:
        source: faces whose keys are "identity/picture".
        path: the archive; it appears only when it is whole.

    Raises:
        DataError: if a picture cannot be encoded.
    """
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for index in range(len(source)):
            key = source.key(index)
            bgr = cv2.cvtColor(source.read(index), cv2.COLOR_RGB2BGR)
            done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            if not done:
                raise DataError(f"{path.name}: {key} cannot be encoded as JPEG")
            # A fixed date: the same seed gives the same bytes.
            member = zipfile.ZipInfo(f"{key}.jpg", date_time=(2020, 1, 1, 0, 0, 0))
            archive.writestr(member, encoded.tobytes())
