"""Environments, source trees and caches on file systems without working locks: every command refuses, and nothing changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project

from interlock_runner import succeed

if TYPE_CHECKING:
    from conftest import RequireTool

INTERLOCK = [sys.executable, "-P", "-m", "interlock"]
UNAVAILABLE = 31
# What a command locks: "venv" is the environment's lock, "tree" the project's, "cache" a build environment's.
COMMANDS = {
    "venv": "venv fresh",
    "venv (replaced)": "venv broken",
    "install": "install --venv env prepared",
    "uninstall": "uninstall --venv env fixture-one",
    "requirements": "requirements --venv env -r requirements.txt",
    "list": "list --venv env",
    "check": "check --venv env",
    "run": "run --venv env -- python -c pass",
    "run --locked": "run --venv env --locked -- python -c pass",
    "prepare": "prepare --venv env --output out/two two",
    "build-env": "build-env --venv env -r fixture-backend",
}
# Each errno with each command would take a minute and show no more: all pass through the same few lines of `locks`.
REFUSALS = [(name, "flock:error=ENOLCK") for name in COMMANDS]
REFUSALS += [
    ("install", "flock:error=ENOSYS"),
    ("list", "flock:error=EOPNOTSUPP"),
    ("prepare", "flock:error=EOPNOTSUPP"),
]
LOCK_FILES = {"install": "env.interlock.lock", "venv": "fresh.interlock.lock", "requirements": "env.interlock.lock"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with an environment, a distribution in it, another that is prepared, and a project."""
    top = tmp_path_factory.mktemp("refused")
    for name in ("one", "two"):
        make_project(top / name, f"fixture-{name}")
    (top / "broken").mkdir()
    (top / "broken" / "pyvenv.cfg").write_text("home = /nowhere\n", encoding="utf-8")
    (top / "requirements.txt").write_text("fixture-third\n", encoding="utf-8")
    cache = {"INTERLOCK_CACHE_DIR": str(top / "cache")}
    succeed("venv", "env", cwd=top, **cache)
    succeed("prepare", "--venv", "env", "--output", "out/one", "one", cwd=top, **cache)
    succeed("install", "--venv", "env", "out/one", cwd=top, **cache)
    succeed("prepare", "--venv", "env", "--output", "prepared", "two", cwd=top, **cache)
    return top


def contents(top: Path) -> dict[str, tuple[int, bytes | str]]:
    """Return what is below a directory: modes and contents, but of lock files, which are made before they are locked."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for directory, directories, files in os.walk(top):
        for name in [*directories, *files]:
            path = Path(directory, name)
            mode = path.lstat().st_mode
            if path.is_symlink():
                found[str(path)] = mode, os.readlink(path)
            elif not name.endswith(".lock") and "__pycache__" not in path.parts:
                found[str(path)] = mode, path.read_bytes() if path.is_file() else b""
    return found


def refused(strace: str, place: Path, name: str, *inject: str) -> str:
    """Run a command under strace, insist that it is refused and nothing changed, and return what it said."""
    before = contents(place)
    words = [strace, "-f", "-qq", "-o", os.devnull, *inject, *INTERLOCK, *COMMANDS[name].split()]
    environ = {**os.environ, "INTERLOCK_CACHE_DIR": str(place / "cache")}
    done = subprocess.run(words, cwd=place, env=environ, capture_output=True, text=True)
    assert done.returncode == UNAVAILABLE, done.stderr
    assert (done.stdout, "Traceback" in done.stderr) == ("", False)
    assert contents(place) == before
    return done.stderr


@pytest.mark.parametrize(("name", "injected"), REFUSALS, ids=[" ".join(each) for each in REFUSALS])
def test_without_locks_everything_is_refused(require_tool: RequireTool, place: Path, name: str, injected: str) -> None:
    strace = require_tool("strace", platforms=("linux",))
    said = refused(strace, place, name, "-e", "trace=flock", "-e", f"inject={injected}")
    assert "cannot lock" in said
    assert "`interlock doctor" in said


@pytest.mark.parametrize("name", LOCK_FILES)
def test_where_the_lock_file_cannot_be_made_everything_is_refused(
    require_tool: RequireTool, place: Path, name: str
) -> None:
    strace, lock = require_tool("strace", platforms=("linux",)), str(place / LOCK_FILES[name])
    said = refused(strace, place, name, "-P", lock, "-e", "trace=openat", "-e", "inject=openat:error=EROFS")
    assert f"{lock}: Read-only file system" in said
    assert "`interlock doctor" in said


def test_a_reader_who_can_neither_make_nor_read_the_lock_file_is_refused(
    require_tool: RequireTool, place: Path
) -> None:
    """He could not keep anybody from changing what he reads; somebody who may write there has to make the file."""
    strace, lock = require_tool("strace", platforms=("linux",)), str(place / "env.interlock.lock")
    said = refused(strace, place, "list", "-P", lock, "-e", "trace=openat", "-e", "inject=openat:error=EROFS")
    assert "let somebody who may write there run the same command once" in said
