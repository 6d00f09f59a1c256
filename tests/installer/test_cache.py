"""Where the cache is."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from interlock.cache import _check_private, cache_directory
from interlock.errors import DiskError


def test_the_variable_comes_first(tmp_path: Path) -> None:
    environ = {"INTERLOCK_CACHE_DIR": str(tmp_path / "mine"), "XDG_CACHE_HOME": str(tmp_path / "xdg")}
    assert cache_directory(environ) == str(tmp_path / "mine")
    assert (tmp_path / "mine").is_dir()


def test_a_relative_variable_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cache_directory({"INTERLOCK_CACHE_DIR": "here"}) == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", "interlock"),
        ("win32", "LOCALAPPDATA", os.path.join("interlock", "Cache")),
    ],
)
def test_the_platforms_own_place(tmp_path: Path, platform: str, variable: str, expected: str) -> None:
    assert cache_directory({variable: str(tmp_path)}, platform) == str(tmp_path / expected)


@pytest.mark.skipif(os.name == "nt", reason="HOME decides")
@pytest.mark.parametrize(
    ("platform", "expected"), [("linux", ".cache/interlock"), ("darwin", "Library/Caches/interlock")]
)
def test_the_home_directory_is_the_last_resort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory({}, platform) == str(tmp_path / expected)


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_nobody_else_may_write_what_was_made_above_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cache_directory({"INTERLOCK_CACHE_DIR": str(tmp_path / "a" / "b" / "c")})
    finally:
        os.umask(before)
    for name in ("a", "a/b", "a/b/c"):
        assert oct((tmp_path / name).stat().st_mode & 0o777) == "0o700"


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_one_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c").chmod(mode)
    with pytest.raises(DiskError, match=re.escape(f"can be written by others (mode {mode & 0o777:o})")) as caught:
        cache_directory({"INTERLOCK_CACHE_DIR": str(tmp_path / "c")})
    assert "chmod go-w" in caught.value.advice


@pytest.mark.skipif(os.name == "nt", reason="POSIX owners")
@pytest.mark.parametrize("root", [False, True])
def test_one_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: bool) -> None:
    """Root's directory is another's for who is not root, and root does not run what a user put in his."""
    status = os.stat_result((0o40755, 0, 0, 0, 0 if root else 4321, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 4321 if root else 0)
    with pytest.raises(DiskError, match=f"belongs to another user \\(id {0 if root else 4321}\\)"):
        _check_private(str(tmp_path), status)
    _check_private(str(tmp_path), os.stat_result((0o40755, 0, 0, 0, os.geteuid(), 0, 0, 0, 0, 0)))


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = cache_directory({"INTERLOCK_CACHE_DIR": str(tmp_path / "c")})
    assert oct(os.stat(path).st_mode & 0o777) == "0o700"


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"")
    with pytest.raises(DiskError, match="cannot make the cache directory"):
        cache_directory({"INTERLOCK_CACHE_DIR": str(tmp_path / "c" / "d")})
