"""Every state that a crash may leave of the creation and the replacement of an environment, and of a stamp's publication."""

from __future__ import annotations

import json
import os
import random
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest
from crash_states import Count, History, Tree, distinct, read_tree, write_tree
from crash_worlds import (
    ROUNDS,
    World,
    problem,
    record,
    recover,
    report,
    visible,
    without_locks,
)
from recorded_os import Event, Recorder, installed

from interlock import create
from interlock.durable import Disk
from interlock.interpreter import Interpreter
from interlock.platforms import Posix
from interlock.stamp import read_stamp, write_both, write_stamp
from interlock.transaction import commit

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(sys.platform == "win32", reason="NTFS has no directory sync to reason about"),
    pytest.mark.usefixtures("remembered_interpreters"),
]

STARTED_NS = 1_700_000_000_000_000_000


@pytest.fixture
def directory(fast_directory: Path) -> str:
    """Return the directory in which the environment is."""
    return str(fast_directory)


def foreign_events(root: str) -> list[Event]:
    """Return what another program did to make what is below a directory, nothing of it synced."""
    events, tree = [Event("mkdir", root, mode=os.lstat(root).st_mode & 0o777)], read_tree(root)
    for number, (path, (kind, content, mode)) in enumerate(sorted(tree.items())):
        place = os.path.join(root, path)
        if kind == "file":
            events.append(Event("create", place, mode=mode, handle=-1 - number))
            events.append(Event("write", place, data=content, handle=-1 - number))
        else:
            events.append(Event("mkdir" if kind == "directory" else "symlink", place, data=content, mode=mode))
    return events


def record_creation(directory: str, monkeypatch: pytest.MonkeyPatch) -> History:
    """Create (or replace) the environment and return all that was done, the standard library's venv included."""
    before, recorder, run = read_tree(directory), Recorder(), create._run_venv

    def recorded_run(interpreter: Interpreter, path: str, final: str, prompt: str) -> None:
        run(interpreter, path, final, prompt)
        recorder.events += foreign_events(path)

    with monkeypatch.context() as patch, installed(recorder):
        patch.setattr(create, "_run_venv", recorded_run)
        create_at(directory)
    history = History(directory, before, recorder.events)
    assert without_locks(history.whole(history.steps)) == without_locks(read_tree(directory))
    return history


def create_at(directory: str, durability: str = "full") -> None:
    disk = Disk("full" if durability == "full" else "fast", Posix())
    create.create_environment(os.path.join(directory, "env"), python=None, disk=disk, started_ns=STARTED_NS)


def environment_in(tree: Tree) -> Tree:
    """Return what is at the environment's path; what a process staged there after it had gone is nothing."""
    return visible({path.removeprefix("env/"): entry for path, entry in tree.items() if path.startswith("env/")})


def canonical(tree: Tree) -> Tree:
    """Leave out the content of what the next creation removes: an unfinished environment that takes nobody's place."""
    if any(path.startswith(".env.interlock-old-") for path in tree):
        return tree
    return {path: entry for path, entry in tree.items() if "/" not in path or path.startswith("env/")}


def crash_creation(name: str, directory: str, history: History, legal: Sequence[Tree], *, full_calls: int = 8) -> None:
    count, states = Count(), {}
    new = legal[-1]
    for done in history.moments():
        for tree in distinct(history, count, canonical, done):
            # Once the call has returned, the new one is there.
            right = [new] if done >= history.steps else legal
            states[frozenset(tree.items())] = tree, [*states.get(frozenset(tree.items()), ((), []))[1], *[right]]
    found = list(states.values())
    count.distinct = len(found)
    chance = random.Random(15335)
    if 0 < ROUNDS < len(found):
        found = chance.sample(found, ROUNDS)
    count.recovered = len(found)
    again = set(chance.sample(range(len(found)), min(len(found), full_calls)))
    problems = []
    for number, (tree, rights) in enumerate(found):
        times = {path: STARTED_NS for path in tree if path.endswith("/pyvenv.cfg")}
        write_tree(directory, tree, times)
        create._recover(os.path.join(directory, "env"), Disk("fast"))
        after = read_tree(directory)
        problems += [f"{left} is left" for left in after if left.startswith(".env.interlock-")]
        problems += [f"{sorted(tree)}: {text}" for right in rights if (text := problem(environment_in(after), right))]
        if number in again:
            create_at(directory, "fast")
            if text := problem(environment_in(read_tree(directory)), [new]):
                problems.append(f"created again: {text}")
    report(name, count, problems)
    assert not problems, "\n".join(problems[:10])


