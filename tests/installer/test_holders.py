"""Who is said to hold a lock: the holder, and never one that only held it once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holding import held_elsewhere
from interlock import holders
from interlock.holders import Holder, describe_holders
from interlock.locks import Rank, hold

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc/locks")
NOTHING = "a process that left no note (a reader, uv, or another tool)"


@pytest.fixture(params=["kernel", "note"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Know the holder from the kernel's list (Linux), or from the note alone."""
    if request.param == "note":
        monkeypatch.setattr(holders, "KERNEL_LOCKS", "/nonexistent")
    elif sys.platform != "linux":
        pytest.skip("/proc/locks is Linux")
    return str(request.param)


def test_the_holder_is_named_with_command_edge_and_time(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "lock")
    monkeypatch.setattr(sys, "argv", ["/x/__main__.py", "install", "p", "--stamp", "out/core.stamp"])
    with hold(path, Rank.ENVIRONMENT, what="x"):
        [found] = holders.holders(path)
        assert (found.pid, found.edge, found.alive) == (os.getpid(), "out/core.stamp", True)
        assert found.command == "interlock install p --stamp out/core.stamp"
        assert abs(found.since - time.time()) < 60
        said = describe_holders(path)
        assert said.startswith(f"process {os.getpid()} ({found.command}, edge out/core.stamp), since ")
    assert holders.holders(path) == []


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_holder_is_not_named(tmp_path: Path, source: str) -> None:
    with held_elsewhere(tmp_path / "lock") as process:
        process.kill()
        process.wait()
        assert (tmp_path / "lock").stat().st_size > 0, "its note is still there"
        assert describe_holders(str(tmp_path / "lock")) == NOTHING


@pytest.mark.skipif(os.name == "nt", reason="processes are not asked for their age there")
def test_a_process_that_got_the_number_of_a_killed_holder_is_not_named(tmp_path: Path, source: str) -> None:
    note = {"pid": os.getpid(), "command": "interlock install", "edge": "", "since": time.time() - 10 * 86400}
    (tmp_path / "lock").write_bytes(b"\0" + json.dumps(note).encode())
    assert describe_holders(str(tmp_path / "lock")) == NOTHING


@pytest.mark.parametrize("text", [b"", b"\0{nonsense", b'\0{"pid": []}', b"\0[1]", b"\0\xff"])
def test_a_note_that_is_none_is_no_error(tmp_path: Path, source: str, text: bytes) -> None:
    (tmp_path / "lock").write_bytes(text)
    assert describe_holders(str(tmp_path / "lock")) == NOTHING


@LINUX
def test_readers_and_those_who_wait_are_known_to_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path, mode="shared") as one, held_elsewhere(path, mode="shared") as other:
        found = holders.holders(str(path))
        assert {holder.pid for holder in found} == {one.pid, other.pid}
        assert all("holding" not in holder.command and "-c" in holder.command for holder in found)
        assert describe_holders(str(path)).endswith(", and 1 more")
        with subprocess.Popen(["flock", "-x", str(path), "true"]) as waiter:
            while not holders.waiting(str(path)):
                time.sleep(0.01)
            assert holders.waiting(str(path)) == [waiter.pid]
            waiter.send_signal(signal.SIGKILL)


@LINUX
def test_a_child_that_keeps_the_lock_of_a_dead_process_is_said_to(tmp_path: Path) -> None:
    code = (
        "import fcntl, os, subprocess, sys\n"
        "lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\nfcntl.flock(lock, fcntl.LOCK_EX)\n"
        "child = subprocess.Popen(['cat'], pass_fds=(lock,), stdin=sys.stdin, stdout=subprocess.DEVNULL)\n"
        "print('held', flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.wait()
        [found] = holders.holders(str(tmp_path / "lock"))
        assert (found.pid, found.alive) == (process.pid, False)
        assert str(found).endswith("; it has ended, and a process that it started goes on")


@pytest.mark.parametrize(
    ("holder", "text"),
    [
        (Holder(7), "process 7 (unknown)"),
        (Holder(7, "uv pip install x"), "process 7 (uv pip install x)"),
        (Holder(7, "python -c\nx\x1b[2J"), "process 7 (python -c x [2J)"),
        (Holder(7, "interlock install", "a.stamp"), "process 7 (interlock install, edge a.stamp)"),
    ],
)
def test_what_is_not_known_is_left_out(holder: Holder, text: str) -> None:
    assert str(holder) == text
