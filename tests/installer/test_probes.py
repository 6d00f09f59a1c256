"""The doctor's look at a file system: at good ones, at real bad ones, and at what only a seam can show here."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock import lock_probes, platforms
from interlock.durable import Disk
from interlock.errors import DiskError
from interlock.findings import Finding
from interlock.mounts import Mount
from interlock.probes import ownership, probe_directory, space, umask

ROOT = os.name == "posix" and os.geteuid() == 0
posix = pytest.mark.skipif(os.name != "posix", reason="modes and mounts of POSIX")
MIB = 1 << 20


def examined(path: Path, disk: Disk | None = None) -> dict[str, Finding]:
    findings = probe_directory(str(path), disk=disk, mount=lambda _: Mount("/", "ext4"))
    assert len({finding.topic for finding in findings}) == len(findings)
    for finding in findings:
        assert finding.verdict != "problem" or finding.advice, finding
    return {finding.topic: finding for finding in findings}


def contents(top: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return all that is below a directory: mode, time and content."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_mtime_ns, path.read_bytes() if path.is_file() else b"")
    return found


def verdicts(path: Path, disk: Disk | None = None) -> dict[str, str]:
    return {topic: finding.verdict for topic, finding in examined(path, disk).items()}


@contextlib.contextmanager
def mounted(path: Path, options: str) -> Iterator[Path]:
    """Mount a tmpfs, for root."""
    if not ROOT or sys.platform != "linux":
        pytest.skip("needs root, and Linux")
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(path)], capture_output=True)
    if done.returncode:
        pytest.skip("this root may not mount")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)  # somebody may be looking at all that is mounted


def test_nothing_is_wrong_here_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    before = contents(tmp_path)
    found = verdicts(tmp_path)
    assert contents(tmp_path) == before
    assert [topic for topic, verdict in found.items() if verdict == "problem"] == []
    wanted = ["file system", "space", "directory", "locks", "rename", "exchange", "sync", "hard link", "symbolic link"]
    wanted += ["case of names", "longest name", "clock", "times of files"]
    assert list(found) == [*wanted, *(["programs"] if os.name == "posix" else [])]


@posix
def test_the_directory_of_the_probe_is_private_and_the_only_one(tmp_path: Path) -> None:
    class Watching(Disk):
        def clock_ns(self, directory: str) -> int:
            modes.update({name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)})
            return super().clock_ns(directory)

    modes: dict[str, int] = {}
    before = os.umask(0)
    try:
        examined(tmp_path, Watching())
    finally:
        os.umask(before)
    assert len(modes) == 1
    assert all(name.startswith(".interlock-doctor-") and mode == 0o700 for name, mode in modes.items())


def test_what_is_missing_and_what_is_a_file_are_problems(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    assert verdicts(tmp_path / "none") == {"directory": "problem"}
    assert verdicts(tmp_path / "file") == {"directory": "problem"}
    assert not (tmp_path / "none").exists()


@posix
@pytest.mark.skipif(ROOT, reason="root may write everywhere")
def test_a_directory_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert verdicts(tmp_path)["writing"] == "problem"
    finally:
        tmp_path.chmod(0o700)


def test_a_file_system_that_is_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path / "mount", "ro") as path:
        found = examined(path)
        assert found["writing"].verdict == "problem"
        assert "Read-only" in found["writing"].text
        assert "locks" not in found


def test_a_file_system_without_programs_and_without_space(tmp_path: Path) -> None:
    with mounted(tmp_path / "mount", "noexec,size=16k,mode=0755") as path:
        (path / "big").write_bytes(bytes(8192))
        found = examined(path)
        assert {topic for topic, finding in found.items() if finding.verdict == "problem"} >= {"space", "programs"}
        (path / "big").write_bytes(bytes(16384))
        assert examined(path)["rename"].verdict == "problem"
        assert os.listdir(path) == ["big"]


def test_a_file_system_without_room_for_more_files(tmp_path: Path) -> None:
    with mounted(tmp_path / "mount", "nr_inodes=20,size=100m,mode=0755") as path:
        assert "more files" in examined(path)["space"].text


@pytest.mark.parametrize(
    ("free", "verdict"), [(10 * MIB, "problem"), (100 * MIB, "note"), (1 << 40, "ok")], ids=["none", "little", "much"]
)
def test_little_space_is_noted(tmp_path: Path, free: int, verdict: str) -> None:
    assert space(str(tmp_path), lambda _: (1 << 50, 0, free)).verdict == verdict


# Locks


@posix
def test_locks_that_belong_to_processes_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems make of flock what lockf is: the same process gets a lock twice."""
    import fcntl

    monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
    assert "in one process both get it" in examined(tmp_path)["locks"].text


