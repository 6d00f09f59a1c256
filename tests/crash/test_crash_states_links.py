"""Every state that a crash of a commit with links may leave is recovered, and the sources behind the links are as they were."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from crash_worlds import Step, World, crash, record, record_recovery, report

from interlock.durable import Disk
from interlock.platforms import Posix
from interlock.prepared import Prepared
from interlock.transaction import commit, uninstall

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "installer"))
from linked_trees import content_of, prepare_linked

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege there"),
    pytest.mark.usefixtures("remembered_interpreters"),
]

PACKAGE = ["ns/__init__.py", "ns/a/__init__.py", "ns/a/b.py"]
NAMESPACE = ["ns/a/__init__.py", "ns/a/b.py", "ns/c.py"]


def prepared(world: World, number: int, files: list[str], *, version: str = "1.0", name: str = "core") -> Prepared:
    """Make a project consist of some files and prepare it."""
    source = world.base / "sources" / name
    shutil.rmtree(source, ignore_errors=True)
    for file in files:
        (source / "src" / file).parent.mkdir(parents=True, exist_ok=True)
        (source / "src" / file).write_text("x = 1\n", encoding="utf-8")
    return prepare_linked(world.base / f"linked-{number}", world.environment, name, version, source)


def check(name: str, world: World, step: Step, *, removes: bool = False) -> None:
    sources = content_of(world.base / "sources")
    recording = record(world, [step], Disk("full", Posix()))
    count, problems = crash(world, recording, again=None if removes else step)
    report(f"links, {name}", count, problems)
    assert not problems, "\n".join(problems[:10])
    assert count.distinct > 3
    assert content_of(world.base / "sources") == sources


def test_a_first_install(world: World) -> None:
    new = prepared(world, 1, NAMESPACE)
    check("first install", world, lambda disk: commit(new, world.root, disk=disk))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize(
    ("before", "after"), [(PACKAGE, NAMESPACE), (NAMESPACE, PACKAGE)], ids=["to-namespace", "to-package"]
)
def test_a_package_of_another_kind(world: World, before: list[str], after: list[str], version: str) -> None:
    commit(prepared(world, 0, ["other/__init__.py"], name="other"), world.root, disk=Disk("fast"))
    commit(prepared(world, 1, before), world.root, disk=Disk("fast"))
    new = prepared(world, 2, after, version=version)
    check(f"another kind, {version}", world, lambda disk: commit(new, world.root, disk=disk))


def test_an_uninstall(world: World) -> None:
    commit(prepared(world, 0, ["other/__init__.py"], name="other"), world.root, disk=Disk("fast"))
    commit(prepared(world, 1, NAMESPACE), world.root, disk=Disk("fast"))
    check("uninstall", world, lambda disk: uninstall(world.root, ["core"], disk=disk), removes=True)


@pytest.mark.parametrize(
    ("before", "after"), [(PACKAGE, NAMESPACE), (NAMESPACE, PACKAGE)], ids=["to-namespace", "to-package"]
)
def test_a_crash_of_the_recovery(world: World, before: list[str], after: list[str]) -> None:
    commit(prepared(world, 1, before), world.root, disk=Disk("fast"))
    new = prepared(world, 2, after, version="2.0")
    sources = content_of(world.base / "sources")
    first = record(world, [lambda disk: commit(new, world.root, disk=disk)], Disk("full", Posix()))
    moments = [n for n in range(first.history.steps) if ".interlock/journal.json" in first.history.whole(n)]
    problems = []
    for done in moments[::3]:
        second = record_recovery(world, first, done, Disk("full", Posix()))
        _, wrong = crash(world, second, most=6)
        problems += [f"killed after {done} operations, its recovery crashed {line}" for line in wrong]
    assert not problems, "\n".join(problems[:10])
    assert len(moments) > 5
    assert content_of(world.base / "sources") == sources
