"""Where the cache is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.cache import cache_directory
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
def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = cache_directory({"INTERLOCK_CACHE_DIR": str(tmp_path / "c")})
    assert oct(os.stat(path).st_mode & 0o777) == "0o700"


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"")
    with pytest.raises(DiskError, match="cannot make the cache directory"):
        cache_directory({"INTERLOCK_CACHE_DIR": str(tmp_path / "c" / "d")})
