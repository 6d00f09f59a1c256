"""The paths that file: URLs name."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from interlock.file_urls import local_path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///a/b%20c", "/a/b c"),
        ("file:/a/b", "/a/b"),
        ("file://localhost/a", "/a"),
        ("FILE:///a", "/a"),
        ("file:///a/%C3%A9%FF", "/a/é\udcff"),
        ("file:///a?x#egg=b", "/a"),
        ("file:core", "core"),
        *(("file://server/share/x", ""), ("file://[broken/x", "")),
        *(("https://host/a", ""), ("git+file:///a", ""), ("/a", ""), ("", "")),
    ],
)
def test_posix(url: str, path: str) -> None:
    assert local_path(url, "linux") == path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:///C:/a/b%20c", "C:\\a\\b c"),
        ("file:///c|/a", "c:\\a"),
        ("file://localhost/C:/a", "C:\\a"),
        ("file:///C:", "C:"),
        ("file://server/share/x%20y", "\\\\server\\share\\x y"),
        ("file:////server/share/x", "\\\\server\\share\\x"),
        ("file:core/sub", "core\\sub"),
    ],
)
def test_windows(url: str, path: str) -> None:
    assert local_path(url, "win32") == path


def test_it_is_the_inverse_of_what_names_a_path(tmp_path: Path) -> None:
    name = "a b%20#?;é" if os.name == "nt" or sys.platform == "darwin" else "a b%20#?;é\udcff"
    assert local_path((tmp_path / name).as_uri()) == str(tmp_path / name)
