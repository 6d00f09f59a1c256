"""The way that locks are taken on Windows, run here on the same files: what it shares, excludes, times out and says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from interlock import locks
from interlock.errors import LockTimeout, LockUnavailable
from interlock.lock_state import _windows_attempt
from interlock.locks import _Wait, _windows_acquire

if TYPE_CHECKING:
    from collections.abc import Callable


def acquire(path: str, what: str, limit: float | None, shared: bool) -> Callable[[], None]:
    return _windows_acquire(_Wait(path, what, limit, None), shared)


def test_readers_share_and_exclude_a_writer(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first = acquire(path, "it", 0.0, True)
    second = acquire(path, "it", 0.0, True)
    with pytest.raises(LockTimeout, match="it was locked for 0 s"):
        acquire(path, "it", 0.0, False)
    first()
    with pytest.raises(LockTimeout):
        acquire(path, "it", 0.1, False)
    second()
    acquire(path, "it", 0.0, False)()


def test_a_writer_excludes_readers_and_writers(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    release = acquire(path, "it", 0.0, False)
    for shared in (True, False):
        with pytest.raises(LockTimeout):
            acquire(path, "it", 0.1, shared)
    release()
    assert Path(path).exists()


@pytest.mark.parametrize("shared", [True, False])
def test_a_long_wait_is_announced_and_ends(
    tmp_path: Path, shared: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "lock")
    release = acquire(path, "it", None, False)
    announce = locks._announce

    def announced(wait: _Wait) -> None:
        announce(wait)
        release()

    monkeypatch.setattr(locks, "_announce", announced)
    acquire(path, "it", None, shared)()
    assert capsys.readouterr().err.count("waiting for it") == 1


@pytest.mark.parametrize("shared", [True, False])
def test_a_lock_that_cannot_be_had_is_refused(tmp_path: Path, shared: bool) -> None:
    with pytest.raises(LockUnavailable, match="cannot lock it"):
        acquire(str(tmp_path), "it", 0.0, shared)  # a directory


def test_whether_a_lock_can_be_had_is_known_without_waiting(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    release = acquire(path, "it", 0.0, True)
    assert not _windows_attempt(path, False)
    assert _windows_attempt(path, True)
    release()
    assert _windows_attempt(path, False)
