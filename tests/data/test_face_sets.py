"""Folders and zips of crops: where identities come from, and what is refused."""

from __future__ import annotations

import io
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossface.core.errors import DataError, ImageError, UsageError
from crossface.core.images import ImageLimits
from crossface.data import open_faces
from crossface.data.formats import image_folder
from crossface.data.formats.zip_crops import ZipCrops
from face_files import encode, huge_png_header, pattern, people, png, write_folder, write_zip

WRITERS = {"zip": lambda place, members: write_zip(place / "s.zip", members),
           "folder": lambda place, members: write_folder(place / "s", members)}  # fmt: skip


@pytest.fixture(params=sorted(WRITERS))
def write(request: pytest.FixtureRequest, tmp_path: Path):
    return lambda members: WRITERS[request.param](tmp_path, members)


def _identities(source) -> list[str | None]:
    return [source.identity(index) for index in range(len(source))]


def test_folders_are_identities_and_keys_have_no_suffix(write) -> None:
    source = open_faces(write({"Ann_Lee/Ann_Lee_0001.png": png(1), "Bo/Bo_0001.webp": png(2)}))
    assert [source.key(0), source.key(1)] == ["Ann_Lee/Ann_Lee_0001", "Bo/Bo_0001"]
    assert _identities(source) == ["Ann_Lee", "Bo"]


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_a_flat_set_or_one_single_folder_is_unlabelled(write, prefix: str) -> None:
    source = open_faces(write({f"{prefix}{n}.png": png(n) for n in range(3)}))
    assert _identities(source) == [None, None, None]


def test_an_index_decides_about_identities(write) -> None:
    members = {"x/1.png": png(1), "x/2.png": png(2), "y/3.png": png(3)}
    index = b"\xef\xbb\xbffile,identity,other\r\nx/1.png,ann,0\r\ny/3.png,ann,0\r\nx/2.png,,1\r\n"
    source = open_faces(write({**members, "index.csv": index}))
    assert _identities(source) == ["ann", None, "ann"]
    assert [source.key(i) for i in range(3)] == ["x/1", "x/2", "y/3"]


def test_an_index_that_misses_a_picture_is_refused(write) -> None:
    with pytest.raises(DataError, match=r"index.csv: the picture b/2.png is not listed"):
        open_faces(write({"a/1.png": png(1), "b/2.png": png(2),
                          "index.csv": b"file,identity\na/1.png,ann\n"}))  # fmt: skip


def test_an_index_without_a_file_column_is_refused(write) -> None:
    with pytest.raises(DataError, match=r"expected a column 'file', got \['name'"):
        open_faces(write({"a/1.png": png(1), "index.csv": b"name,identity\n"}))


def test_an_index_that_is_not_text_is_refused(write) -> None:
    with pytest.raises(DataError, match=r"index.csv: expected .*UTF-8"):
        open_faces(write({"a/1.png": png(1), "index.csv": b"\xff\xfe\x00\x81"}))


def test_other_members_and_hidden_files_are_ignored(write) -> None:
    members = {**people(2, 1), "README.md": b"hello", "__MACOSX/a/._1.png": b"x", "a/.b.png": b"x"}
    assert len(open_faces(write(members))) == 2


def test_a_set_without_pictures_is_refused(write) -> None:
    with pytest.raises(DataError, match=r"expected pictures .* found none"):
        open_faces(write({"README.md": b"hello"}))


def test_two_pictures_of_one_key_are_refused(write) -> None:
    with pytest.raises(DataError, match="two pictures share the name 'a/1'"):
        open_faces(write({"a/1.png": png(1), "a/1.webp": png(2), "a/2.png": png(3)}))


def test_a_picture_of_another_size_is_named_and_still_readable_raw(write) -> None:
    source = open_faces(write({"a/1.png": encode(pattern(1, (80, 96))), "b/2.png": png(2)}))
    with pytest.raises(ImageError, match=r"s(\.zip)?: a/1: expected an aligned 112x112.* 96x80"):
        source.read(0)
    assert source.picture(0).shape == (80, 96, 3)


