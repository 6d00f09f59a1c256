"""Who is asked: a worker of this user, in this situation, behind a door that is this user's alone; else none."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("workers are on Linux", allow_module_level=True)

import posix

from interlock.client import connect, directory, is_wanted, peer, situation
from interlock.own_worker import AT_START, own_worker
from worker_runtime import EDGE, Runtime, runtime_in_tmp

NOBODY = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture
def short() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="il-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with runtime_in_tmp() as runtime:
        yield runtime


@pytest.mark.parametrize("platform", ["darwin", "win32", "cygwin", "freebsd14", "emscripten"])
def test_elsewhere_there_are_no_workers(platform: str) -> None:
    assert not is_wanted({}, platform)
    assert is_wanted({}, "linux")


def test_a_variable_switches_workers_off(runtime: Runtime) -> None:
    assert not is_wanted({b"INTERLOCK_WORKER": b"0"}, "linux")
    assert is_wanted({b"INTERLOCK_WORKER": b"1"}, "linux")
    runtime.succeed("install", "--help", INTERLOCK_WORKER="0")
    assert runtime.workers() == []
    assert not (runtime.directory / "interlock").exists() or os.listdir(runtime.directory / "interlock") == []
    runtime.succeed("install", "--help")
    assert runtime.served() == {"interlock": 1}


# The directory


def test_it_is_made_for_this_user_alone(short: Path) -> None:
    before = os.umask(0)
    try:
        path = directory({b"XDG_RUNTIME_DIR": os.fsencode(short)})
    finally:
        os.umask(before)
    assert path == os.fsencode(short / "interlock")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
    assert directory({b"XDG_RUNTIME_DIR": os.fsencode(short) + b"/"}) == path


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o704, 0o720, 0o777, 0o1777])
def test_one_that_others_may_enter_is_not_used(mode: int, short: Path) -> None:
    own = short / f"interlock-{os.geteuid()}"
    own.mkdir()
    own.chmod(mode)
    assert directory({b"TMPDIR": os.fsencode(short)}) is None
    own.chmod(0o700)
    assert directory({b"TMPDIR": os.fsencode(short)}) == os.fsencode(own)


def test_a_link_is_not_followed(short: Path) -> None:
    (short / "elsewhere").mkdir(mode=0o700)
    (short / f"interlock-{os.geteuid()}").symlink_to(short / "elsewhere")
    assert directory({b"TMPDIR": os.fsencode(short)}) is None


def test_a_file_in_its_place_is_none(short: Path) -> None:
    (short / f"interlock-{os.geteuid()}").touch(mode=0o700)
    assert directory({b"TMPDIR": os.fsencode(short)}) is None
    assert directory({b"TMPDIR": os.fsencode(short / "missing")}) is None


@ROOT_ONLY
def test_another_user_s_directory_is_not_used(short: Path) -> None:
    runtime = short / "runtime"
    runtime.mkdir(mode=0o700)
    os.chown(runtime, NOBODY, NOBODY)
    environ = {b"XDG_RUNTIME_DIR": os.fsencode(runtime), b"TMPDIR": os.fsencode(short)}
    assert directory(environ) == os.fsencode(short / "interlock-0")  # as after su
    os.chown(short / "interlock-0", NOBODY, NOBODY)
    assert directory(environ) is None
    assert not (runtime / "interlock").exists()


def test_a_relative_path_is_not_used(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(short)
    (short / "run").mkdir(mode=0o700)
    assert directory({b"XDG_RUNTIME_DIR": b"run", b"TMPDIR": os.fsencode(short)}) == os.fsencode(
        short / f"interlock-{os.geteuid()}"
    )


@pytest.mark.parametrize("length", [66, 67, 68, 90])
def test_too_long_a_path_is_no_error(length: int, short: Path) -> None:
    """The path of a socket has 107 bytes at most; 40 of them are `/interlock/<key>.sock`."""
    place = short / ("x" * (length - len(str(short)) - 1))
    place.mkdir(mode=0o700)
    runtime = Runtime(place)
    try:
        runtime.succeed("install", "--help")
        assert runtime.served() == ({"interlock": 1} if length <= 67 else {})
    finally:
        runtime.interlock("worker", "stop")


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_an_edge_works_where_the_directory_is_not_private(mode: int, short: Path) -> None:
    own = short / f"interlock-{os.geteuid()}"
    own.mkdir()
    own.chmod(mode)
    environ = {**os.environ, "TMPDIR": str(short), "XDG_RUNTIME_DIR": "", "INTERLOCK_WORKER": "1"}
    subprocess.run([*EDGE, "install", "--help"], env=environ, check=True, stdout=subprocess.DEVNULL)
    assert os.listdir(own) == []


# Who is at the other end


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """Be another user for the kernel's questions who is at the other end of a socket."""
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@ROOT_ONLY
def test_nothing_is_sent_to_another_user_s_socket(short: Path) -> None:
    """It would get the descriptors and the variables of a build."""
    short.chmod(0o777)
    path = short / "socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        with somebody_else():
            listener.bind(str(path))
            path.chmod(0o777)
            listener.listen()
        other.connect(str(path))  # whoever wants can connect
        assert peer(other) == NOBODY  # type: ignore[arg-type]
        assert connect(os.fsencode(path)) is None


