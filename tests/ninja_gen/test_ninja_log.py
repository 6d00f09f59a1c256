"""Ninja's log: read as it is, continued in its own version, never damaged."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from interlock.durable import Disk
from interlock.errors import DiskError
from interlock_ninja.command_hash import murmur, rapidhash
from interlock_ninja.ninja_log import LogEntry, NinjaLog, version_of_ninja

ENTRY = LogEntry(1, 2501, 1 << 60, 0xABC)


def log(out: Path, version: int = 7) -> NinjaLog:
    return NinjaLog(os.fspath(out), Disk("fast"), version=lambda: version)


def test_a_new_log_is_of_the_version_that_is_asked_for(tmp_path: Path) -> None:
    log(tmp_path, 6).record(b"out", ENTRY)
    assert (tmp_path / ".ninja_log").read_bytes() == b"# ninja log v6\n1\t2501\t1152921504606846976\tout\tabc\n"


@pytest.mark.parametrize(("version", "hashed"), [(5, murmur), (6, murmur), (7, rapidhash)])
def test_a_log_keeps_its_version(tmp_path: Path, version: int, hashed: object) -> None:
    (tmp_path / ".ninja_log").write_bytes(b"# ninja log v%d\n" % version)
    found = log(tmp_path)
    assert found.version == version
    assert found.hash_command is hashed
    found.record(b"out", ENTRY)
    assert (tmp_path / ".ninja_log").read_bytes().startswith(b"# ninja log v%d\n1\t" % version)


@pytest.mark.parametrize("head", [b"# ninja log v4\n", b"# ninja log v8\n", b"something else\n", b"# ninja log v"])
def test_an_unknown_version_is_started_over(tmp_path: Path, head: bytes) -> None:
    (tmp_path / ".ninja_log").write_bytes(head + b"1\t2\t3\tout\tabc\n")
    found = log(tmp_path)
    assert found.entries == {}
    found.record(b"new", ENTRY)
    assert set(log(tmp_path).entries) == {b"new"}
    assert (tmp_path / ".ninja_log").read_bytes().startswith(b"# ninja log v7\n")


def test_the_last_entry_counts_and_odd_lines_do_not(tmp_path: Path) -> None:
    (tmp_path / ".ninja_log").write_bytes(
        b"# ninja log v7\n1\t2\t3\ta b\tff\n\nrubbish\n1\t2\tx\tout\tff\n4\t5\t6\ta b\t10\n7\t8\t9\tout\t"
    )
    assert log(tmp_path).entries == {b"a b": LogEntry(4, 5, 6, 16)}


def test_a_line_without_an_end_gets_one(tmp_path: Path) -> None:
    """What a loss of power left: the entry after it would be a part of it."""
    (tmp_path / ".ninja_log").write_bytes(b"# ninja log v7\n1\t2\t3\tout\tff\n1\t2\t3\toth")
    log(tmp_path).record(b"new", ENTRY)
    assert set(log(tmp_path).entries) == {b"out", b"new"}
    assert (tmp_path / ".ninja_log").read_bytes().startswith(b"# ninja log v7\n1\t2\t3\tout\tff\n1\t2\t3\toth\n")


def test_entries_are_added_and_nothing_else_is_touched(tmp_path: Path) -> None:
    path = tmp_path / ".ninja_log"
    log(tmp_path).record(b"out", ENTRY)
    inode, found = path.stat().st_ino, log(tmp_path)
    with path.open("ab") as other:  # another process
        other.write(b"1\t2\t3\tother\tff\n")
    found.record(b"out", ENTRY)
    assert path.stat().st_ino == inode
    assert set(log(tmp_path).entries) == {b"out", b"other"}


def test_it_is_written_anew_when_most_of_it_is_old(tmp_path: Path, ninja: str) -> None:
    version = 5 if "usr/bin" in ninja else 7
    line = b"1\t2\t3\tout\tff\n"
    (tmp_path / ".ninja_log").write_bytes(b"# ninja log v%d\n" % version + line * 101 + b"1\t2\t3\tother\tff\n")
    found = log(tmp_path)
    found.record(b"out", ENTRY)
    found.record(b"new", ENTRY)
    assert len((tmp_path / ".ninja_log").read_bytes().splitlines()) == 4
    assert log(tmp_path).entries == {b"out": ENTRY, b"other": LogEntry(1, 2, 3, 255), b"new": ENTRY}
    (tmp_path / "build.ninja").write_text("rule r\n  command = :\nbuild out: r\n", encoding="utf-8")
    subprocess.run([ninja, "-C", tmp_path, "-t", "recompact"], capture_output=True, check=True)
    assert b"out" in log(tmp_path).entries


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".ninja_log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskError, match="cannot write"):
        log(tmp_path).record(b"out", ENTRY)
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda descriptor, data: len(data) - 1)
    with pytest.raises(DiskError, match="no space left"):
        log(tmp_path).record(b"out", ENTRY)


@pytest.mark.parametrize(
    ("ninja_version", "version"),
    [
        ("1.11.1", 5),
        ("1.12.1", 6),
        ("1.13.2", 7),
        ("1.13.0.git.kitware.jobserver-1", 7),
        ("2.0", 7),
        ("1.14", 7),
        ("", 7),
    ],
)
def test_versions_of_ninja(ninja_version: str, version: int) -> None:
    assert version_of_ninja(ninja_version) == version


def test_seconds() -> None:
    assert ENTRY.seconds == 2.5
    assert LogEntry(5, 2, 0, 0).seconds == 0
