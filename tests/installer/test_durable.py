"""The one module that changes the file system."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from interlock import platforms
from interlock.durable import MANY, Disk
from interlock.errors import DiskError


class Watching(platforms.Posix):
    """The real platform, that also writes down what it is asked to do."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def sync_file(self, descriptor: int) -> None:
        if sys.platform == "linux":
            self.log.append("file " + os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        super().sync_file(descriptor)

    def sync_directory(self, path: str) -> None:
        self.log.append("directory " + os.path.basename(path))

    def retry(self, operation: object) -> None:
        self.log.append("rename or removal")
        super().retry(operation)  # type: ignore[arg-type]


@pytest.fixture
def disk() -> Disk:
    return Disk("full")


def test_write_creates_and_overwrites(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "f"
    disk.write(str(path), b"a longer content")
    disk.write(str(path), b"short", mtime_ns=1_000_000_000)
    assert path.read_bytes() == b"short"
    assert path.stat().st_mtime_ns == 1_000_000_000


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_modes_follow_the_umask_and_are_never_world_writable(disk: Disk, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        disk.write(str(tmp_path / "f"), b"")
        disk.write(str(tmp_path / "x"), b"", executable=True)
        disk.make_directory(str(tmp_path / "d" / "e"))
    finally:
        os.umask(before)
    assert oct((tmp_path / "f").stat().st_mode & 0o777) == "0o664"
    assert oct((tmp_path / "x").stat().st_mode & 0o777) == "0o775"
    assert not (tmp_path / "d" / "e").stat().st_mode & 0o002
    assert oct((tmp_path / "d").stat().st_mode & 0o777) == "0o775"


def test_readers_of_a_published_file_see_one_content_or_the_other(tmp_path: Path) -> None:
    disk, path = Disk("fast"), str(tmp_path / "f")
    contents = {b"a" * 300_000, b"b" * 200_000}
    disk.publish(path, b"a" * 300_000)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            with open(path, "rb") as reader:
                seen.add(reader.read())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(100):
        for content in sorted(contents):
            disk.publish(path, content)
    done.set()
    reader.join()
    assert seen <= contents
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of descriptors come from /proc")
def test_publish_syncs_the_file_then_renames_then_syncs_the_directory(tmp_path: Path) -> None:
    log: list[str] = []
    Disk("full", Watching(log)).publish(str(tmp_path / "f"), b"x")
    assert log[0].startswith("file .f.")
    assert log[0].endswith(".tmp")
    assert log[1:] == ["rename or removal", f"directory {tmp_path.name}"]


def test_fast_does_the_same_without_the_syncs(tmp_path: Path) -> None:
    log: list[str] = []
    disk = Disk("fast", Watching(log))
    disk.publish(str(tmp_path / "f"), b"x")
    disk.write_chunks(str(tmp_path / "g"), [b"x"])
    disk.sync_tree(str(tmp_path))
    assert log == ["rename or removal"]
    assert (tmp_path / "g").read_bytes() == b"x"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_publish_gives_the_permissions_that_were_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "f"
    Disk("fast").publish(str(path), b"x", mode=0o604)
    assert path.stat().st_mode & 0o777 == 0o604


def test_a_publish_that_fails_leaves_nothing_and_changes_nothing(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "inside").write_bytes(b"")
    with pytest.raises(DiskError, match="cannot write .*there: ") as caught:
        disk.publish(str(tmp_path / "there"), b"x")
    assert ".tmp" not in str(caught.value)  # the destination is what a person knows
    assert caught.value.advice
    assert os.listdir(tmp_path) == ["there"]


def test_a_missing_directory_of_a_destination_is_what_is_named(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(FileNotFoundError) as caught:
        disk.replace(str(tmp_path / "f"), str(tmp_path / "gone" / "g"))
    assert caught.value.filename == str(tmp_path / "gone" / "g")


def test_directories_below_one_that_is_gone_are_not_made(disk: Disk, tmp_path: Path) -> None:
    below = str(tmp_path / "environment")
    with pytest.raises(FileNotFoundError):
        disk.make_directory(os.path.join(below, "a", "b"), below=below)
    assert os.listdir(tmp_path) == []
    os.mkdir(below)
    disk.make_directory(os.path.join(below, "a", "b"), below=below)
    assert os.path.isdir(os.path.join(below, "a", "b"))


def test_a_probe_leaves_nothing(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    disk.probe(str(tmp_path / "there"))
    assert os.listdir(tmp_path / "there") == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match=f"cannot write {tmp_path / 'file'}"):
        disk.probe(str(tmp_path / "file"))


def test_a_probe_makes_a_file_where_the_system_does_not_tell(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "supports_effective_ids", set())
    (tmp_path / ".interlock-probe").write_bytes(b"")  # of a process that died in between
    before = tmp_path.stat().st_mtime_ns
    disk.probe(str(tmp_path), by_trying=False)
    assert os.listdir(tmp_path) == []
    assert tmp_path.stat().st_mtime_ns >= before


@pytest.mark.skipif(os.access not in os.supports_effective_ids, reason="there it makes a file")
def test_a_probe_changes_nothing_where_the_system_tells(disk: Disk, tmp_path: Path) -> None:
    os.utime(tmp_path, ns=(1, 1))
    disk.probe(str(tmp_path), by_trying=False)
    assert tmp_path.stat().st_mtime_ns == 1


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root and chattr")
@pytest.mark.parametrize("by_trying", [True, False])
@pytest.mark.parametrize("how", ["immutable", "read-only"])
def test_a_probe_finds_what_root_may_not_do_either(disk: Disk, tmp_path: Path, how: str, by_trying: bool) -> None:
    do, undo = (
        (["chattr", "+i"], ["chattr", "-i"])
        if how == "immutable"
        else (["mount", "-t", "tmpfs", "-o", "ro", "x"], ["umount"])
    )
    if subprocess.run([*do, str(tmp_path)], capture_output=True, check=False).returncode:
        pytest.skip(f"{do[0]} does not work here")
    try:
        with pytest.raises(DiskError, match=f"cannot write {tmp_path}: (Operation not permitted|Read-only)"):
            disk.probe(str(tmp_path), by_trying=by_trying)
    finally:
        subprocess.run([*undo, str(tmp_path)], check=True)


def test_publish_if_changed_leaves_an_equal_file_alone(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "new" / "f"
    assert disk.publish_if_changed(str(path), b"x", mtime_ns=5_000_000_000)
    before = path.stat()
    assert not disk.publish_if_changed(str(path), b"x", mtime_ns=9_000_000_000)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, 5_000_000_000)
    assert disk.publish_if_changed(str(path), b"y")
    assert path.read_bytes() == b"y"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_a_full_disk_is_an_error_that_names_the_path(disk: Disk) -> None:
    with pytest.raises(DiskError) as caught:
        disk.write("/dev/full", b"x")
    assert caught.value.message == "cannot write /dev/full: No space left on device"
    assert "Free some space" in caught.value.advice
    assert caught.value.exit_code == 74


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_a_full_disk_in_the_middle_of_a_file_names_it(disk: Disk) -> None:
    with pytest.raises(DiskError, match="cannot write /dev/full: No space left"):
        disk.write_chunks("/dev/full", [b"", b"x"])


@pytest.mark.parametrize("number", [errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EIO])
def test_refusals_of_the_file_system_are_disk_errors(tmp_path: Path, number: int) -> None:
    class Refusing(platforms.Posix):
        def sync_file(self, descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

    with pytest.raises(DiskError, match=os.strerror(number)):
        Disk("full", Refusing()).write(str(tmp_path / "f"), b"x")


def test_missing_files_stay_missing_files(disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.replace(str(tmp_path / "none"), str(tmp_path / "f"))
    with pytest.raises(FileNotFoundError):
        disk.write_chunks(str(tmp_path / "none" / "f"), [b""])
    assert os.listdir(tmp_path) == []


def test_a_file_in_parts_has_its_content_and_time(disk: Disk, tmp_path: Path) -> None:
    content, target = os.urandom(3_000_000), tmp_path / "b"
    chunks = (content[start : start + 1_000_001] for start in range(0, len(content), 1_000_001))
    disk.write_chunks(str(target), chunks, executable=True, mtime_ns=1_234_567_890_000_000_000)
    assert target.read_bytes() == content
    assert target.stat().st_mtime_ns == 1_234_567_890_000_000_000
    assert os.name == "nt" or os.access(target, os.X_OK)


def test_removals_say_whether_there_was_something(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    assert disk.remove(str(tmp_path / "f"))
    assert not disk.remove(str(tmp_path / "f"))
    (tmp_path / "d" / "e").mkdir(parents=True)
    assert not disk.remove_directory(str(tmp_path / "d"))
    assert disk.remove_directory(str(tmp_path / "d" / "e"))
    assert not disk.remove_directory(str(tmp_path / "d" / "e"))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
def test_remove_tree_removes_links_and_does_not_follow_them(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "f").write_bytes(b"x")
    (tmp_path / "gone" / "d").mkdir(parents=True)
    disk.link(str(tmp_path / "kept"), str(tmp_path / "gone" / "d" / "link"))
    disk.link("nowhere", str(tmp_path / "gone" / "dangling"))
    disk.remove_tree(str(tmp_path / "gone"))
    disk.remove_tree(str(tmp_path / "gone"))
    assert (tmp_path / "kept" / "f").read_bytes() == b"x"
    assert os.listdir(tmp_path) == ["kept"]
    disk.link(str(tmp_path / "kept"), str(tmp_path / "link"))
    disk.remove_tree(str(tmp_path / "link"))
    assert os.listdir(tmp_path) == ["kept"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of descriptors come from /proc")
def test_a_tree_may_be_deeper_than_the_stack_of_python(disk: Disk, tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 100
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        Path("file").touch()
    finally:
        os.chdir(here)
    disk.remove_tree(str(tmp_path / "d"))
    assert list(tmp_path.iterdir()) == []


def test_sync_tree_syncs_each_file_and_each_directory(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "d" / "e" / "b").write_bytes(b"")
    (tmp_path / "dangling").symlink_to("nowhere")
    log: list[str] = []
    Disk("full", Watching(log)).sync_tree(str(tmp_path))
    assert sorted(log) == sorted(["file a", "file b", "directory d", "directory e", f"directory {tmp_path.name}"])


@pytest.mark.skipif(sys.platform != "linux", reason="names of descriptors come from /proc")
def test_sync_tree_syncs_what_has_changed_since(disk: Disk, tmp_path: Path) -> None:
    for name in ("old/a", "linked/b", "new/c"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "new" / "c").chmod(0o444)
    since = disk.clock_ns(str(tmp_path / "clock"))
    while disk.clock_ns(str(tmp_path / "clock")) == since:
        pass
    since = disk.clock_ns(str(tmp_path / "clock"))
    # uv links files of its cache, which are old.
    os.link(tmp_path / "linked" / "b", tmp_path / "new" / "b")
    (tmp_path / "new" / "c").chmod(0o400)
    log: list[str] = []
    for name in ("old", "new"):
        Disk("full", Watching(log)).sync_tree(str(tmp_path / name), since_ns=since)
    assert sorted(log) == ["directory new", "file b", "file c"]


@pytest.mark.skipif(sys.platform != "linux", reason="syncfs is a call of Linux")
def test_sync_tree_syncs_many_files_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, bool]] = []

    class Asking(Watching):
        def sync_file_system(self, path: str) -> bool:
            calls.append((path, super().sync_file_system(path)))
            return calls[-1][1]

    log: list[str] = []
    for number in range(MANY):
        (tmp_path / str(number)).write_bytes(b"")
    Disk("full", Asking(log)).sync_tree(str(tmp_path))
    assert calls == [(str(tmp_path), True)]
    assert log == []
    (tmp_path / "0").unlink()
    Disk("full", Asking(log)).sync_tree(str(tmp_path))
    assert len(calls) == 1
    assert len(log) == MANY
    with pytest.raises(FileNotFoundError):
        platforms.Posix().sync_file_system(str(tmp_path / "none"))


@pytest.mark.skipif(os.utime not in os.supports_fd, reason="there times are set by path, when the file is closed")
def test_a_time_is_on_the_disk_with_the_content(tmp_path: Path) -> None:
    times: list[int] = []

    class Asking(platforms.Posix):
        def sync_file(self, descriptor: int) -> None:
            times.append(os.fstat(descriptor).st_mtime_ns)
            super().sync_file(descriptor)

    disk = Disk("full", Asking())
    disk.write(str(tmp_path / "f"), b"x", mtime_ns=1_000_000_000)
    disk.write_chunks(str(tmp_path / "g"), [b"x"], mtime_ns=1_000_000_000)
    assert times == [1_000_000_000, 1_000_000_000]


def test_the_clock_is_that_of_the_file_system(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(b"")
    clock = disk.clock_ns(str(tmp_path / "new"))
    (tmp_path / "after").write_bytes(b"")
    assert (tmp_path / "before").stat().st_mtime_ns <= clock <= (tmp_path / "after").stat().st_mtime_ns
    assert os.listdir(tmp_path / "new") == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file is made")
def test_the_clock_makes_no_file(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.major(tmp_path.stat().st_dev):
        pytest.skip("this is no disk of this machine")
    monkeypatch.setattr(os, "open", None)
    os.utime(tmp_path, ns=(1, 1))
    before = time.time_ns()
    assert before - 10**9 < disk.clock_ns(str(tmp_path)) <= time.time_ns()


@pytest.mark.skipif(sys.platform != "linux" or not os.path.isdir("/dev/shm"), reason="needs what has no block device")
def test_the_clock_is_that_of_files_where_a_directory_gets_the_clients_time(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on sshfs, whose files have the server's time; a client that is ahead would give stamps that no edit is newer than."""
    utime = os.utime

    def an_hour_ahead(path: str) -> None:
        utime(path, ns=(time.time_ns() + 3600 * 10**9,) * 2)

    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        monkeypatch.setattr(os, "utime", an_hour_ahead)
        assert disk.clock_ns(directory) <= time.time_ns()
        assert os.listdir(directory) == []


@pytest.mark.parametrize("refuses", [True, False])
def test_the_clock_is_that_of_files_where_a_directory_has_none(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    """Some file systems in user space refuse to give a directory another time, or say that they did."""

    def utime(path: str) -> None:
        if refuses:
            raise PermissionError(errno.EPERM, "Operation not permitted", path)

    os.utime(tmp_path, ns=(1, 1))
    monkeypatch.setattr(os, "utime", utime)
    before = time.time_ns()
    clock = disk.clock_ns(str(tmp_path))
    assert before - 10**9 < clock <= time.time_ns()
    assert os.listdir(tmp_path) == []


def test_set_mtime_sets_the_modification_time(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    disk.set_mtime(str(tmp_path / "f"), 3_000_000_000)
    assert (tmp_path / "f").stat().st_mtime_ns == 3_000_000_000


@pytest.mark.skipif(os.name == "nt", reason="owners")
def test_what_root_gives_away_is_not_what_a_link_leads_to(tmp_path: Path) -> None:
    """The owner of a directory can put a link in the place of what root made there, at any moment."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").touch()
    home = tmp_path / "home"
    (home / "tree").mkdir(parents=True)
    (home / "tree" / "file").touch()
    (home / "tree" / "link").symlink_to(secret / "key")
    (home / "tree" / "directory").symlink_to(secret)
    (home / "elsewhere").symlink_to(secret)
    os.link(secret / "key", home / "tree" / "name of a cache's file")
    os.chown(home, 12345, 12345)
    disk = Disk("fast")
    disk.adopt_tree(str(home / "tree"), str(home))
    with contextlib.suppress(OSError):
        disk.adopt_tree(str(home / "elsewhere"), str(home))
    assert {(home / "tree").stat().st_uid, (home / "tree" / "file").stat().st_uid} == {12345}
    assert {secret.stat().st_uid, (secret / "key").stat().st_uid} == {0}


@pytest.mark.skipif(os.name == "nt", reason="groups")
def test_what_has_the_right_mode_already_is_left_alone(tmp_path: Path) -> None:
    """A later time of change would have all of it synced again."""
    tmp_path.chmod(0o2775)
    disk = Disk("fast")
    disk.make_directory(str(tmp_path / "a"))
    disk.write(str(tmp_path / "a" / "b"), b"")
    before = [os.stat(tmp_path / name).st_ctime_ns for name in ("a", "a/b")]
    disk.adopt_tree(str(tmp_path / "a"), str(tmp_path))
    assert [os.stat(tmp_path / name).st_ctime_ns for name in ("a", "a/b")] == before