@ROOT_ONLY
def test_a_worker_serves_nobody_else(runtime: Runtime) -> None:
    """Even if somebody has opened the directory."""
    runtime.succeed("install", "--help")
    path = Path(runtime.worker("interlock")["socket"])
    for each in (runtime.directory, path.parent, path):
        each.chmod(0o777)
    request = b"00000007status\0"
    answers = []
    for who in (contextlib.nullcontext, somebody_else):
        with socket.socket(socket.AF_UNIX) as client:
            with who():
                client.connect(str(path))
            with contextlib.suppress(OSError):
                client.sendall(request)
            client.settimeout(120)
            try:
                answers.append(client.recv(4096))
            except ConnectionError:
                answers.append(b"")
    assert b'"pid"' in answers[0]
    assert answers[1] == b""
    for each in (runtime.directory, path.parent):
        each.chmod(0o700)


def test_garbage_harms_nobody(runtime: Runtime) -> None:
    runtime.succeed("install", "--help")
    path = runtime.worker("interlock")["socket"]
    for garbage in (
        b"garbage!",
        b"\xff" * 100,
        b"ffffffff",
        b"00000000",
        b"00000003run",
        b"00000001x",
        b"-0000001",
        b"0000",
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            with contextlib.suppress(OSError):
                client.sendall(garbage)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(120)
                client.recv(4096)
    with socket.socket(socket.AF_UNIX) as client:  # a job without what it is to have open
        client.connect(path)
        request = b"\0".join([b"run", b"", b"/", b"022", b"3", b"1", b"install"])
        client.sendall(b"%08x" % len(request) + request)
        client.settimeout(120)
        assert client.recv(4096).startswith(b"!")
    runtime.succeed("install", "--help")
    assert len(runtime.workers()) == 1


# What is part of the key


@pytest.mark.parametrize("mask", [0o027, 0o002])
def test_the_umask_is_read_without_a_change(mask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of all threads of a process: one that is set for an instant is that of a file that another one makes."""

    def umask(mask: int) -> int:
        pytest.fail(f"it is {mask:o} for an instant")

    before = os.umask(mask)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(posix, "umask", umask)
            found = situation()
        assert found is not None
        assert int(found[1], 8) == mask
    finally:
        os.umask(before)


def test_the_key_of_our_own_worker() -> None:
    base = {b"PATH": b"/bin", b"HOME": b"/root"}
    key = own_worker(base, "-I").key
    assert own_worker(base, "-P").key != key
    assert own_worker({**base, b"OTHER": b"x", b"TMPDIR": b"/x", b"MAKEFLAGS": b"y"}, "-I").key == key
    for name in AT_START:
        more = name + (b"" if name in base else b"X")
        assert own_worker({**base, more: b"changed"}, "-I").key != key
        assert own_worker({**base, more: b"changed"}, "-I").environ[more] == b"changed"


def test_another_interpreter_has_another_worker(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [own_worker({}, "-I").key]
    python = short / "python"
    for content in ("one", "another"):
        Path(f"{python}.new").write_text(content, encoding="utf-8")
        os.replace(f"{python}.new", python)  # as a package manager does it
        monkeypatch.setattr(sys, "executable", str(python))
        keys.append(own_worker({}, "-I").key)
    assert len(set(keys)) == 3
