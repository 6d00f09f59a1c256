"""Locks between real processes: exclusion, order, time-outs, deaths, replaced files, refusals, and uv."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from holding import held_elsewhere, release
from index_server import wheel
from interlock import locks
from interlock.access import reading
from interlock.create import create_environment
from interlock.durable import Disk
from interlock.environment import python_path, record_identity
from interlock.errors import LockOrderError, LockTimeout, LockUnavailable, UsageError
from interlock.inventory import inventory
from interlock.lock_state import state
from interlock.locks import Rank, environment_lock_path, hold, uv_lock_path
from worker_runtime import wait_for

if TYPE_CHECKING:
    from conftest import RequireTool

if sys.platform != "win32":
    import fcntl

POSIX = pytest.mark.skipif(os.name == "nt", reason="flock(2)")


def is_free(path: Path, *, shared: bool = False) -> bool:
    """Tell whether another process could have the lock now."""
    code = """
import sys
from interlock.errors import LockTimeout
from interlock.locks import Rank, hold
try:
    with hold(sys.argv[1], Rank.ENVIRONMENT, what="x", shared=sys.argv[2] == "True", timeout=0):
        print("free")
except LockTimeout:
    print("taken")
"""
    command = [sys.executable, "-c", code, str(path), str(shared)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout == "free\n"


def test_a_time_out_names_the_holder_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path) as process, pytest.raises(LockTimeout) as caught:
        with hold(str(path), Rank.ENVIRONMENT, what="environment /e", timeout=0.05):
            pytest.fail("had a lock that is held")
    who = rf"process {process.pid} \(interlock .*\), since \d\d:\d\d:\d\d"
    assert re.match(rf"environment /e was locked for 0.05 s by {who}\n  lock file: ", caught.value.message)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 30
    assert "--lock-timeout" in caught.value.advice


def test_it_is_had_once_the_holder_is_done(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    told: list[bool] = []

    def end(process: subprocess.Popen[str]) -> None:
        told.append(True)
        release(process)

    with held_elsewhere(path) as process:
        later = threading.Timer(0.2, end, [process])
        later.start()
        with hold(str(path), Rank.ENVIRONMENT, what="x"):
            assert told
            assert not is_free(path)
        later.join()
    assert is_free(path)


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path) as process:
        process.kill()
        process.wait()
        with hold(str(path), Rank.ENVIRONMENT, what="x", timeout=120):
            assert state(str(path)) == "exclusive"


@POSIX
def test_readers_share_and_writers_do_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path, mode="shared"):
        assert is_free(path, shared=True)
        assert not is_free(path)
        with pytest.raises(LockTimeout, match="was locked for 0 s by"):
            with hold(str(path), Rank.ENVIRONMENT, what="x", timeout=0):
                pass
    with held_elsewhere(path):
        assert not is_free(path, shared=True)


def test_the_lock_file_stays_and_its_note_goes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(str(path), Rank.ENVIRONMENT, what="x"):
        assert path.stat().st_size > 0
        inode = path.stat().st_ino
    assert (path.stat().st_size, path.stat().st_ino) == (0, inode)


def test_the_state_of_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert state(str(path)) == "free"
    assert not path.exists()
    with held_elsewhere(path):
        assert state(str(path)) == "exclusive"
    with held_elsewhere(path, mode="shared"):
        assert state(str(path)) == "shared"
    assert state(str(path)) == "free"


@POSIX
def test_a_wait_is_in_the_kernel_and_asks_no_more_than_twice(tmp_path: Path, require_tool: RequireTool) -> None:
    """A try, then one blocking flock(2): no polling, however long it takes."""
    strace = require_tool("strace", platforms=("linux",))
    path, log = tmp_path / "lock", tmp_path / "log"
    code = "import sys; from interlock.locks import *\nwith hold(sys.argv[1], Rank.ENVIRONMENT, what='x'): pass"
    with held_elsewhere(path) as process:
        command = [strace, "-f", "-o", str(log), "-e", "trace=flock", sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as waiter:
            assert waiter.stderr is not None
            assert "waiting for x" in waiter.stderr.readline()
            release(process)
            assert waiter.wait() == 0
    kinds = re.findall(r"flock\(\d+, ([A-Z_|]+)", log.read_text(encoding="utf-8"))
    assert kinds == ["LOCK_EX|LOCK_NB", "LOCK_EX", "LOCK_UN"]


# Forks


@POSIX
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("leaves", ["the block", "at once"])
def test_a_forked_child_neither_keeps_nor_ends_a_lock(tmp_path: Path, leaves: str) -> None:
    path = tmp_path / "lock"
    with hold(str(path), Rank.ENVIRONMENT, what="x"):
        stack = contextlib.ExitStack()
        stack.enter_context(hold(str(tmp_path / "uv"), Rank.UV, what="y"))
        if (child := os.fork()) == 0:
            code = 1
            with contextlib.suppress(BaseException):
                if leaves == "the block":
                    stack.close()  # as when an exception leaves the `with` block in the child
                with hold(str(tmp_path / "tree"), Rank.SOURCE_TREE, what="z"):  # no lock is in the way of the order
                    code = 0
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert not is_free(path)
        assert not is_free(tmp_path / "uv")
        assert path.stat().st_size > 0, "the note is gone"
        stack.close()
    assert is_free(path)


@POSIX
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_child_that_is_forked_during_a_wait_keeps_nothing_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    reads, writes = os.pipe()
    had = threading.Event()

    def wait() -> None:
        with hold(str(path), Rank.ENVIRONMENT, what="x"):
            had.set()

    with held_elsewhere(path) as process:
        waiter = threading.Thread(target=wait)
        waiter.start()
        wait_for(lambda: waits(path))
        assert process.stdin is not None
        if (child := os.fork()) == 0:
            os.close(writes)
            os.close(process.stdin.fileno())
            os.read(reads, 1)
            os._exit(0)
        release(process)
        had.wait()
        waiter.join()
    assert is_free(path)
    os.close(writes)
    os.waitpid(child, 0)
    os.close(reads)


@POSIX
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_that_lives_on_keeps_nothing_locked(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    with hold(str(tmp_path / "lock"), Rank.ENVIRONMENT, what="x"):
        if (child := os.fork()) == 0:
            os.close(writes)
            os.read(reads, 1)
            os._exit(0)
    assert is_free(tmp_path / "lock")
    os.close(writes)
    os.waitpid(child, 0)
    os.close(reads)


# The gate


@POSIX
def test_who_waits_at_the_gate_comes_before_those_who_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer waits for a reader: without a gate, the kernel would let in any number of readers before it."""
    monkeypatch.setattr(locks, "GATE_PATIENCE", 500.0)  # this test may be slow
    path, gate = str(tmp_path / "lock"), str(tmp_path / "gate")
    order: list[str] = []
    threads = []
    with held_elsewhere(tmp_path / "lock", mode="shared") as reader:
        for name, shared in (("writer", False), ("late reader", True)):
            thread = threading.Thread(target=come, args=(path, gate, shared, name, order))
            thread.start()
            threads.append(thread)
            if name == "writer":
                wait_for(lambda: state(gate) == "exclusive")
        # The late reader could have the lock itself now; it is behind the writer.
        assert is_free(tmp_path / "lock", shared=True)
        threads[1].join(0.3)
        assert order == []
        release(reader)
        for thread in threads:
            thread.join()
    assert order == ["writer", "late reader"]
    assert state(gate) == state(path) == "free"


