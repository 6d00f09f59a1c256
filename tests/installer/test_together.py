"""Files synced together: all of them, before the directory they are in, and none after a failure."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from interlock import platforms
from interlock.durable import Disk
from interlock.errors import DiskError
from interlock.together import MOST, publish_all, together

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="files are known by their inode")


class Watched(platforms.Posix):
    """A platform that remembers what is synced, and whether it had all of its content then."""

    def __init__(self, fails: bool = False) -> None:
        self.synced: list[tuple[int, int]] = []
        self.fails = fails

    def sync_file(self, descriptor: int) -> None:
        if self.fails:
            raise OSError(5, "Input/output error")
        status = os.fstat(descriptor)
        self.synced.append((status.st_ino, status.st_size))
        super().sync_file(descriptor)


def opened_in(directory: Path) -> list[str]:
    """Return the files below a directory that this process has open, where the system tells (Linux)."""
    found = []
    if os.path.isdir("/proc/self/fd"):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the list's own is closed by now
                found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [path for path in found if path.startswith(f"{directory}{os.sep}")]


def test_files_are_synced_by_the_end_of_the_block_and_before_a_directory(tmp_path: Path) -> None:
    platform = Watched()
    with together(Disk(platform=platform), str(tmp_path)) as disk:
        disk.write(str(tmp_path / "a"), b"123")
        disk.write(str(tmp_path / "b"), b"4567")
        assert platform.synced == []
        disk.sync_directory(str(tmp_path))
        inodes = [(tmp_path / name).stat().st_ino for name in "ab"]
        assert platform.synced[:2] == [(inodes[0], 3), (inodes[1], 4)]
        assert platform.synced[2][0] == tmp_path.stat().st_ino
        disk.write(str(tmp_path / "c"), b"8")
        assert len(platform.synced) == 3
    assert platform.synced[3:] == [((tmp_path / "c").stat().st_ino, 1)]


def test_the_number_of_open_files_is_bounded_and_none_stays_open(tmp_path: Path) -> None:
    platform = Watched()
    with together(Disk(platform=platform), str(tmp_path)) as disk:
        for number in range(MOST + 1):
            disk.write(str(tmp_path / str(number)), b"x")
        assert len(platform.synced) == MOST
        assert len(opened_in(tmp_path)) <= 1
    assert len(platform.synced) == MOST + 1
    assert opened_in(tmp_path) == []


def test_a_disk_that_refuses_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskError, match=str(tmp_path)),
        together(Disk(platform=Watched(fails=True)), str(tmp_path)) as disk,
    ):
        disk.write(str(tmp_path / "a"), b"1")


def test_after_a_failure_nothing_is_waited_for(tmp_path: Path) -> None:
    platform = Watched()

    def interrupted() -> None:
        with together(Disk(platform=platform), str(tmp_path)) as disk:
            disk.write(str(tmp_path / "a"), b"1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert platform.synced == []


def test_without_durability_nothing_is_synced(tmp_path: Path) -> None:
    platform = Watched()
    with together(Disk("fast", platform), str(tmp_path)) as disk:
        disk.write(str(tmp_path / "a"), b"1")
    assert platform.synced == []


def test_files_are_published_in_order_when_all_of_them_are_safe(tmp_path: Path) -> None:
    """The second takes the place of an old one, has a time of its own, and lies elsewhere."""

    class Watching(Disk):
        def replace(self, source: str, destination: str) -> None:
            synced = {inode for inode, _ in platform.synced}
            log.append((os.path.basename(destination), os.stat(source).st_ino in synced, len(synced)))
            super().replace(source, destination)

    platform, log = Watched(), list[tuple[str, bool, int]]()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b").write_bytes(b"old")
    files = [
        (str(tmp_path / "a"), b"1", None),
        (str(tmp_path / "other" / "b"), b"22", 5),
        (str(tmp_path / "c"), b"3", 7),
    ]
    publish_all(files, disk=Watching(platform=platform))
    assert log == [("a", True, 3), ("b", True, 3), ("c", True, 3)]
    directories = [tmp_path.stat().st_ino, (tmp_path / "other").stat().st_ino]
    assert [inode for inode, _ in platform.synced[3:]] == directories
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "other" / "b", tmp_path / "c")] == [
        (b"22", 5),
        (b"3", 7),
    ]
    assert sorted(os.listdir(tmp_path)) == ["a", "c", "other"]
    publish_all([], disk=Disk())


def test_of_what_cannot_be_published_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").touch()
    with pytest.raises(DiskError, match=str(tmp_path / "b")):
        publish_all([(str(tmp_path / name), b"1", None) for name in "abc"], disk=Disk())
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    with pytest.raises(DiskError):
        publish_all([(str(tmp_path / name), b"2", None) for name in "ac"], disk=Disk(platform=Watched(fails=True)))
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "a").read_bytes() == b"1"
