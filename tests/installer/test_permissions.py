"""Who may change what a build makes: under any umask, in a directory that a group shares, and where root works for a user."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import interlock as package
import interlock_gn
import interlock_ninja

sys.path.insert(0, str(Path(__file__).parent))
import packaging
from projects import make_project

from index_server import Index, serve
from interlock_runner import VERIFIER

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes, users and groups of POSIX")
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root, to be other users")

GROUP = 23456
SOURCES = [str(Path(str(module.__file__)).parents[1]) for module in (package, interlock_ninja, interlock_gn, packaging)]


@dataclass(frozen=True)
class Person:
    """A user that no system knows by name, with a cache and a home of his own; 0 is root."""

    number: int
    home: Path
    umask: int = 0o022
    groups: tuple[int, ...] = (GROUP,)
    python: str = sys.executable
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str | Path, code: int = 0) -> str:
        """Run a program as this user, insist on its exit code, and return what it wrote."""
        who = (
            {}
            if self.number == os.geteuid()
            else {"user": self.number, "group": self.number, "extra_groups": self.groups}
        )
        environ = {
            **os.environ,
            "HOME": str(self.home),
            "INTERLOCK_CACHE_DIR": str(self.home / "cache"),
            "PYTHONPATH": os.pathsep.join(SOURCES),
            **self.environ,
        }
        done = subprocess.run(
            [*map(str, words)], cwd=self.home, env=environ, umask=self.umask, capture_output=True, text=True, **who
        )
        assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def interlock(self, *words: str | Path, code: int = 0) -> str:
        return self.run(self.python, "-P", "-m", "interlock", *words, code=code)

    def install(self, environment: Path, project: Path) -> None:
        out = self.home / "out" / project.name
        self.interlock("prepare", "--venv", environment, "--output", out, project)
        self.interlock("install", "--venv", environment, out)


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory that others can reach, which those of pytest are not."""
    path = Path(tempfile.mkdtemp(prefix="interlock-permissions-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def index() -> Iterator[Index]:
    with serve() as index:
        index.add("fixture-third", "1.0")
        yield index


@pytest.fixture
def python(place: Path) -> str:
    """Return an interpreter that another user may run."""
    # What it was copied from has to be within reach too.
    question = (
        "import os, sys, venv, interlock.cli; "
        "sys.exit(sys.version_info < (3, 11) or not os.access(sys._base_executable, os.X_OK))"
    )
    for found in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        try:
            Person(12345, place).run(str(found), "-c", question)
        except (OSError, AssertionError):
            continue
        return str(found)
    return pytest.skip("no interpreter here that other users may run")


def person(number: int, place: Path, python: str, index: Index, umask: int = 0o022) -> Person:
    home = place / f"home-{number}"
    home.mkdir(mode=0o755)
    os.chown(home, number, number)
    return Person(number, home, umask=umask, python=python, environ=index.environ)


def everything(*tops: Path) -> Iterator[tuple[str, os.stat_result]]:
    for top in tops:
        yield str(top), top.lstat()
        for directory, directories, files in os.walk(top):
            for name in [*directories, *files]:
                path = os.path.join(directory, name)
                yield path, os.lstat(path)


def verify(who: Person, environment: Path, *modules: str) -> None:
    who.run(environment / "bin" / "python", "-I", VERIFIER, *modules)


# Under any umask


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_nothing_is_writable_for_everybody(tmp_path: Path, index: Index, umask: int) -> None:
    """A whole build of a workspace: gen, venv, requirements, build-env, prepare, install, each in its own process."""
    workspace, cache = tmp_path / "workspace", tmp_path / "home" / "cache"
    workspace.mkdir()
    cache.parent.mkdir()
    (workspace / "interlock.toml").write_text(
        '[environments.default]\npath = ".venv"\nrequirements = ["r.txt"]\n', encoding="utf-8"
    )
    (workspace / "r.txt").write_text("fixture-third\n", encoding="utf-8")
    make_project(workspace / "one", "fixture-one", project='scripts = { fixture-one = "backend:NAME" }')
    before = {path for path, _ in everything(workspace)}
    who = Person(os.geteuid(), cache.parent, umask=umask, environ=index.environ)
    who.interlock("build", "--root", workspace)
    made = {path: status for path, status in everything(workspace, cache) if path not in before}
    assert {os.path.basename(path) for path in made} >= {
        *("build.ninja", ".venv", ".venv.interlock.lock", ".interlock", "fixture_third.py", "fixture-one", "cache")
    }
    modes = {path: status.st_mode for path, status in made.items() if not stat.S_ISLNK(status.st_mode)}
    assert [path for path, mode in modes.items() if mode & stat.S_IWOTH] == []
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    if umask == 0o077:
        # venv copies its activation scripts with their modes: they are behind a directory that is closed.
        open_files = [path for path, mode in modes.items() if mode & (stat.S_IRWXG | stat.S_IRWXO)]
        assert [path for path in open_files if "ctivate" not in path] == []
    if umask == 0o022:
        assert [path for path, mode in modes.items() if mode & stat.S_IWGRP] == []
        assert modes[str(workspace / ".venv")] & 0o777 == 0o755
    verify(who, workspace / ".venv", "fixture_third")


# In a directory that a group shares


@as_root
@pytest.mark.parametrize("umask", [0o022], ids=oct)
def test_a_group_shares_an_environment_where_its_directory_says_so(
    place: Path, python: str, index: Index, umask: int
) -> None:
    one, other = (person(number, place, python, index, umask) for number in (12345, 12346))
    shared = place / "shared"
    shared.mkdir()
    os.chown(shared, one.number, GROUP)
    shared.chmod(0o2775)
    environment = shared / "env"
    for name in ("one", "two"):
        project = make_project(place / name, f"fixture-{name}")
        project.chmod(0o777)  # its backend leaves bytecode there
    (place / "r.txt").write_text("fixture-third\n", encoding="utf-8")

    one.interlock("venv", environment)
    one.install(environment, place / "one")
    other.install(environment, place / "two")
    other.interlock("requirements", "--venv", environment, "-r", place / "r.txt")
    make_project(place / "one", "fixture-one", "2.0")
    other.install(environment, place / "one")
    make_project(place / "two", "fixture-two", "2.0")
    one.install(environment, place / "two")
    names = [line.split()[:2] for line in one.interlock("list", "--venv", environment).splitlines()]
    assert names == [["fixture-one", "2.0"], ["fixture-third", "1.0"], ["fixture-two", "2.0"]]
    assert "no problems" in other.interlock("check", "--venv", environment)
    for who in (one, other):
        verify(who, environment, "fixture_third")

    made = dict(everything(shared))
    assert [path for path, status in made.items() if status.st_gid != GROUP] == []
    assert [
        path for path, status in made.items() if not stat.S_ISLNK(status.st_mode) and status.st_mode & stat.S_IWOTH
    ] == []
    one.interlock("uninstall", "--venv", environment, "fixture-one", "fixture-third")
    other.interlock("uninstall", "--venv", environment, "fixture-two")
    assert other.interlock("list", "--venv", environment) == ""


@as_root
def test_where_its_directory_does_not_say_so_an_environment_is_one_users(
    place: Path, python: str, index: Index
) -> None:
    one, other = (person(number, place, python, index) for number in (12345, 12346))
    environment = one.home / "env"
    project = make_project(place / "one", "fixture-one")
    project.chmod(0o777)
    one.interlock("venv", environment)
    one.install(environment, project)
    before = {path: (status.st_mode, status.st_mtime_ns) for path, status in everything(environment)}
    said = other.interlock("list", "--venv", environment)
    assert said.split()[:2] == ["fixture-one", "1.0"]
    other.interlock("uninstall", "--venv", environment, "fixture-one", code=31)
    after = {path: (status.st_mode, status.st_mtime_ns) for path, status in everything(environment)}
    assert after == before


# Where root works for a user


@as_root
def test_what_root_makes_in_a_users_directory_is_the_users(place: Path, python: str, index: Index) -> None:
    user, root = person(12345, place, python, index), person(0, place, python, index)
    workspace = user.home / "workspace"
    make_project(workspace / "one", "fixture-one", project='scripts = { fixture-one = "backend:NAME" }')
    (workspace / "interlock.toml").write_text(
        '[environments.default]\npath = ".venv"\nrequirements = ["r.txt"]\n', encoding="utf-8"
    )
    (workspace / "r.txt").write_text("fixture-third\n", encoding="utf-8")
    for path, _ in everything(workspace):
        os.chown(path, user.number, user.number)
    user.interlock("build", "--root", workspace)
    environment = workspace / ".venv"

    make_project(workspace / "one", "fixture-one", "2.0")
    make_project(workspace / "two", "fixture-two")
    for path, _ in everything(workspace / "one", workspace / "two"):
        os.chown(path, user.number, user.number)
    index.add("fixture-fourth", "1.0")
    (workspace / "r.txt").write_text("fixture-third\nfixture-fourth\n", encoding="utf-8")
    root.interlock("gen", "--root", workspace)
    root.interlock("requirements", "--venv", environment, "-r", workspace / "r.txt")
    root.install(environment, workspace / "one")
    root.install(environment, workspace / "two")
    root.interlock("editable", "--venv", environment, workspace / "two")
    root.interlock("uninstall", "--venv", environment, "fixture-one")
    assert foreign(workspace, user) == []

    # Nothing is in the user's way now.
    make_project(workspace / "one", "fixture-one", "3.0")
    user.interlock("build", "--root", workspace)
    user.interlock("uninstall", "--venv", environment, "fixture-two", "fixture-fourth")
    verify(user, environment, "fixture_third")


@as_root
def test_an_environment_that_root_makes_for_a_user_is_the_users(place: Path, python: str, index: Index) -> None:
    user, root = person(12345, place, python, index), person(0, place, python, index)
    make_project(place / "one", "fixture-one")
    environment = user.home / "deep" / "env"
    root.interlock("venv", environment)
    root.install(environment, place / "one")
    assert foreign(user.home, user) == []
    user.interlock("uninstall", "--venv", environment, "fixture-one")


def foreign(top: Path, user: Person) -> list[str]:
    """Return what a user does not own below a directory; of a symbolic link it counts what it leads to."""
    return [
        path for path, status in everything(top) if status.st_uid != user.number and not stat.S_ISLNK(status.st_mode)
    ]
