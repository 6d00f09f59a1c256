"""What of a source tree can go into a wheel, and what building leaves there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from interlock.durable import Disk
from interlock.sources import Entry, Settled, look, settle
from trees import write_tree

DISK = Disk("fast")
OLD = 1_000_000_000_000_000_000
NOTHING = frozenset[str]()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return aged(write_tree(tmp_path / "p", {"pyproject.toml": "", "src/pkg/__init__.py": "a"}))


def aged(directory: Path) -> Path:
    for path in [*directory.rglob("*"), directory]:
        os.utime(path, ns=(OLD, OLD))
    return directory


def found(directory: Path, *apart: Path) -> set[str]:
    return {os.path.relpath(path, directory) for path in look(str(directory), frozenset(map(str, apart)))}


@pytest.mark.parametrize(
    "name",
    [
        *(
            "src/pkg/build/x.py",
            "src/pkg/dist/x.py",
            "src/pkg/.hidden/x.txt",
            ".dotfile",
            "src/pkg/data.bin",
            "deep/er/x",
        ),
    ],
)
def test_what_can_go_into_a_wheel_counts(tree: Path, name: str) -> None:
    write_tree(tree, {name: ""})
    assert {name, os.path.dirname(name) or "."} <= found(tree)


@pytest.mark.parametrize(
    "name",
    [
        *("build/lib/x.py", "dist/x.whl", "src/pkg.egg-info/SOURCES.txt", "src/pkg/__pycache__/x.pyc", "src/pkg/x.pyc"),
        *(".git/HEAD", "src/.git/HEAD", ".cache/x", "env/pyvenv.cfg", "env/lib/x.py", "tools/CACHEDIR.TAG"),
        *("out/.ninja_log", ".ninja_log", "node_modules/x/x.js", "bazel-out/x", "src/pkg/x.py~"),
    ],
)
def test_what_tools_leave_does_not_count(tree: Path, name: str) -> None:
    before = found(tree)
    write_tree(tree, {name: "", **({"env/pyvenv.cfg": ""} if name.startswith("env/") else {})})
    assert found(tree) == before


def test_what_builds_write_does_not_count(tree: Path) -> None:
    before = found(tree)
    write_tree(tree, {"out/x.py": "", "stamp": ""})
    assert found(tree, tree / "out", tree / "stamp") == before


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_links_are_followed_once(tree: Path) -> None:
    write_tree(tree.parent, {"shared/inner.py": ""})
    (tree / "src" / "link").symlink_to(tree.parent / "shared")
    (tree / "src" / "round").symlink_to(tree)
    (tree / "src" / "gone").symlink_to("nothing")
    assert "src/link/inner.py" in found(tree)
    assert not [name for name in found(tree) if "round/" in name]


def settled(tree: Path, *steps: str) -> Settled:
    """Settle a tree whose builds write these contents to made.py, one after the other ("" for none)."""
    waiting = list(steps)

    def build() -> None:
        if text := waiting.pop(0):
            (tree / "made.py").write_text(text)

    _, result = settle(build, look(str(tree)), str(tree), NOTHING, DISK, str(tree.parent))
    assert waiting == []
    return result


def test_a_build_that_makes_nothing_is_the_only_one(tree: Path) -> None:
    result = settled(tree, "")
    assert result.started_ns == 0
    assert set(result.inputs) == set(look(str(tree)))


def test_what_is_written_as_it_was_keeps_its_time(tree: Path) -> None:
    write_tree(tree, {"made.py": "same"})
    aged(tree)
    result = settled(tree, "same")
    assert (tree / "made.py").stat().st_mtime_ns == OLD
    assert str(tree / "made.py") in result.inputs


def test_what_is_made_is_an_input_of_the_next_build(tree: Path) -> None:
    result = settled(tree, "same", "same")
    assert str(tree / "made.py") in result.inputs
    assert all(os.stat(path).st_mtime_ns <= result.started_ns for path in result.inputs)


def test_what_differs_each_time_is_no_input(tree: Path) -> None:
    assert str(tree / "made.py") not in settled(tree, "one", "another").inputs


def test_directories_of_tools_leave_the_time_of_theirs(tree: Path) -> None:
    def build() -> None:
        write_tree(tree, {"build/x": "", "src/pkg/__pycache__/x": "", "src/p.egg-info/x": ""})

    _, result = settle(build, look(str(tree)), str(tree), NOTHING, DISK, str(tree.parent))
    assert {os.stat(path).st_mtime_ns for path in result.inputs} == {OLD}


def test_who_edits_while_times_are_put_back_is_seen(tree: Path) -> None:
    edited = tree / "src" / "pkg" / "__init__.py"

    class Editor(Disk):
        def set_mtime(self, path: str, mtime_ns: int) -> None:
            if mtime_ns == OLD and path == str(edited):
                edited.write_text("edited")
            super().set_mtime(path, mtime_ns)

    def build() -> None:
        os.utime(edited)

    before: dict[str, Entry] = look(str(tree))
    started = time.time_ns()
    settle(build, before, str(tree), NOTHING, Editor("fast"), str(tree.parent))
    assert edited.stat().st_mtime_ns >= started - 10**9


def test_what_is_unchanged_is_not_read_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = look(str(tree))
    monkeypatch.setattr("interlock.sources._digest", pytest.fail)
    assert look(str(tree), NOTHING, known) == known