def come(path: str, gate: str, shared: bool, name: str, order: list[str]) -> None:
    with hold(path, Rank.ENVIRONMENT, what="x", shared=shared, gate=gate):
        order.append(name)


def waits(path: Path) -> bool:
    """Tell whether a thread of this process waits for a lock, or will before it looks at anything else."""
    return any(thread.name == f"lock {path}" for thread in threading.enumerate())


@pytest.fixture
def announces_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each wait be a long one, even one that is over before this process has come to wait."""
    monkeypatch.setattr(locks, "WAIT_ANNOUNCED_AFTER", -1.0)


@POSIX
def test_a_gate_that_cannot_be_had_is_done_without(tmp_path: Path) -> None:
    with hold(str(tmp_path / "lock"), Rank.ENVIRONMENT, what="x", gate=str(tmp_path / "missing" / "gate")):
        assert not is_free(tmp_path / "lock")
    assert not (tmp_path / "missing").exists()


@POSIX
@pytest.mark.usefixtures("announces_at_once")
@pytest.mark.parametrize("limit", [None, 30.0])
def test_a_stopped_process_at_the_gate_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "GATE_PATIENCE", 0.2)
    path, gate = tmp_path / "lock", tmp_path / "gate"
    with held_elsewhere(gate) as stopped:
        with hold(str(path), Rank.ENVIRONMENT, what="x", timeout=limit, gate=str(gate)):
            assert not is_free(path)
    assert f"process {stopped.pid} " in (said := capsys.readouterr().err)
    assert said.rstrip().endswith("whose turn it is")


@POSIX
def test_a_gate_that_is_not_had_at_once_is_no_time_out(tmp_path: Path) -> None:
    path, gate = tmp_path / "lock", tmp_path / "gate"
    with held_elsewhere(gate), hold(str(path), Rank.ENVIRONMENT, what="x", shared=True, timeout=0, gate=str(gate)):
        assert state(str(path)) == "shared"


@POSIX
def test_who_runs_below_a_reader_does_not_wait_behind_who_waits_for_that_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `interlock list` in `interlock run --locked`, while a writer waits: each would wait for the other."""
    monkeypatch.setattr(locks, "GATE_PATIENCE", 500.0)
    path, gate = tmp_path / "lock", tmp_path / "gate"
    with held_elsewhere(path, mode="shared"), held_elsewhere(gate):
        monkeypatch.setenv(locks.HELD_ABOVE, f"/other.lock{os.pathsep}{path}")
        with hold(str(path), Rank.ENVIRONMENT, what="x", shared=True, gate=str(gate)):
            pass