@posix
@pytest.mark.parametrize(("mode", "says"), [("exclusive", "another process holds it"), ("shared", "a writer gets it")])
def test_locks_that_other_processes_do_not_see_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, says: str
) -> None:
    holder = lock_probes._HOLDER
    silent = f'import sys\nif sys.argv[3] == "{mode}":\n    print("held", flush=True); sys.stdin.read()\nelse:\n'
    monkeypatch.setattr(lock_probes, "_HOLDER", silent + holder.replace("\n", "\n    "))
    assert says in examined(tmp_path)["locks"].text


@posix
def test_shared_locks_that_are_exclusive_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_probes, "_HOLDER", lock_probes._HOLDER.replace('sys.argv[3] == "shared"', "False"))
    assert "two readers cannot share it" in examined(tmp_path)["locks"].text


STAYING = """
import fcntl, os, subprocess, sys
descriptor = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX if sys.argv[3] == "exclusive" else fcntl.LOCK_SH)
if os.path.exists(sys.argv[2] + ".shared"):
    # Another process keeps the file open, and so the lock, until the test ends it.
    null = subprocess.DEVNULL
    other = subprocess.Popen(["sleep", "600"], pass_fds=[descriptor], stdin=null, stdout=null, stderr=null)
    open(@, "w").write(str(other.pid))
if sys.argv[3] == "shared":
    open(sys.argv[2] + ".shared", "w").close()
print("held", flush=True)
sys.stdin.read()
"""


@posix
def test_a_lock_that_outlives_its_holder_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    monkeypatch.setattr(lock_probes, "_HOLDER", STAYING.replace("@", repr(str(other))))
    try:
        assert "of a killed process stays" in examined(tmp_path)["locks"].text
    finally:
        os.kill(int(other.read_text(encoding="utf-8")), 9)


@posix
def test_a_holder_that_says_nothing_is_a_problem_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_probes, "_HOLDER", "import sys; sys.exit('no such luck')")
    assert "no such luck" in examined(tmp_path)["locks"].text


# Operations


def refusing(operation: str) -> Disk:
    """Return a disk that has not one of its operations."""

    def refuse(path: str, *_: object, **__: object) -> None:
        raise DiskError(f"cannot write {path}: {os.strerror(errno.EPERM)}", advice="Look.")

    disk = Disk()
    setattr(disk, operation, refuse)
    return disk


@pytest.mark.parametrize(
    ("refused", "problems"),
    [
        ("link", {"symbolic link"}),
        ("replace", {"rename"}),
        ("exchange", {"exchange"}),
        ("sync_directory", {"sync"}),
        ("clock_ns", {"clock"}),
        ("make_directory", {"writing"}),
        ("remove_tree", {"cleaning up"}),
    ],
)
@posix
def test_what_is_refused_is_a_problem_of_its_own_line(tmp_path: Path, refused: str, problems: set[str]) -> None:
    found = examined(tmp_path, refusing(refused))
    assert {topic for topic, finding in found.items() if finding.verdict == "problem"} == problems
    left = os.listdir(tmp_path)
    assert len(left) == (1 if refused == "remove_tree" else 0)
    assert all(".interlock-doctor-" not in found[topic].text for topic in problems - {"writing", "cleaning up"})


class Careless(Disk):
    """A file system that says yes and does something else."""

    def exchange(self, one: str, other: str) -> bool:
        return True

    def replace(self, source: str, destination: str) -> None:
        if os.path.isfile(source):
            with open(source, "rb") as reader:
                self.write(destination, reader.read())

    def link(self, target: str, path: str) -> None:
        self.write(path, b"")


def test_what_is_done_otherwise_than_said_is_a_problem(tmp_path: Path) -> None:
    found = verdicts(tmp_path, Careless())
    assert {topic for topic, verdict in found.items() if verdict == "problem"} == {
        "exchange",
        "rename",
        "symbolic link",
    }


@pytest.mark.parametrize("platform", [platforms.Windows(lambda _: None), platforms.Posix()])
def test_without_an_exchange_the_way_of_the_portable_is_named(
    tmp_path: Path, platform: platforms.Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platforms.Posix, "exchange", lambda self, one, other: False)
    finding = examined(tmp_path, Disk(platform=platform))["exchange"]
    assert (finding.verdict, "one by one" in finding.text) == ("note", True)


def test_a_sync_that_takes_long_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.probes.SLOW_SYNC", 0.0)
    assert examined(tmp_path)["sync"].verdict == "note"


def test_hard_links_that_are_not_there_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, destination: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", destination)

    monkeypatch.setattr(os, "link", refuse)
    finding = examined(tmp_path)["hard link"]
    assert (finding.verdict, "uv copies" in finding.text) == ("note", True)


