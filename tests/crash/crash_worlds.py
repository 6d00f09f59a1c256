"""Environments in which commits are recorded, crashed and recovered: what `test_crash_states.py` sets up and looks at."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crash_states import LOCKS, Count, History, Tree, distinct, read_tree, write_tree
from interlock import environment as environments
from interlock import journal, platforms
from interlock.access import changing
from interlock.durable import Disk
from interlock.environment import Environment, open_environment
from interlock.prepared import Prepared
from recorded_os import Recorder, installed

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "installer"))
from prepared_trees import make_prepared
from wheels import make_wheel

Step = Callable[[Disk], object]

# Empty, passed over by `site` and globs, and removed by the next commit that looks at the directory.
PROBE = ".interlock-probe"


class Portable(platforms.Posix):
    """A platform that cannot let two directories change places."""

    def exchange(self, one: str, other: str) -> bool:
        return False


def visible(tree: Tree) -> Tree:
    """Return what anybody but interlock looks at."""
    return {
        path: entry
        for path, entry in tree.items()
        if path.split("/")[0] != ".interlock" and path.rpartition("/")[2] not in (*LOCKS, PROBE)
    }


def canonical(tree: Tree) -> Tree:
    """Leave out what a recovery does not look at: without a journal, what is staged."""
    if ".interlock/journal.json" in tree:
        return tree
    keep = (".interlock", ".interlock/environment.json", ".interlock/journal.damaged.json")
    return {path: entry for path, entry in tree.items() if path in keep or not path.startswith(".interlock/")}


@dataclass(slots=True)
class World:
    """One environment and what is put into it."""

    base: Path  # not in the environment's file system necessarily: prepared trees, wheels
    root: str
    seen: bool = True  # by interlock, before
    _made: int = 0
    times: dict[str, int] = field(default_factory=dict)

    def make(self) -> None:
        venv.create(self.root, symlinks=True)
        if self.seen:
            with changing(self.root, disk=Disk("fast")):
                pass
        self.times["pyvenv.cfg"] = os.stat(os.path.join(self.root, "pyvenv.cfg")).st_mtime_ns

    @property
    def environment(self) -> Environment:
        return open_environment(self.root)

    def prepared(self, name: str, version: str = "1.0", *, files: dict[str, str], scripts: Sequence[str] = ()) -> Prepared:
        self._made += 1
        made = {script: f"#!{self.root}/bin/python\n# {name} {version}\n" for script in scripts}
        return make_prepared(
            self.base / f"prepared-{self._made}", self.environment, name, version, files=files, scripts=made
        )

    def wheel(self, name: str, version: str, files: dict[str, str]) -> str:
        directory = self.base / "wheels"
        directory.mkdir(exist_ok=True)
        contents = {path: text.encode() for path, text in files.items()}
        contents[f"{name}-{version}.dist-info/entry_points.txt"] = f"[console_scripts]\n{name}=os:getpid\n".encode()
        return make_wheel(directory, contents, name=name, version=version)

    def uv_install(self, wheel: str) -> None:
        import uv

        cache = os.path.join(os.path.dirname(self.root), "uv-cache")
        command = [uv.find_uv_bin(), "-q", "pip", "install", "--python", self.root, "--no-index", "--no-deps", "--offline"]
        subprocess.run([*command, "--link-mode", "hardlink", "--cache-dir", cache, wheel], check=True)

    def pip_install(self, wheel: str) -> None:
        command = [sys.executable, "-m", "pip", "-q", "--python", self.root, "install", "--no-index", "--no-deps", wheel]
        subprocess.run(command, check=True)


@dataclass(slots=True)
class Recording:
    """What was recorded of some steps, and the trees that are right: before them and after each."""

    history: History
    stages: list[Tree]
    marks: list[int]  # how many operations were done when each step returned

    def legal(self, done: int) -> list[Tree]:
        """Return what may be visible after a recovery: what was there before the step that was under way, or after it."""
        returned = sum(mark <= done for mark in self.marks)
        return self.stages[returned : returned + 2]


def record(world: World, steps: Sequence[Step], disk: Disk, *, inner: Sequence[Step] = ()) -> Recording:
    """Do the steps with a recorder below them.

    `inner` are the steps that one recorded step consists of, for one that is whole only in parts (an uninstall of several).
    """
    before = read_tree(world.root)
    stages = [visible(before)]
    for step in inner or steps:
        step(Disk("fast"))
        stages.append(visible(read_tree(world.root)))
    write_tree(world.root, before, world.times)
    marks = []
    with installed(Recorder()) as recorder:
        for step in steps:
            step(disk)
            marks.append(len(recorder.events))
    history = History(world.root, before, recorder.events)
    # The model and the file system agree where nothing is lost: nothing happened that was not recorded.
    assert without_locks(history.whole(history.steps)) == without_locks(read_tree(world.root))
    if inner:
        recording = Recording(history, stages, marks)
        recording.legal = lambda done: stages[-1:] if done >= history.steps else stages  # type: ignore[method-assign]
        return recording
    return Recording(history, stages, marks)


def without_locks(tree: Tree) -> Tree:
    return {path: entry for path, entry in tree.items() if path.rpartition("/")[2] not in LOCKS}


def recover(world: World, tree: Tree) -> Tree:
    """Make the environment be a state and let the next lock holder find it."""
    write_tree(world.root, tree, world.times)
    with changing(world.root, disk=Disk("fast")):
        pass
    return read_tree(world.root)


def problem(after: Tree, legal: Sequence[Tree]) -> str:
    """Say what is wrong after a recovery; "" where nothing is."""
    for name in ("journal.json", "journal.damaged.json"):
        if f".interlock/{name}" in after:
            return f"{name} is left"
    if (seen := visible(after)) not in legal:
        wrong = (sorted(path for path in {*one, *seen} if one.get(path) != seen.get(path)) for one in legal)
        return f"neither old nor new, the nearest of these but for {min(wrong, key=len)}"
    return ""


def crash(
    world: World, recording: Recording, *, again: Step | None = None, stop: bool = False, **limits: int
) -> tuple[Count, list[str]]:
    """Recover every state that a crash may leave; return how many there were and what was wrong.

    `again` is the step that was under way: run once more after the recovery, it must lead to the last stage.
    """
    count, problems = Count(), []
    history, known = recording.history, {}
    for done in history.moments():
        legal = recording.legal(done)
        for tree in distinct(history, Count(), canonical, [done], **limits):
            key = frozenset(tree.items())
            if key not in known:
                known[key] = recover(world, tree)
                if again is not None and not problem(known[key], legal):
                    again(Disk("fast"))
                    if wrong := problem(read_tree(world.root), recording.stages[-1:]):
                        problems.append(f"after {done} operations, recovered and run again: {wrong}")
            if wrong := problem(known[key], legal):
                problems.append(f"after {done} operations: {wrong}")
                if stop:
                    return count, problems
        for _ in history.states(done, count, **limits):
            pass
    count.distinct = len(known)
    return count, problems


@pytest.fixture
def remembered_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask an interpreter once what it is: thousands of recoveries would ask it again."""
    monkeypatch.setattr(environments, "query", functools.cache(environments.query))


__all__ = [
    "Portable",
    "Recording",
    "World",
    "canonical",
    "crash",
    "journal",
    "make_prepared",
    "problem",
    "record",
    "recover",
    "visible",
]
