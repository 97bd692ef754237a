"""Data files that nobody wrote in good faith: an error that names the file, and nothing is run."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.data import files
from orchestrator.data.array_pickle import load_array_pickle
from orchestrator.data.cifar import parse_binary, parse_python
from orchestrator.data.files import Layout, Located
from orchestrator.data.idx import parse_idx
from orchestrator.data.load import load_dataset
from orchestrator.errors import DataError
from orchestrator.study.data_options import CustomData, NpzData

from .makers import cifar_python2, idx_bytes, some_images

ARRAYS: dict[str, Any] = {
    "x_train": np.arange(18.0).reshape(6, 3),
    "y_train": np.array([0, 1, 0, 1, 0, 1]),
    "x_test": np.arange(6.0).reshape(2, 3),
    "y_test": np.array([0, 1]),
}
EDITS = st.lists(
    st.tuples(st.integers(0, 5000), st.integers(0, 12), st.binary(max_size=4)),
    min_size=1,
    max_size=3,
)


def edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    changed = bytearray(content)
    for at, cut, new in edits:
        at %= len(changed) + 1
        changed[at : at + cut] = new
    return bytes(changed)


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(text: str, data: bytes = bytes(64)) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + data


def npz(path: Path, compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {**{k: npy(v) for k, v in ARRAYS.items()}, **members}.items():
            archive.writestr(f"{name}.npy", content)
    return path


def load(path: Path) -> Any:
    return load_dataset(NpzData(name="npz", path=str(path)))


def described(**changes: Any) -> str:
    return repr({"descr": "<f8", "fortran_order": False, "shape": (6, 3), **changes}) + "\n"


class Intruder:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("intruder"),)


@pytest.mark.parametrize(
    "member",
    [
        npy(np.array([Intruder()] * 6, dtype=object)),
        header(described(descr="|O"), pickle.dumps([Intruder()] * 6)),
        pickle.dumps(Intruder()),
        header("__import__('pathlib').Path('intruder').touch()\n"),
        header("(" * 3000 + "\n"),
        header(described(shape=(10**12, 3))),
        header(described(shape=(2**70,))),
        header(described(shape=(-6, -3))),
        header(described(shape=(0, 3))),
        header(described(shape=())),
        header(described(descr="<U99999999")),
        header(described(descr="<M8[s]", shape=(6, 1))),
        header(described(descr=[("a", "<f8")], shape=(6,))),
        header(described(descr="<c16", shape=(2, 2))),
        npy(np.full((6, 3), np.nan)),
        npy(np.full((6, 3), -np.inf)),
        npy(np.zeros((6, 0))),
        npy(np.array([["a"]] * 6)),
        b"",
    ],
)
def test_npz_members_that_are_not_inputs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = npz(tmp_path / "mine.npz", x_train=member)
    with pytest.raises(DataError, match=r"mine\.npz: "):
        load(path)
    assert [one.name for one in tmp_path.iterdir()] == ["mine.npz"]


@pytest.mark.parametrize(
    "labels", [[0.0] * 6, [0] * 6, [0, 2] * 3, [0, -1] * 3, [0, 1], [[0, 1]] * 6, [[0]] * 6]
)
def test_npz_members_that_are_not_labels_are_refused(tmp_path: Path, labels: list[Any]) -> None:
    path = npz(tmp_path / "mine.npz", y_train=npy(np.array(labels)))
    with pytest.raises(DataError, match=r"mine\.npz: (y_train|y_test|train): "):
        load(path)


def test_an_archive_that_unpacks_to_more_than_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(tmp_path / "mine.npz", more=bytes(1 << 20))
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 100}.get)
    with pytest.raises(DataError, match=r"mine\.npz: unpacks to 1,\d{3},\d{3} bytes"):
        load(path)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    folder = tmp_path_factory.mktemp("npz")
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    return folder, [npz(folder / "good.npz", kind).read_bytes() for kind in kinds]


@given(st.integers(0, 1), EDITS)
def test_random_edits_of_an_npz_load_or_are_refused_by_name(
    good: tuple[Path, list[bytes]], which: int, edits: list[tuple[int, int, bytes]]
) -> None:
    path = good[0] / "edited.npz"
    path.write_bytes(edited(good[1][which], edits))
    try:
        dataset = load(path)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert bool(dataset.train_x.isfinite().all())


IDX = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@given(EDITS | st.just([]), st.binary(max_size=40))
def test_random_idx_files_parse_or_are_refused_by_name(
    edits: list[tuple[int, int, bytes]], noise: bytes
) -> None:
    for content in (edited(IDX, edits), noise, IDX[:4] + noise):
        try:
            array = parse_idx(content, 3, "f")
        except DataError as error:
            assert str(error).startswith("f: ")
        else:
            assert array.nbytes == len(content) - 16


@given(st.binary(max_size=9000))
def test_random_binary_batches_parse_or_are_refused_by_name(content: bytes) -> None:
    try:
        images, labels = parse_binary(content, 1, "f")
    except DataError as error:
        assert str(error).startswith("f: ")
    else:
        assert len(images) == len(labels) > 0


BATCH = cifar_python2(*some_images(2, 3, 32, 32))
OPCODES = st.sampled_from(
    [bytes([code]) for code in b"()}]lteasubR0123cpqrhjXUTCBKMJILNVSFG.\x81\x93\x94"]
)


@given(EDITS | st.just([]), st.lists(OPCODES | st.binary(max_size=3), max_size=20))
def test_random_pickles_parse_or_are_refused_by_name(
    edits: list[tuple[int, int, bytes]], program: list[bytes]
) -> None:
    for content in (edited(BATCH, edits), b"\x80\x02" + b"".join(program)):
        try:
            images, labels = parse_python(content, "labels", "f")
        except DataError as error:
            assert str(error).startswith("f: ")
        else:
            assert images.dtype == labels.dtype == np.uint8


@pytest.mark.parametrize(
    "content",
    [
        b"Nr\xff\xff\xff\x7f.",  # remembers under two thousand million
        b"Np2147483647\n.",
        b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.",  # a terabyte of bytes
        b"\x80\x04\x95" + b"\xff" * 8 + b".",
        b"X\xff\xff\xff\x7f.",
        b"(" * 100_000 + b".",
        b"I" + b"9" * 100_000 + b"\n.",
        b"\x80\x05\x97.",
        b"\x82\x01.",
        b"Pthing\n.",
        b"\x80\x02c__builtin__\neval\n(U\x04open\x85tR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.",
        b"\x80\x02cnumpy\nndarray\n)\x81(K\x01(J\xff\xff\xff\x7f\x85N\x89U\x00tb.",
    ],
)
def test_pickles_that_exhaust_memory_or_run_code_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^f: cannot be unpickled: ."):
        load_array_pickle(content, "f")


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    bomb = gzip.compress(bytes(100_000))
    assert len(bomb) < 1000
    layout = Layout("idx", ("images",), (".",))
    (tmp_path / "images.gz").write_bytes(bomb)
    with pytest.raises(DataError, match=r"images.gz: more than 1,000 bytes"):
        Located(layout, tmp_path).read()
    (tmp_path / "images").write_bytes(bytes(1001))
    with pytest.raises(DataError, match=r"images: more than 1,000 bytes"):
        Located(layout, tmp_path).read()


def archived(kind: str, place: Path, members: dict[str, bytes]) -> None:
    if kind == "zip":
        with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    with tarfile.open(place, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_are_read_without_unpacking_to_disk(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "archive"
    members = {"../../images": b"one", "/etc/labels": b"two", "../intruder": b"three"}
    archived(kind, place, members)
    found = Located(Layout("idx", ("images", "labels"), (".",), "archive"), place).read()
    assert found == {"images": b"one", "labels": b"two"}
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
    assert not (tmp_path.parent / "intruder").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_oversized_members_of_archives_are_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    archived(kind, tmp_path / "archive", {"images": bytes(1001)})
    with pytest.raises(DataError, match=r"archive/images: more than 1,000 bytes"):
        Located(Layout("idx", ("images",), (".",), "archive"), tmp_path / "archive").read()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("target", ["link", "symlink"])
def test_links_in_archives_are_refused(tmp_path: Path, kind: str, target: str) -> None:
    place = tmp_path / "archive"
    with tarfile.open(place, "w") as tar:
        entry = tarfile.TarInfo("images")
        entry.type = tarfile.SYMTYPE if target == "symlink" else tarfile.LNKTYPE
        entry.linkname = "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(DataError, match=str(place)):
        Located(Layout("idx", ("images",), (".",), "archive"), place).read()


@given(EDITS)
def test_random_edits_of_archives_are_read_or_refused_by_name(
    good: tuple[Path, list[bytes]], edits: list[tuple[int, int, bytes]]
) -> None:
    for kind in ("zip", "tar"):
        place = good[0] / f"{kind}-archive"
        archived(kind, place, {"images": b"one" * 50})
        place.write_bytes(edited(place.read_bytes(), edits))
        try:
            Located(Layout("idx", ("images",), (".",), place.name), place).read()
        except DataError as error:
            assert str(place) in str(error)


BAD_RESULTS = [
    None,
    (),
    ([1], [2], [3], [4]),
    tuple(ARRAYS.values())[:3],
    (np.full((6, 3), np.nan), *tuple(ARRAYS.values())[1:]),
    (np.array([[Intruder()]] * 6), *tuple(ARRAYS.values())[1:]),
    (ARRAYS["x_train"][:0], ARRAYS["y_train"][:0], ARRAYS["x_test"], ARRAYS["y_test"]),
    (ARRAYS["x_train"], ARRAYS["y_train"] * 0, ARRAYS["x_test"], ARRAYS["y_test"] * 0),
    (ARRAYS["x_train"], ARRAYS["y_train"], ARRAYS["x_test"][:, :2], ARRAYS["y_test"]),
]


def returned(number: int) -> Any:
    return BAD_RESULTS[number]


@pytest.mark.parametrize("number", range(len(BAD_RESULTS)))
def test_invalid_results_of_a_users_reader_are_refused(number: int) -> None:
    name = "tests.data.test_hostile_data:returned"
    with pytest.raises(DataError, match=name):
        load_dataset(CustomData.model_validate({"name": name, "number": number}))