def test_the_creation_of_an_environment(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history = record_creation(directory, monkeypatch)
    crash_creation("venv creation", directory, history, [{}, environment_in(read_tree(directory))])


def test_the_replacement_of_an_environment(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one, whole, or the new one; never neither of them."""
    path = Path(directory, "env")
    venv.create(path, symlinks=True)
    (path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.2.1\n", encoding="utf-8")
    (path / "old.txt").write_text("old\n", encoding="utf-8")
    old = environment_in(read_tree(directory))
    history = record_creation(directory, monkeypatch)
    crash_creation("venv replacement", directory, history, [old, environment_in(read_tree(directory))])


# Stamps


@pytest.mark.parametrize("depfile", ["", "core.d"], ids=["alone", "with its depfile"])
@pytest.mark.parametrize("before", [{}, {"version": "1.0"}], ids=["first", "over an old one"])
def test_the_publication_of_a_stamp(directory: str, before: dict[str, str], depfile: str) -> None:
    """Nothing, the old receipt or the new one; and the new one, and the depfile, for certain once the edge has ended."""
    path, new = os.path.join(directory, "out", "core.stamp"), {"version": "2.0", "text": "x" * 100}
    os.mkdir(os.path.dirname(path))
    if before:
        write_stamp(path, before, started_ns=STARTED_NS, disk=Disk("fast"))
    tree = read_tree(directory)
    expected = f"{path}: \\\n  a\n".encode() if depfile else b""
    with installed(Recorder()) as recorder:
        if depfile:
            listed = os.path.join(os.path.dirname(path), depfile)
            write_both(path, new, listed, ["a"], started_ns=STARTED_NS, disk=Disk("full", Posix()))
        else:
            write_stamp(path, new, started_ns=STARTED_NS, disk=Disk("full", Posix()))
    history, count, problems = History(directory, tree, recorder.events), Count(), []
    for done in history.moments():
        for state in distinct(history, count, lambda tree: tree, done):
            count.distinct += 1
            content = state.get("out/core.stamp", ("", b"null", 0))[1]
            legal = [new] if done >= history.steps else [before or None, new]
            if not content or json.loads(content) not in legal:
                problems.append(f"after {done} operations: {content!r}")
            names = state.get(f"out/{depfile}", ("", b"", 0))[1] if depfile else b""
            if names not in {b"", expected} or (names != expected and done >= history.steps):
                problems.append(f"after {done} operations: {names!r}")
    report(f"stamp, {'over an old one' if before else 'first'}", count, problems)
    assert not problems, problems


def test_a_stamp_vouches_for_what_is_installed(tmp_path: Path, directory: str) -> None:
    """A state with the new stamp is one with the new distribution, whenever the crash comes."""
    world = World(tmp_path, os.path.join(directory, "env"))
    world.make()
    old = world.prepared("core", files={"a.py": "1\n", "gone/b.py": "1\n"})
    new = world.prepared("core", "2.0", files={"a.py": "2\n", "new/c.py": "2\n"})
    commit(old, world.root, disk=Disk("fast"))
    stamp = os.path.join(world.root, "core.stamp")  # in the environment, so that one history has both
    write_stamp(stamp, {"version": "1.0"}, started_ns=STARTED_NS, disk=Disk("fast"))

    def edge(disk: Disk) -> None:
        receipt = commit(new, world.root, disk=disk)
        write_stamp(stamp, {"version": receipt.version}, started_ns=STARTED_NS, disk=disk)

    recording = record(world, [edge], Disk("full", Posix()))
    without = [{path: entry for path, entry in stage.items() if path != "core.stamp"} for stage in recording.stages]
    count, stamped, problems = Count(), 0, []
    found = {
        frozenset(tree.items()): tree
        for done in recording.history.moments()
        for tree in distinct(recording.history, count, _with_stamp, done)
    }
    states = [tree for tree in found.values() if b"2.0" in tree["core.stamp"][1]]
    for tree in states:
        after = recover(world, tree)
        receipt = read_stamp(stamp)
        assert receipt == {"version": "2.0"}
        stamped += 1
        left = {path: entry for path, entry in after.items() if not path.endswith((".stamp", ".tmp"))}
        if text := problem(left, without[1:]):
            problems.append(text)
    count.distinct, count.recovered = len(found), stamped
    report("stamp and commit", count, problems)
    assert stamped
    assert not problems, problems


def _with_stamp(tree: Tree) -> Tree:
    return {
        path: entry
        for path, entry in tree.items()
        if ".interlock/journal.json" in tree or not path.startswith(".interlock/staging/")
    }