def test_folded_case_is_noted(tmp_path: Path) -> None:
    def folded(path: str) -> bool:
        names = os.listdir(os.path.dirname(path))
        return os.path.basename(path).lower() in {name.lower() for name in names}

    found = {each.topic: each for each in probe_directory(str(tmp_path), exists=folded)}
    assert found["case of names"].verdict == "note"


@pytest.mark.parametrize(("longest", "verdict"), [(255, "ok"), (143, "note"), (99, "problem")])
def test_the_longest_name_is_found(tmp_path: Path, longest: int, verdict: str) -> None:
    class Short(Disk):
        def write(self, path: str, data: bytes, *, executable: bool = False, mtime_ns: int | None = None) -> None:
            if len(os.path.basename(path)) > longest:
                raise DiskError("File name too long")
            super().write(path, data, executable=executable, mtime_ns=mtime_ns)

    finding = examined(tmp_path, Short())["longest name"]
    assert (finding.verdict, finding.text) == (verdict, f"{longest} characters")


@pytest.mark.parametrize(
    ("skew", "verdict", "says"),
    [
        (3.0, "problem", "ahead of"),
        (-5.0, "problem", "behind"),
        (0.5, "note", "ahead of"),
        (-0.5, "note", "behind"),
        (-0.004, "ok", "this machine's time"),
    ],
)
def test_a_clock_of_its_own_is_told(
    tmp_path: Path, skew: float, verdict: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both clocks stand still: what goes by between a look at the one and at the other is no skew.
    moment = time.time_ns()
    monkeypatch.setattr("interlock.probes.time.time_ns", lambda: moment)

    class Skewed(Disk):
        def clock_ns(self, directory: str) -> int:
            super().clock_ns(directory)
            return moment + int(skew * 1_000_000_000)

    finding = examined(tmp_path, Skewed())["clock"]
    assert (finding.verdict, says in finding.text) == (verdict, True)


@pytest.mark.parametrize(
    ("step", "verdict", "says"),
    [
        (100, "ok", "1 µs"),
        (1000, "ok", "1 µs"),
        (10**9, "problem", "0.1 s"),
        (2 * 10**9, "problem", "1.1 s"),
    ],
    ids=["100 ns of NTFS", "1 µs", "1 s of HFS+", "2 s of FAT"],
)
def test_rounded_times_are_told(tmp_path: Path, step: int, verdict: str, says: str) -> None:
    class Rounding(Disk):
        def write(self, path: str, data: bytes, *, executable: bool = False, mtime_ns: int | None = None) -> None:
            rounded = None if mtime_ns is None else mtime_ns // step * step
            super().write(path, data, executable=executable, mtime_ns=rounded)

    finding = examined(tmp_path, Rounding())["times of files"]
    assert (finding.verdict, says in finding.text) == (verdict, True), finding


def test_on_windows_links_are_a_privilege_and_programs_have_no_mode(tmp_path: Path) -> None:
    found = {each.topic: each for each in probe_directory(str(tmp_path), disk=refusing("link"), platform="win32")}
    assert found["symbolic link"].verdict == "note"
    assert found["directory"].text == "there"
    assert "programs" not in found
    assert umask("win32").verdict == "ok"


# Permissions


def status(mode: int, owner: int) -> os.stat_result:
    return os.stat_result((stat.S_IFDIR | mode, 1, 1, 2, owner, 0, 4096, 0, 0, 0))


@posix
@pytest.mark.parametrize(
    ("mode", "owner", "verdict"),
    [
        (0o755, 1000, "ok"),
        (0o2775, 1000, "ok"),
        (0o755, 0, "ok"),
        (0o755, 1001, "note"),
        (0o1777, 0, "note"),
        (0o777, 1000, "problem"),
    ],
)
def test_who_else_can_write_is_told(mode: int, owner: int, verdict: str) -> None:
    assert ownership(status(mode, owner), 1000).verdict == verdict


@posix
def test_root_is_told_to_whom_it_will_belong() -> None:
    assert "what root makes here will be theirs" in ownership(status(0o755, 1000), 0).text
    assert "root" not in ownership(status(0o755, 1000), 1001).text


@posix
@pytest.mark.parametrize(("mask", "verdict"), [(0o000, "note"), (0o022, "ok"), (0o002, "ok"), (0o077, "ok")])
def test_the_umask_is_told_and_not_changed(mask: int, verdict: str) -> None:
    before = os.umask(mask)
    try:
        finding = umask()
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert (finding.verdict, finding.text[:3]) == (verdict, f"{mask:03o}")