@POSIX
def test_a_lock_file_is_not_opened_through_a_link(tmp_path: Path) -> None:
    """In a directory of somebody else's, a link would lead root to any file."""
    (tmp_path / "victim").write_bytes(b"important")
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    for shared in (True, False):
        with pytest.raises(LockUnavailable), hold(str(tmp_path / "lock"), Rank.UV, what="x", shared=shared):
            pass
    assert (tmp_path / "victim").read_bytes() == b"important"


@POSIX
def test_a_note_is_in_the_file_that_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(str(path), Rank.ENVIRONMENT, what="x"):
        path.rename(tmp_path / "moved")
        path.write_bytes(b"another file")
    assert path.read_bytes() == b"another file"
    assert (tmp_path / "moved").read_bytes() == b""


@POSIX
@pytest.mark.usefixtures("announces_at_once")
def test_a_time_out_at_the_gate_names_who_holds_the_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, gate = tmp_path / "lock", tmp_path / "gate"
    with held_elsewhere(path) as process, held_elsewhere(gate):
        with pytest.raises(LockTimeout, match=f"x was locked for 0.1 s by process {process.pid} "):
            with hold(str(path), Rank.ENVIRONMENT, what="x", timeout=0.1, gate=str(gate)):
                pass
    assert capsys.readouterr().err.count("waiting for x") == 1
    wait_for(lambda: is_free(path))  # the wait goes on in the kernel for a moment


# Order


@pytest.mark.parametrize("outer", list(Rank))
@pytest.mark.parametrize("inner", list(Rank))
def test_locks_are_taken_in_one_order_only(tmp_path: Path, outer: Rank, inner: Rank) -> None:
    with hold(str(tmp_path / "a"), outer, what="a"):
        if inner > outer:
            with hold(str(tmp_path / "b"), inner, what="b"):
                return
        with pytest.raises(LockOrderError, match=f"{inner.name.lower()}.* was asked for while .*{outer.name.lower()}"):
            with hold(str(tmp_path / "b"), inner, what="b"):
                pytest.fail("took them in the wrong order")


def test_a_lock_that_was_given_back_orders_nothing(tmp_path: Path) -> None:
    for rank in reversed(Rank):
        with hold(str(tmp_path / "a"), rank, what="a"):
            pass
    with pytest.raises(ZeroDivisionError), hold(str(tmp_path / "a"), Rank.UV, what="a"):
        raise ZeroDivisionError
    with hold(str(tmp_path / "a"), Rank.SOURCE_TREE, what="a"):
        pass


