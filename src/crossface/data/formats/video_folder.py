"""Videos as folders of frames, and YouTube Faces' list of video pairs.

Layout::

    aligned_images_DB/Ann_Lee/0/aligned_detect_0.555.jpg    person/video/frame (or frame_images_DB,
                                                            or the people directly in the root)
    splits.txt                                              "1, Ann_Lee/0, Ann_Lee/3, 1"
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from crossface.core.errors import DataError
from crossface.data.formats.pair_list import Pair, PairList
from crossface.data.formats.pictures import Labels, is_picture, key_of
from crossface.data.formats.published import PublishedFaces, bad_line, read_lines

_FRAMES = ("aligned_images_DB", "frame_images_DB")
_LISTS = ("splits.txt", "Splits.txt")


class VideoFaces(PublishedFaces):
    """Frames of videos, aligned to 112x112; keys are "person/video/frame".

    Attributes:
        videos: the video of each picture, "person/video".
        pairs: comparisons of videos.

    Args:
        path: the folder with the frames and ``splits.txt``.
        labels: "none" hides the identities.
        frames_per_video: at most this many frames, evenly spaced; all by default.

    Raises:
        DataError: naming what is missing, or the file and the line.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        labels: Labels = "auto",
        frames_per_video: int | None = None,
    ) -> None:
        root = Path(path)
        frames = next((root / name for name in _FRAMES if (root / name).is_dir()), root)
        list_file = next((root / name for name in _LISTS if (root / name).is_file()), None)
        if list_file is None:
            raise DataError(
                f"{root.resolve().name}: expected splits.txt beside the folder of frames"
            )
        members = _frames(frames, frames_per_video)
        if not members:
            raise DataError(
                f"{root.resolve().name}: expected pictures as person/video/frame, found none"
            )
        self.videos = tuple(PurePosixPath(member).parent.as_posix() for member in members)
        people = [None if labels == "none" else video.split("/")[0] for video in self.videos]
        super().__init__(root.resolve().name, frames, members, _keys(members), people)
        self.pairs = read_splits(list_file)


def read_splits(path: Path) -> PairList:
    """Rows ``fold, first video, second video, 1 or 0``; a header line is skipped.

    Raises:
        DataError: naming the file and the line.
    """
    pairs = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = [field.strip() for field in line.split(",")]
        if number == 1 and not fields[0].isdecimal():
            continue
        if len(fields) < 4 or not fields[0].isdecimal() or fields[3] not in ("0", "1"):
            raise bad_line(path, number, "'fold, first video, second video, 1 or 0'", line)
        if any(len(field.split("/")) != 2 for field in fields[1:3]):
            raise bad_line(path, number, "videos as person/number", line)
        pairs.append(Pair(int(fields[0]), fields[1], fields[2], fields[3] == "1"))
    if not pairs:
        raise bad_line(path, 2, "a pair of videos", "the end of the file")
    return PairList(name=path.name, pairs=tuple(pairs))


def _frames(root: Path, most: int | None) -> list[str]:
    found: dict[str, list[str]] = {}
    for file in sorted(root.glob("*/*/*")):
        member = file.relative_to(root)
        if is_picture(member.as_posix()):
            found.setdefault(member.parent.as_posix(), []).append(member.as_posix())
    chosen: list[str] = []
    for frames in found.values():
        if most is None or len(frames) <= most:
            chosen += frames
        else:
            places = np.linspace(0, len(frames) - 1, most).round().astype(int)
            chosen += [frames[place] for place in places]
    return chosen


def _keys(members: list[str]) -> list[str]:
    """Frame names hold dots ("aligned_detect_0.555.jpg"): only the picture's suffix goes."""
    keys = [key_of(member) for member in members]
    return keys if len(set(keys)) == len(keys) else members
