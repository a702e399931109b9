"""Folders and archives as sources of an import: the same clips from each, and what each must refuse."""

import io
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import py7zr
import pytest

import rar
from darkaction.core.errors import UserError
from darkaction.data.importers.archives import open_source

SRC = Path(__file__).resolve().parents[2] / "src"
FILES = {"Walk/Walk_1_1.mp4": b"first" * 300, "Walk/Walk_1_2.mp4": b"second" * 200, "notes.txt": b"a note"}


def make_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes], *, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def make_tar_gz(path: Path, files: dict[str, bytes]) -> Path:
    return make_tar(path, files, mode="w:gz")


def make_7z(path: Path, files: dict[str, bytes]) -> Path:
    with py7zr.SevenZipFile(path, "w") as archive:
        for name, data in files.items():
            archive._writestr(data, name)  # the public one refuses what these tests are about
    return path


def make_rar(path: Path, files: dict[str, bytes]) -> Path:
    rar.write_rar(path, [rar.member(name, data) for name, data in files.items()])
    return path


MAKERS = {
    "folder": make_folder,
    "zip": make_zip,
    "tar": make_tar,
    "tar.gz": make_tar_gz,
    "7z": make_7z,
    "rar": make_rar,
}
ARCHIVES = {kind: maker for kind, maker in MAKERS.items() if kind != "folder"}
Maker = Callable[[Path, dict[str, bytes]], Path]


def everything_under(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_members_and_what_is_copied(make: Maker, tmp_path: Path) -> None:
    source = open_source(make(tmp_path / "source", FILES))
    members = [(member.name, member.size) for member in source.members()]
    assert members == sorted((name, len(data)) for name, data in FILES.items())
    counted: list[int] = []
    wanted = {name: tmp_path / "out" / name for name in FILES if name != "Walk/Walk_1_1.mp4"}
    source.copy(wanted, counted.append)
    assert everything_under(tmp_path / "out") == {name: FILES[name] for name in wanted}
    assert sum(counted) == sum(len(FILES[name]) for name in wanted)


@pytest.mark.parametrize("make", ARCHIVES.values(), ids=ARCHIVES)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../Walk/Walk_1_1.mp4", "leads out of the folder"),
        ("Walk/../../Walk_1_1.mp4", "leads out of the folder"),
        ("/tmp/Walk/Walk_1_1.mp4", "is an absolute path"),
        ("C:\\Walk\\Walk_1_1.mp4", "is an absolute path"),
        ("Walk\\..\\..\\Walk_1_1.mp4", "leads out of the folder"),
        ("Walk/Walk_1_1\n.mp4", "has control characters in its name"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(make: Maker, tmp_path: Path, name: str, reason: str) -> None:
    source = open_source(make(tmp_path / "source", {"Walk/Walk_1_2.mp4": b"good", name: b"bad"}))
    with pytest.raises(UserError) as caught:
        source.members()
    assert str(tmp_path / "source") in str(caught.value)
    assert reason in str(caught.value)
    assert repr(name) in str(caught.value) or repr(name.replace("\\", "/")) in str(caught.value)


@pytest.mark.parametrize("make", ARCHIVES.values(), ids=ARCHIVES)
def test_names_that_one_file_system_may_not_tell_apart_are_refused(make: Maker, tmp_path: Path) -> None:
    source = open_source(make(tmp_path / "source", {"Walk/Walk_1_1.mp4": b"one", "walk/walk_1_1.MP4": b"two"}))
    with pytest.raises(UserError, match="differ only in case or spelling"):
        source.members()


def link_in_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("Walk/Walk_1_1.mp4")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")


def link_in_tar(path: Path, kind: bytes = tarfile.SYMTYPE) -> None:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("Walk/Walk_1_1.mp4")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)


def link_in_7z(path: Path) -> None:
    link = path.with_name("Walk_1_1.mp4")
    link.symlink_to("/etc/passwd")
    with py7zr.SevenZipFile(path, "w") as archive:
        archive.write(link, "Walk/Walk_1_1.mp4")
    link.unlink()


def link_in_rar(path: Path) -> None:
    rar.write_rar(path, [rar.member("Walk/Walk_1_1.mp4", b"/etc/passwd", mode=rar.LINK)])


def link_in_folder(path: Path) -> None:
    (path / "Walk").mkdir(parents=True)
    (path / "Walk" / "Walk_1_1.mp4").symlink_to("/etc/passwd")


def folder_link_in_folder(path: Path) -> None:
    path.mkdir()
    (path / "Walk").symlink_to("/etc", target_is_directory=True)


@pytest.mark.parametrize(
    "make",
    [
        link_in_zip,
        link_in_tar,
        lambda path: link_in_tar(path, tarfile.LNKTYPE),
        link_in_7z,
        link_in_rar,
        link_in_folder,
        folder_link_in_folder,
    ],
    ids=["zip", "tar", "tar-hard", "7z", "rar", "folder", "folder-in-folder"],
)
def test_links_are_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "source")
    with pytest.raises(UserError, match=r"Walk.* is a link; nothing was imported"):
        open_source(tmp_path / "source").members()