def test_each_thread_has_an_order_of_its_own(tmp_path: Path) -> None:
    failures: list[Exception] = []

    def other() -> None:
        try:
            with hold(str(tmp_path / "b"), Rank.SOURCE_TREE, what="b"):
                pass
        except LockOrderError as error:
            failures.append(error)

    with hold(str(tmp_path / "a"), Rank.UV, what="a"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert failures == []


# Waiting


def test_the_variable_sets_the_time_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_LOCK_TIMEOUT", "0.03")
    with held_elsewhere(tmp_path / "lock"), pytest.raises(LockTimeout, match=r"for 0\.03 s"):
        with hold(str(tmp_path / "lock"), Rank.ENVIRONMENT, what="x"):
            pass


def test_a_variable_that_is_no_number_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_LOCK_TIMEOUT", "soon")
    with (
        pytest.raises(UsageError, match="INTERLOCK_LOCK_TIMEOUT is 'soon'"),
        hold(str(tmp_path / "l"), Rank.UV, what="x"),
    ):
        pass


def test_a_short_wait_is_not_announced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held_elsewhere(tmp_path / "lock"), pytest.raises(LockTimeout):
        with hold(str(tmp_path / "lock"), Rank.ENVIRONMENT, what="environment /e", timeout=0.05):
            pass
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("announces_at_once")
def test_a_long_wait_is_announced_once_with_the_holder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held_elsewhere(tmp_path / "lock") as process, pytest.raises(LockTimeout):
        with hold(str(tmp_path / "lock"), Rank.ENVIRONMENT, what="environment /e", timeout=0.3):
            pass
    said = capsys.readouterr().err
    assert said.startswith(f"interlock: waiting for environment /e: held by process {process.pid} (interlock ")
    assert said.count("\n") == 1


def test_who_timed_out_does_not_get_the_lock_later(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path):
        with pytest.raises(LockTimeout), hold(str(path), Rank.ENVIRONMENT, what="x", timeout=0.05):
            pass
    # The wait goes on in the kernel for a moment: what it gets, it gives back at once.
    with hold(str(path), Rank.ENVIRONMENT, what="x", timeout=120):
        pass
    with held_elsewhere(path):
        pass


@POSIX
def test_a_lock_that_comes_in_the_moment_of_the_time_out_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path) as process:

        def too_late(wait: object) -> LockTimeout:
            release(process)
            for thread in threading.enumerate():
                if thread.name == f"lock {path}":
                    thread.join()
            return LockTimeout("too late")

        monkeypatch.setattr(locks, "_timed_out", too_late)
        with pytest.raises(LockTimeout), hold(str(path), Rank.ENVIRONMENT, what="x", timeout=0.05):
            pytest.fail("had a lock that is held")
    assert is_free(path)


@POSIX
def test_a_wait_can_be_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys; from interlock.locks import *\nwith hold(sys.argv[1], Rank.ENVIRONMENT, what='x'): print('had it')"
    )
    with held_elsewhere(path) as process:
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stderr=subprocess.PIPE, text=True) as waiter:
            assert waiter.stderr is not None
            assert "waiting for x" in waiter.stderr.readline()
            waiter.send_signal(signal.SIGINT)
            assert "KeyboardInterrupt" in waiter.stderr.read()
        assert process.poll() is None
    assert is_free(path)


@POSIX
def test_an_interrupt_while_the_lock_is_given_back_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int | str) -> None:
        raise KeyboardInterrupt

    lock = str(tmp_path / "x.lock")
    with monkeypatch.context() as patch:
        patch.setattr(locks, "clear_note", interrupted)
        with pytest.raises(KeyboardInterrupt), hold(lock, Rank.ENVIRONMENT, what="it"):
            pass
    with hold(lock, Rank.ENVIRONMENT, what="it", timeout=0):
        assert locks.inherited()


