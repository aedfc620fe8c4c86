"""Readers of benchmarks, each on a tiny set written here in the layout as it is published."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from crossface.core.errors import DataError, ImageError
from crossface.data.formats.ijb import IjbFaces
from crossface.data.formats.rfw import RfwFaces
from crossface.data.formats.video_folder import VideoFaces
from published_sets import write_ijb, write_rfw, write_ytf


def test_ijb_gives_templates_media_scores_and_subjects(tmp_path: Path) -> None:
    faces = IjbFaces(write_ijb(tmp_path))
    assert (faces.name, faces.subset, len(faces)) == ("IJB-C", "ijbc", 48)
    assert faces.key(0) == "1"
    assert faces.templates.tolist()[:4] == [100, 100, 100, 101]
    assert faces.media.tolist()[:4] == [1000, 1000, 1001, 1002]
    assert faces.detector_scores[0] == pytest.approx(0.9)
    pairs = faces.pairs()
    assert pairs.same.tolist()[:2] == [True, False]
    assert (pairs.a[0], pairs.b[0]) == (100, 101)
    assert faces.identity(0) == faces.identity(3) == "0"
    assert list(faces.galleries()) == ["G1", "G2"]
    assert set(faces.probes().subjects) == set(range(8))
    assert pickle.loads(pickle.dumps(faces)).digest() == faces.digest()


def test_ijb_b_names_its_galleries_s1_and_s2(tmp_path: Path) -> None:
    faces = IjbFaces(write_ijb(tmp_path, subset="ijbb"))
    assert faces.name == "IJB-B"
    assert list(faces.galleries()) == ["S1", "S2"]


def test_ijb_without_its_1n_files_knows_no_subjects(tmp_path: Path) -> None:
    root = write_ijb(tmp_path)
    for file in (root / "meta").glob("*.csv"):
        file.unlink()
    faces = IjbFaces(root)
    assert {faces.identity(i) for i in range(len(faces))} == {None}
    with pytest.raises(DataError, match=r"ijbc_1N_gallery_G1.csv: cannot be read"):
        faces.galleries()


def test_an_ijb_picture_is_warped_by_its_landmarks(tmp_path: Path) -> None:
    faces = IjbFaces(write_ijb(tmp_path))
    # the writer enlarges the aligned crop twice and says so in the landmarks; undoing that by
    # hand with OpenCV gives the same crop
    stored = cv2.cvtColor(cv2.imread(str(tmp_path / "loose_crop/5.png")), cv2.COLOR_BGR2RGB)
    assert stored.shape == (224, 224, 3)
    back = cv2.warpAffine(
        stored, np.array([[0.5, 0, 0], [0, 0.5, 0]]), (112, 112), flags=cv2.INTER_LINEAR
    )
    assert np.abs(faces.read(4).astype(int) - back).max() <= 1


@pytest.mark.parametrize(
    ("file", "line", "text", "problem"),
    [
        ("face_tid_mid.txt", 2, "2.png x 5", "line 2: expected 'picture template media'"),
        ("face_tid_mid.txt", 2, "../2.png 100 5", "line 2: expected the name of a picture"),
        ("face_tid_mid.txt", 2, "1.png 100 5", "expected each picture once"),
        ("name_5pts_score.txt", 3, "3.png 1 2 3", "line 3: expected '3.png x1 y1"),
        ("name_5pts_score.txt", 3, "9.png" + " 1" * 11, "line 3: expected '3.png x1 y1"),
        ("name_5pts_score.txt", 3, "3.png" + " x" * 11, "line 3: expected ten coordinates"),
        ("name_5pts_score.txt", 3, "3.png" + " 1" * 10 + " nan", "line 3: expected finite"),
        ("template_pair_label.txt", 2, "100 101 2", "line 2: expected a label 0 or 1"),
        ("template_pair_label.txt", 2, "100 x 1", "line 2: expected 'template template label'"),
        ("template_pair_label.txt", 2, "100 999 1", "line 2: template 999 has no picture"),
        ("1N_gallery_G1.csv", 1, "template,subject", "line 1: expected a header TEMPLATE_ID"),
        ("1N_gallery_G1.csv", 2, "100", "line 2: expected template,subject as numbers"),
        ("1N_gallery_G1.csv", 3, "100,7,x", "line 3: expected template 100 of subject 0"),
    ],
)
def test_a_bad_ijb_line_is_named(
    tmp_path: Path, file: str, line: int, text: str, problem: str
) -> None:
    root = write_ijb(tmp_path)
    place = root / "meta" / f"ijbc_{file}"
    lines = place.read_text().splitlines()
    lines[line - 1] = text
    place.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=rf"ijbc_{file}.*{re.escape(problem)}"):
        IjbFaces(root).pairs()


def test_ijb_files_that_are_missing_or_empty_are_named(tmp_path: Path) -> None:
    root = write_ijb(tmp_path)
    (root / "meta/ijbc_template_pair_label.txt").write_text("")
    with pytest.raises(DataError, match=r"ijbc_template_pair_label.txt: expected .* got nothing"):
        IjbFaces(root).pairs()
    (root / "meta/ijbc_name_5pts_score.txt").write_text("1.png" + " 1" * 11)
    with pytest.raises(DataError, match="expected 48 rows, one per picture, got 1"):
        IjbFaces(root)
    with pytest.raises(DataError, match=r"expected meta/ijbb_face_tid_mid.txt or meta/ijbc"):
        IjbFaces(tmp_path / "loose_crop")


def test_a_missing_or_landmarkless_picture_is_an_image_error_that_names_it(tmp_path: Path) -> None:
    root = write_ijb(tmp_path)
    (root / "loose_crop/1.png").unlink()
    lines = (root / "meta/ijbc_name_5pts_score.txt").read_text().splitlines()
    lines[1] = "2.png" + " 7 7" * 5 + " 0.5"
    (root / "meta/ijbc_name_5pts_score.txt").write_text("\n".join(lines))
    faces = IjbFaces(root)
    with pytest.raises(ImageError, match="IJB-C: 1: cannot be read"):
        faces.read(0)
    with pytest.raises(ImageError, match="IJB-C: 2: source points coincide"):
        faces.read(1)
    assert len(faces.digest()) == 64


def test_rfw_gives_a_list_of_pairs_per_group(tmp_path: Path) -> None:
    faces = RfwFaces(write_rfw(tmp_path))
    assert list(faces.pair_lists) == ["African", "Asian", "Caucasian", "Indian"]
    pairs = faces.pair_lists["Asian"].pairs
    keys = {faces.key(i) for i in range(len(faces))}
    assert {pair.a for pair in pairs} | {pair.b for pair in pairs} <= keys
    assert pairs[0].a == "Asian/m.As00/m.As00_0001"
    assert [p.fold for p in pairs] == sorted(p.fold for p in pairs)
    assert len({p.fold for p in pairs}) == 10
    assert faces.identity(0) == "African/m.Af00"
    assert RfwFaces(tmp_path).digest() == faces.digest()  # the parent of "test" is meant too


def test_an_rfw_header_as_in_lfw_is_taken_at_its_word(tmp_path: Path) -> None:
    root = write_rfw(tmp_path)
    file = root / "txts/Asian/Asian_pairs.txt"
    file.write_text("2\t10\n" + file.read_text())
    assert {p.fold for p in RfwFaces(root).pair_lists["Asian"].pairs} == {0, 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("m.As00\t1", "line 1: expected 'name i j'"),
        ("m.As00\t1\tx", "line 1: expected 'name i j'"),
        ("m.As00\t1\tm.As00\t2", "line 1: expected 'name i j'"),
    ],
)
def test_a_bad_rfw_line_is_named(tmp_path: Path, text: str, problem: str) -> None:
    root = write_rfw(tmp_path)
    file = root / "txts/Asian/Asian_pairs.txt"
    file.write_text("\n".join([text, *file.read_text().splitlines()[1:]]))
    with pytest.raises(DataError, match=f"Asian_pairs.txt, {problem}"):
        RfwFaces(root)


def test_rfw_rows_that_do_not_make_ten_folds_are_refused(tmp_path: Path) -> None:
    root = write_rfw(tmp_path)
    file = root / "txts/Asian/Asian_pairs.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    with pytest.raises(DataError, match=r"Asian_pairs.txt: expected rows in 10 folds of one size"):
        RfwFaces(root)
    with pytest.raises(DataError, match="expected the folders data and txts"):
        RfwFaces(root / "data")


def test_videos_are_folders_of_frames_and_a_list_of_pairs(tmp_path: Path) -> None:
    faces = VideoFaces(write_ytf(tmp_path))
    assert faces.videos[0] == "Ann_00/0"
    assert faces.key(0) == "Ann_00/0/aligned_detect_0.555"
    assert faces.key(1) == "Ann_00/0/aligned_detect_0.556"
    assert faces.identity(0) == "Ann_00"
    assert len({pair.fold for pair in faces.pairs.pairs}) == 10
    assert {pair.a for pair in faces.pairs.pairs} <= set(faces.videos)
    assert faces.read(0).shape == (112, 112, 3)


def test_fewer_frames_of_a_video_are_evenly_spaced(tmp_path: Path) -> None:
    faces = VideoFaces(write_ytf(tmp_path, frames=5), frames_per_video=3)
    own = [faces.key(i)[-3:] for i in range(len(faces)) if faces.videos[i] == "Ann_00/0"]
    assert own == ["555", "557", "559"]


@pytest.mark.parametrize("text", ["1, Ann_00/0, Ann_00/1", "x, A/0, B/0, 1", "1, A/0, B, 1"])
def test_a_bad_line_of_video_pairs_is_named(tmp_path: Path, text: str) -> None:
    root = write_ytf(tmp_path)
    lines = (root / "splits.txt").read_text().splitlines()
    (root / "splits.txt").write_text("\n".join([lines[0], text, *lines[2:]]))
    with pytest.raises(DataError, match=r"splits.txt, line 2: expected"):
        VideoFaces(root)


def test_videos_without_a_list_or_without_frames_are_refused(tmp_path: Path) -> None:
    root = write_ytf(tmp_path)
    (root / "splits.txt").rename(root / "other.txt")
    with pytest.raises(DataError, match=r"expected splits.txt"):
        VideoFaces(root)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/splits.txt").write_text("1, A/0, B/0, 1")
    with pytest.raises(DataError, match="expected pictures as person/video/frame"):
        VideoFaces(tmp_path / "empty")
