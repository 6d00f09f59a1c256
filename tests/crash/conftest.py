"""Fixtures of the tests that crash environments."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # behind tests: `conftest` is the one that is there
from crash_worlds import World

from interlock import environment as environments


@pytest.fixture
def fast_directory(tmp_path: Path) -> Iterator[Path]:
    """Return a directory in memory where there is one: thousands of trees are made in it."""
    if not os.access("/dev/shm", os.W_OK):
        (tmp_path / "fast").mkdir()
        yield tmp_path / "fast"
        return
    directory = tempfile.mkdtemp(prefix="interlock-crash-", dir="/dev/shm")
    yield Path(directory)
    shutil.rmtree(directory)


@pytest.fixture
def world(tmp_path: Path, fast_directory: Path) -> World:
    """Return a fresh environment that interlock has seen before."""
    made = World(tmp_path, str(fast_directory / "env"))
    made.make()
    return made


@pytest.fixture
def unknown_world(tmp_path: Path, fast_directory: Path) -> World:
    """Return a fresh environment that interlock has never seen."""
    made = World(tmp_path, str(fast_directory / "env"), seen=False)
    made.make()
    return made


@pytest.fixture
def remembered_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask an interpreter once what it is: thousands of recoveries would ask it again."""
    monkeypatch.setattr(environments, "query", functools.cache(environments.query))