@POSIX
def test_a_lock_file_that_was_replaced_during_the_wait_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path) as process:
        had = threading.Event()
        done = threading.Event()

        def wait() -> None:
            with hold(str(path), Rank.ENVIRONMENT, what="x"):
                had.set()
                done.wait()

        waiter = threading.Thread(target=wait)
        waiter.start()
        wait_for(lambda: waits(path))
        path.unlink()
        path.write_bytes(b"")
        release(process)
        had.wait()
        try:
            # Whoever comes now opens the new file: it must be the one that is locked.
            assert not is_free(path)
        finally:
            done.set()
            waiter.join()
    assert is_free(path)


# Refusals


@POSIX
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("shared", [False, True])
def test_a_file_system_without_locks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, shared: bool
) -> None:
    import fcntl

    def flock(descriptor: int | IO[bytes], operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LockUnavailable) as caught:
        with hold(str(tmp_path / "lock"), Rank.ENVIRONMENT, what="environment /e", shared=shared):
            pytest.fail("went on unlocked")
    assert caught.value.message == f"cannot lock environment /e: {tmp_path / 'lock'}: {os.strerror(number)}"
    assert caught.value.exit_code == 31
    assert "nothing is ever changed without the lock" in caught.value.advice
    if sys.platform == "linux":
        assert str(tmp_path / "lock") not in open_files()


def open_files() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing, or of another thread
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


@POSIX
def test_a_file_system_that_loses_its_locks_during_the_wait_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def flock(descriptor: int | IO[bytes], operation: int) -> None:
        raise BlockingIOError if operation & fcntl.LOCK_NB else OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(LockUnavailable, match="No locks available"):
        with hold(str(tmp_path / "lock"), Rank.ENVIRONMENT, what="x"):
            pytest.fail("went on unlocked")


@POSIX
@pytest.mark.parametrize("shared", [False, True])
def test_a_directory_without_permission_is_refused(shared: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o555)
        with unprivileged(), pytest.raises(LockUnavailable, match="Permission denied"):
            with hold(os.path.join(directory, "lock"), Rank.ENVIRONMENT, what="x", shared=shared):
                pytest.fail("went on unlocked")
        assert os.listdir(directory) == []