def test_devices_are_refused(tmp_path: Path) -> None:
    link_in_tar(tmp_path / "device.tar", tarfile.CHRTYPE)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "device.tar", tmp_path):
        with pytest.raises(UserError, match="is a device or another special file"):
            open_source(path).members()


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "secret.zip", {"Walk/Walk_1_1.mp4": b"x"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with py7zr.SevenZipFile(tmp_path / "secret.7z", "w", password="word") as archive:
        archive.writestr(b"x", "Walk/Walk_1_1.mp4")
    for name in ("secret.zip", "secret.7z"):
        with pytest.raises(UserError, match="is encrypted; unpack it yourself"):
            open_source(tmp_path / name).members()


@pytest.mark.parametrize("make", [make_zip, make_tar_gz, make_7z], ids=["zip", "tar.gz", "7z"])
def test_bombs_are_refused(make: Maker, tmp_path: Path) -> None:
    path = make(tmp_path / "bomb", {"Walk/Walk_1_1.mp4": bytes(30_000_000)})
    with pytest.raises(UserError, match="times its size: refused as a bomb; nothing was imported"):
        open_source(path).members()


def test_a_member_that_is_larger_than_it_says_is_cut_off(tmp_path: Path) -> None:
    rar.write_rar(tmp_path / "liar.rar", [rar.member("Walk/Walk_1_1.mp4", b"x" * 5000, size=100)])
    path = make_zip(tmp_path / "liar.zip", {"Walk/Walk_1_1.mp4": b"x" * 5000})
    data = path.read_bytes()
    path.write_bytes(data.replace((5000).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    for name in ("liar.rar", "liar.zip"):
        source = open_source(tmp_path / name)
        target = tmp_path / "out" / "Walk_1_1.mp4"
        with pytest.raises(UserError, match=r"liar|Walk_1_1"):
            source.copy({"Walk/Walk_1_1.mp4": target}, lambda _: None)
        assert not target.exists()
        assert sum(path.stat().st_size for path in target.parent.glob("*")) <= 100


@pytest.mark.parametrize("make", ARCHIVES.values(), ids=ARCHIVES)
def test_a_truncated_archive_is_named(make: Maker, tmp_path: Path) -> None:
    import random

    noise = random.Random(0)
    path = make(tmp_path / "source", {f"Walk/Walk_1_{k}.mp4": noise.randbytes(50_000) for k in range(4)})
    whole = path.read_bytes()
    for length in (3, len(whole) // 3, 2 * len(whole) // 3):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=str(path)):
            copy_all(path, tmp_path / "out")


def copy_all(path: Path, target: Path) -> None:
    source = open_source(path)
    source.copy({member.name: target / member.name for member in source.members()}, lambda _: None)


@pytest.mark.parametrize("make", ARCHIVES.values(), ids=ARCHIVES)
def test_flipped_bytes_never_crash(make: Maker, tmp_path: Path) -> None:
    import random

    noise = random.Random(1)
    files = {f"Walk/Walk_1_{k}.mp4": noise.randbytes(300) for k in range(3)}
    whole = make(tmp_path / "source", files).read_bytes()
    damaged = tmp_path / "damaged"
    for _ in range(60):
        data = bytearray(whole)
        data[noise.randrange(len(data))] ^= 1 << noise.randrange(8)
        damaged.write_bytes(data)
        try:
            source = open_source(damaged)
            members = [member for member in source.members() if member.size < 10_000]
            source.copy({member.name: tmp_path / "out" / member.name for member in members}, lambda _: None)
        except UserError as error:
            assert "damaged" in str(error) or "Walk" in str(error)  # noqa: PT017


def test_what_is_no_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    for name, message in (("clip.mp4", "not a folder, a list"), ("absent", "no such file or folder")):
        with pytest.raises(UserError, match=message):
            open_source(tmp_path / name)


def test_a_list_may_be_large_but_not_huge_and_must_be_text(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    source = open_source(tmp_path / "list.txt")
    [member] = source.members()
    with pytest.raises(UserError, match=r"list\.txt: not text in UTF-8"):
        member.read(tmp_path / "scratch")
    with pytest.raises(UserError, match="too many for a list"):
        replace(member, size=10**9).read(tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_compressed_rar_without_an_unpacker_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "packed.rar"
    rar.write_rar(path, [rar.member("Walk/Walk_1_1.mp4", b"x" * 50, method=rar.COMPRESSED, size=90)])
    program = (
        "import sys; from pathlib import Path; from darkaction.data.importers.archives import open_source\n"
        "open_source(Path(sys.argv[1])).copy({'Walk/Walk_1_1.mp4': Path(sys.argv[1] + '.out')}, lambda _: None)"
    )
    environment = {"PATH": "", "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "needs a program that unpacks RAR: on Debian and Ubuntu `apt-get install unar`" in done.stderr
