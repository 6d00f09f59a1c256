"""Durability and retries of each operating system, on whichever this is."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from interlock import platforms


class Refusing:
    """An operation that Windows refuses some times before it lets it through."""

    def __init__(self, times: int, winerror: int) -> None:
        self.left, self.winerror, self.calls = times, winerror, 0

    def __call__(self) -> None:
        self.calls += 1
        if self.left:
            self.left -= 1
            error = PermissionError(errno.EACCES, "refused")
            error.winerror = self.winerror  # type: ignore[attr-defined,unused-ignore]
            raise error


@pytest.mark.parametrize("winerror", [5, 32, 33])
def test_windows_tries_again_what_is_refused_for_an_instant(winerror: int) -> None:
    slept: list[float] = []
    operation = Refusing(3, winerror)
    platforms.Windows(slept.append).retry(operation)
    assert operation.calls == 4
    assert slept == list(platforms.RETRY_DELAYS[:3])


def test_windows_gives_up_in_the_end() -> None:
    slept: list[float] = []
    operation = Refusing(100, 32)
    with pytest.raises(PermissionError):
        platforms.Windows(slept.append).retry(operation)
    assert operation.calls == len(platforms.RETRY_DELAYS) + 1
    assert sum(slept) < 3


@pytest.mark.parametrize("platform", [platforms.Windows(lambda _: None), platforms.Posix(), platforms.Macos()])
def test_other_errors_are_raised_at_once(platform: platforms.Platform) -> None:
    operation = Refusing(1, 17)
    with pytest.raises(PermissionError):
        platform.retry(operation)
    assert operation.calls == 1


def test_macos_syncs_through_the_drives_cache(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def full_sync(descriptor: int, command: int) -> int:
        asked.append((descriptor, command))
        return 0

    with open(tmp_path / "f", "wb") as writer:
        platforms.Macos(full_sync).sync_file(writer.fileno())
        assert asked == [(writer.fileno(), platforms.F_FULLFSYNC)]


def test_macos_falls_back_where_the_file_system_knows_no_full_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    def full_sync(descriptor: int, command: int) -> int:
        raise OSError(errno.ENOTSUP, "not here")

    with open(tmp_path / "f", "wb") as writer:
        platforms.Macos(full_sync).sync_file(writer.fileno())
        assert synced == [writer.fileno()]


@pytest.mark.parametrize(("number", "tolerated"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
@pytest.mark.skipif(os.name == "nt", reason="directories cannot be opened there")
def test_a_file_system_without_directory_sync_is_tolerated(tmp_path: Path, number: int, tolerated: bool) -> None:
    class Network(platforms.Posix):
        def sync_file(self, descriptor: int) -> None:
            raise OSError(number, "injected")

    if tolerated:
        Network().sync_directory(str(tmp_path))
    else:
        with pytest.raises(OSError, match="injected"):
            Network().sync_directory(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("linux", platforms.Posix),
        ("freebsd14", platforms.Posix),
        ("darwin", platforms.Macos),
        ("win32", platforms.Windows),
    ],
)
def test_each_system_has_its_platform(name: str, kind: type) -> None:
    assert type(platforms.current(name)) is kind


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such call")
def test_an_exchange_is_done_or_said_to_be_impossible(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    done = platforms.current().exchange(str(tmp_path / "one"), str(tmp_path / "other"))
    assert os.listdir(tmp_path / "one") == (["other"] if done else ["one"])
    assert done or sys.platform != "linux"


@pytest.mark.skipif(sys.platform != "linux", reason="the C library's function is asked by its Linux name")
def test_an_exchange_with_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError):
        platforms.Posix().exchange(str(tmp_path / "one"), str(tmp_path / "other"))


def test_no_exchange_where_the_c_library_has_no_such_call(tmp_path: Path) -> None:
    assert not platforms.Windows().exchange(str(tmp_path), str(tmp_path))
    if sys.platform == "linux":
        assert not platforms.Macos().exchange(str(tmp_path), str(tmp_path))