@pytest.fixture
def not_mine() -> Iterator[Path]:
    """Return an environment that the user in `unprivileged` can read and not write."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(os.path.realpath(directory), "env")
        create_environment(str(path), python=sys.executable, disk=Disk("fast"))
        # The interpreter may be where only root gets; its copy is not.
        python = Path(python_path(str(path)))
        interpreter = python.resolve()
        python.unlink()
        shutil.copy2(interpreter, python)
        record_identity(str(path), new=False, disk=Disk("fast"))
        modes = {path: 0o555, path.parent: 0o555, Path(environment_lock_path(str(path))): 0o444}
        modes[Path(uv_lock_path(str(path)))] = 0o444
        if os.geteuid() == 0:
            modes = {path.parent: 0o755}  # as they were made: readable for all where the umask is the usual one
        for each, mode in modes.items():
            each.chmod(mode)
        try:
            yield path
        finally:
            for each in modes:
                each.chmod(0o755)


@POSIX
def test_readers_of_what_they_may_not_write_have_the_lock_all_the_same(not_mine: Path) -> None:
    lock = Path(environment_lock_path(str(not_mine)))
    with contextlib.ExitStack() as stack:
        with unprivileged():
            assert inventory(str(not_mine), timeout=0) == []
            stack.enter_context(reading(str(not_mine), timeout=0))
        descriptor = os.open(lock, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    if os.geteuid() == 0:
        with held_elsewhere(lock), unprivileged(), pytest.raises(LockTimeout):
            inventory(str(not_mine), timeout=0)


@POSIX
def test_writers_need_to_write_the_lock_file(not_mine: Path) -> None:
    with unprivileged(), pytest.raises(LockUnavailable, match="Permission denied"):
        with hold(environment_lock_path(str(not_mine)), Rank.ENVIRONMENT, what="x"):
            pytest.fail("went on with a lock of readers")


@POSIX
@pytest.mark.parametrize("which", [environment_lock_path, uv_lock_path])
def test_nothing_is_read_unlocked_where_others_may_write(not_mine: Path, which: Callable[[str], str]) -> None:
    lock = Path(which(str(not_mine)))
    mode = lock.parent.stat().st_mode
    lock.parent.chmod(0o755)
    lock.unlink()
    lock.parent.chmod(mode)
    with unprivileged(), pytest.raises(LockUnavailable, match="Permission denied") as caught:
        inventory(str(not_mine))
    assert "let somebody who may write there run the same command once" in caught.value.advice
    assert not lock.exists()


def test_a_directory_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LockUnavailable, match="No such file or directory"):
        with hold(str(tmp_path / "none" / "lock"), Rank.ENVIRONMENT, what="x"):
            pytest.fail("went on unlocked")


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a while, if this is root, for whom permissions do not count."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


# Places


def test_the_environments_lock_lies_beside_it_and_is_one_for_all_its_names(tmp_path: Path) -> None:
    assert environment_lock_path(str(tmp_path / ".venv")) == str(tmp_path / ".venv.interlock.lock")
    assert environment_lock_path(str(tmp_path / "venv")) == str(tmp_path / "venv.interlock.lock")
    assert environment_lock_path(str(tmp_path / "env")) == str(tmp_path / "env.interlock.lock")
    if os.name != "nt":
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        assert environment_lock_path(str(tmp_path / "link")) == str(tmp_path / "real.interlock.lock")
        assert environment_lock_path(str(tmp_path / "link" / "e")) == str(tmp_path / "real" / "e.interlock.lock")


# uv


@pytest.fixture
def uv() -> str:
    import uv

    return os.fspath(uv.find_uv_bin())


def test_uv_waits_for_us(tmp_path: Path, uv: str) -> None:
    environment, _ = create_environment(str(tmp_path / "e"), python=None, disk=Disk("fast"))
    (tmp_path / "thing-1.0-py3-none-any.whl").write_bytes(wheel("thing", "1.0", ()))
    command = [uv, "-v", "pip", "install", "--offline", "--no-index", "--python", environment.python]
    command.append(str(tmp_path / "thing-1.0-py3-none-any.whl"))
    module = Path(environment.site_packages[0], "thing.py")
    with hold(uv_lock_path(environment.path), Rank.UV, what="x"):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
        assert process.stderr is not None
        for line in process.stderr:
            if "Waiting to acquire" in line:
                break
        else:
            pytest.fail("uv did not wait")
        assert not module.exists()
    process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert module.exists()


def test_we_wait_for_uv(tmp_path: Path, uv: str) -> None:
    environment, _ = create_environment(str(tmp_path / "e"), python=None, disk=Disk("fast"))
    # uv holds its lock while it builds: a backend that tells us, and waits to be told.
    project = tmp_path / "slow"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8"
    )
    (project / "backend.py").write_text(
        "import os, shutil\n"
        "def build_wheel(directory, *arguments):\n"
        f"    open({str(tmp_path / 'started')!r}, 'w').close()\n"
        f"    open({str(tmp_path / 'go')!r}).read()\n"
        f"    shutil.copy({str(tmp_path / 'slow-1.0-py3-none-any.whl')!r}, directory)\n"
        "    return 'slow-1.0-py3-none-any.whl'\n",
        encoding="utf-8",
    )
    (tmp_path / "slow-1.0-py3-none-any.whl").write_bytes(wheel("slow", "1.0", ()))
    if os.name == "nt":
        pytest.skip("the backend is held up by a named pipe")
    os.mkfifo(tmp_path / "go")
    os.mkfifo(tmp_path / "started")
    command = [uv, "pip", "install", "--offline", "--no-cache", "--python", environment.python, str(project)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    (tmp_path / "started").read_bytes()  # returns when the backend has opened it
    # uv leaves no note; where the kernel lists who holds a lock, it is named all the same.
    named = rf"process {process.pid} \(.*uv pip install" if sys.platform == "linux" else "left no note"
    try:
        with pytest.raises(LockTimeout, match=named):
            with hold(uv_lock_path(environment.path), Rank.UV, what="x", timeout=0.05):
                pytest.fail("had uv's lock while uv worked")
    finally:
        (tmp_path / "go").write_bytes(b"")
    _, said = process.communicate()
    assert process.returncode == 0, said
    with hold(uv_lock_path(environment.path), Rank.UV, what="x", timeout=120):
        assert Path(environment.site_packages[0], "slow.py").exists()
