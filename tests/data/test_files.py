from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from orchestrator.data.files import Layout, Located, find, search_roots
from orchestrator.errors import DataError

PLAIN = Layout("idx", ("images", "labels"), ("Set/raw", "set"))
TAR = Layout("binary", ("images", "labels"), (".", "set"), archive="set.tar.gz")


def put(folder: Path, images: bytes = b"i", labels: bytes = b"l") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images").write_bytes(images)
    (folder / "labels").write_bytes(labels)


def found(data_dir: Path | None = None, layouts: tuple[Layout, ...] = (PLAIN,)) -> Path | None:
    given = None if data_dir is None else str(data_dir)
    located = find(layouts, search_roots(given, Path(".cache/orchestrator")), given)
    return None if located is None else located.place.resolve()


def test_folders_are_searched_in_the_documented_order(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, named = empty_machine / "given", empty_machine / "named"
    monkeypatch.setenv("ORCHESTRATOR_DATA", str(named))
    given.mkdir()
    expected: list[Path] = []
    for root in ("system", ".cache/torch", "data", ".cache/orchestrator", "named", "given"):
        put(empty_machine / root / "set")
        expected.append(empty_machine / root / "set")
        assert found(given) == expected[-1]


def test_the_home_folder_is_searched_from_any_working_directory(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = empty_machine / "work"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    put(empty_machine / "data/Set/raw")
    assert found() == empty_machine / "data/Set/raw"


def test_idx_files_may_be_named_with_a_dot(empty_machine: Path) -> None:
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    layout = Layout("idx", names, ("set",))
    for folder, spelled in (
        ("dots", [name.replace("-idx", ".idx") for name in names]),
        ("plain", names),
    ):
        for name in spelled:
            place = empty_machine / folder if folder == "dots" else empty_machine / folder / name
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(name.encode())
        assert found(empty_machine / folder, (layout,)) == empty_machine / folder
        assert set(Located(layout, empty_machine / folder).read()) == set(names)


def test_files_directly_in_a_folder_count_only_if_data_dir_names_it(
    empty_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = empty_machine / "flat"
    put(flat)
    put(empty_machine / "data")
    monkeypatch.setenv("ORCHESTRATOR_DATA", str(flat))
    assert found() is None
    assert found(flat) == flat
    put(flat / "set")
    assert found(flat) == flat / "set"


def test_a_layout_is_found_only_with_all_its_files(empty_machine: Path) -> None:
    put(empty_machine / "data/Set/raw")
    put(empty_machine / "data/set")
    (empty_machine / "data/Set/raw/labels").unlink()
    assert found() == empty_machine / "data/set"


def test_a_data_dir_that_is_not_a_folder_is_refused(empty_machine: Path) -> None:
    with pytest.raises(DataError, match=r"data\.data_dir: nowhere is not a folder"):
        search_roots("nowhere", Path(".cache"))


def test_compressed_files_are_read_in_place(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / "labels").unlink()
    (tmp_path / "labels.gz").write_bytes(gzip.compress(b"labels"))
    assert Located(PLAIN, tmp_path).read() == {"images": b"i", "labels": b"labels"}


def test_archives_are_read_in_place(empty_machine: Path) -> None:
    tar_path = empty_machine / "data/set.tar.gz"
    tar_path.parent.mkdir()
    with tarfile.open(tar_path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("batches"))
        for name, content in (("labels", b"l"), ("readme", b"r"), ("images", b"i")):
            info = tarfile.TarInfo(f"batches/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert found(layouts=(PLAIN, TAR)) == tar_path
    assert Located(TAR, tar_path).read() == {"images": b"i", "labels": b"l"}
    zip_path = empty_machine / "set.zip"
    with zipfile.ZipFile(zip_path, "w") as zipped:
        zipped.writestr("gzip/images.gz", gzip.compress(b"i"))
        zipped.writestr("gzip/labels", b"l")
        zipped.writestr("gzip/other", b"o")
    assert Located(TAR, zip_path).read() == {"images": b"i", "labels": b"l"}
    assert sorted(path.name for path in empty_machine.rglob("*")) == [
        "data",
        "set.tar.gz",
        "set.zip",
    ]


def test_an_archive_without_a_wanted_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("images"))
    with pytest.raises(DataError, match=r"set\.tar\.gz: does not contain labels"):
        Located(TAR, path).read()


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b"x" * 9999)[:-20]],
    ids=["empty", "no_archive", "cut_off"],  # gzip writes the time into what it makes
)
def test_an_unreadable_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"set\.tar\.gz: cannot be read"):
        Located(TAR, path).read()


@pytest.mark.parametrize("cut", [3, 12, -4])
def test_a_truncated_gzip_file_is_refused(tmp_path: Path, cut: int) -> None:
    put(tmp_path, images=gzip.compress(bytes(range(256)) * 9)[:cut])
    with pytest.raises(DataError, match="cannot be read"):
        Located(PLAIN, tmp_path).read()