def test_a_truncated_jpeg_in_a_set_is_named(write) -> None:
    whole = encode(pattern(1), "JPEG")
    source = open_faces(write({"a/1.jpg": whole[: len(whole) // 2], "b/2.png": png(2)}))
    with pytest.raises(ImageError, match=r"a/1: broken or truncated image"):
        source.read(0)


def test_a_huge_png_header_in_a_set_is_refused_before_decoding(write) -> None:
    source = open_faces(write({"a/1.png": huge_png_header(), "b/2.png": png(2)}))
    with pytest.raises(ImageError, match=r"a/1: expected at most \d+ pixels"):
        source.read(0)


def test_a_text_file_named_jpg_is_named(write) -> None:
    source = open_faces(write({"a/1.jpg": b"I am a poem.", "b/2.png": png(2)}))
    with pytest.raises(ImageError, match=r"a/1: expected an image .*, got a text file"):
        source.read(0)


def test_exif_rotation_is_applied(write) -> None:
    image = Image.fromarray(pattern(1))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to view
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=exif)
    source = open_faces(write({"a/1.png": stream.getvalue(), "b/2.png": png(2)}))
    np.testing.assert_array_equal(source.read(0), np.rot90(pattern(1), k=-1))


def test_a_zip_and_its_unpacked_folder_have_one_digest(tmp_path: Path) -> None:
    zipped = open_faces(write_zip(tmp_path / "s.zip", people()))
    folder = open_faces(write_folder(tmp_path / "s", people()))
    assert zipped.digest() == folder.digest()
    by_hand = "".join(
        f"{name.removesuffix('.png')}\x1f{len(data)}\x1f{zlib.crc32(data):08x}\x1e"
        for name, data in sorted(people().items())
    )
    assert zipped.digest() == sha256(by_hand.encode()).hexdigest()


def test_the_digest_follows_keys_and_bytes_but_not_labels(write, tmp_path: Path) -> None:
    path = write(people())
    before = open_faces(path).digest()
    assert open_faces(path, labels="none").digest() == before
    changed = {**people(), "person_0/person_0_0001.png": png(99)}
    assert open_faces(write(changed)).digest() != before
    assert open_faces(write({**changed, "z/new.png": png(5)})).digest() != before


def test_a_folder_above_the_limit_is_told_apart_by_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_faces(write_folder(tmp_path / "s", people()))
    by_bytes = source.digest()
    monkeypatch.setattr(image_folder, "HASH_LIMIT_BYTES", 10)
    assert source.digest() != by_bytes
    assert source.digest() == source.digest()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../out.png", r"with '\.\.'"),
        ("a/../../out.png", r"with '\.\.'"),
        ("/etc/out.png", "absolute"),
        ("C:/out.png", "absolute"),
        ("a\\out.png", "backslash"),
    ],
)
def test_a_zip_with_an_unsafe_name_is_refused(name: str, problem: str, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "evil.zip", {"a/1.png": png(1), name: png(2)})
    with pytest.raises(DataError, match=rf"evil.zip: member .* refused: .*{problem}"):
        open_faces(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_a_repeated_name_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "twice.zip", [("a/1.png", png(1)), ("a/1.png", png(2))])
    with pytest.raises(DataError, match=r"twice.zip: member 'a/1.png' refused: expected each name"):
        open_faces(path)


def test_a_member_above_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", b"\0" * 200_000)
    with pytest.raises(DataError, match=r"'a/1.png' refused: expected at most 1000 bytes, got 2"):
        ZipCrops(path, limits=ImageLimits(max_bytes=1000))


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", b"\0" * 200_000)
    size, lie = (200_000).to_bytes(4, "little"), (100).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, lie))
    with pytest.raises(DataError, match=r"liar.zip: a/1.png: broken member"):
        ZipCrops(path, limits=ImageLimits(max_bytes=1000)).read(0)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "locked.zip", {"a/1.png": png(1)})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="without encryption"):
        open_faces(path)


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "poem.zip"
    path.write_text("I am a poem.")
    with pytest.raises(DataError, match=r"poem.zip: expected a zip archive"):
        open_faces(path)


def test_an_unknown_suffix_says_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "set.tar"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"set.tar: expected a folder or one of .bin, .rec, .zip"):
        open_faces(path)


def test_labels_is_one_of_two_words(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'auto' or 'none', got 'yes'"):
        open_faces(tmp_path, labels="yes")  # type: ignore[arg-type]


def test_an_unreadable_picture_in_a_folder_is_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "s", people())
    victim = path / "person_0" / "person_0_0001.png"
    source = open_faces(path)
    victim.unlink()
    with pytest.raises(ImageError, match="person_0/person_0_0001"):
        source.read(0)
