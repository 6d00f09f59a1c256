"""Environments in which commits are recorded, crashed and recovered: what `test_crash_states.py` sets up and looks at."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crash_states import LOCKS, Count, Entry, History, Tree, distinct, read_tree, write_tree
from recorded_os import Event, Recorder, installed

from interlock import platforms
from interlock.access import changing
from interlock.durable import Disk
from interlock.environment import Environment, open_environment
from interlock.prepared import Prepared

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "installer"))
from prepared_trees import make_prepared
from wheels import make_wheel

Step = Callable[[Disk], object]

# How many states of each scenario are recovered (0: all of them).
ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "60"))

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

    def prepared(
        self, name: str, version: str = "1.0", *, files: dict[str, str], scripts: Sequence[str] = ()
    ) -> Prepared:
        self._made += 1
        made = dict.fromkeys(scripts, f"#!{self.root}/bin/python\n# {name} {version}\n")
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
        command = [
            uv.find_uv_bin(),
            "-q",
            "pip",
            "install",
            "--python",
            self.root,
            "--no-index",
            "--no-deps",
            "--offline",
        ]
        subprocess.run([*command, "--link-mode", "hardlink", "--cache-dir", cache, wheel], check=True)

    def pip_install(self, wheel: str) -> None:
        command = [
            sys.executable,
            "-m",
            "pip",
            "-q",
            "--python",
            self.root,
            "install",
            "--no-index",
            "--no-deps",
            wheel,
        ]
        subprocess.run(command, check=True)


@dataclass(slots=True)
class Recording:
    """What was recorded of some steps, and the trees that are right: before them and after each."""

    before: Tree
    events: list[Event]
    stages: list[Tree]
    marks: list[int]  # how many operations were done when each step returned
    history: History
    inner: bool = False
    since: int = 0  # crashes before so many operations are not looked at

    def legal(self, done: int) -> list[Tree]:
        """Return what may be visible after a recovery: what was there before the step that was under way, or after it."""
        if self.inner:
            return self.stages[-1:] if done >= self.history.steps else self.stages
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
    return Recording(before, recorder.events, stages, marks, history_of(world, before, recorder.events), bool(inner))


def record_recovery(world: World, first: Recording, done: int, disk: Disk) -> Recording:
    """Kill the recorded step after so many operations, of which nothing is lost yet, and record the recovery.

    What the step had not synced is not certain at the crash of the recovery either.
    """
    write_tree(world.root, first.history.whole(done), world.times)
    with installed(Recorder()) as recorder, changing(world.root, disk=disk):
        pass
    events = [*first.events[:done], *recorder.events]
    history = history_of(world, first.before, events)
    return Recording(first.before, events, first.stages, [len(events)], history, since=done)


def history_of(world: World, before: Tree, events: Sequence[Event]) -> History:
    history = History(world.root, before, events)
    # The model and the file system agree where nothing is lost: nothing happened that was not recorded.
    assert without_locks(history.whole(history.steps)) == without_locks(read_tree(world.root))
    return history


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
    world: World, recording: Recording, *, again: Step | None = None, most: int = -1, first: bool = False
) -> tuple[Count, list[str]]:
    """Recover the states that a crash may leave; return how many there were and what was wrong.

    `again` is the step that was under way: run once more after the recovery, it must lead to the last stage. `most` is how
    many states are recovered (0: all of them), by default what ROUNDS says. With `first` it ends at the first that is wrong.
    """
    count, problems = Count(), []
    found = _found(recording, count)
    if 0 < (most := ROUNDS if most < 0 else most) < len(found):
        found = random.Random(15335).sample(found, most)
    count.recovered = len(found)
    for tree, moments in found:
        after = recover(world, tree)
        problems += (wrong := _wrong(after, recording, moments))
        if again is not None and not wrong:
            again(Disk("fast"))
            if text := problem(read_tree(world.root), recording.stages[-1:]):
                problems.append(f"after {moments[0]} operations, recovered and run again: {text}")
        if first and problems:
            break
    return count, problems


def _found(recording: Recording, count: Count) -> list[tuple[Tree, list[int]]]:
    """Return every different state, with the moments at which a crash may leave it."""
    found: dict[frozenset[tuple[str, Entry]], tuple[Tree, list[int]]] = {}
    for done in recording.history.moments():
        for tree in distinct(recording.history, count, canonical, done) if done >= recording.since else ():
            found.setdefault(frozenset(tree.items()), (tree, []))[1].append(done)
    count.distinct = len(found)
    return list(found.values())


def _wrong(after: Tree, recording: Recording, moments: Sequence[int]) -> list[str]:
    wrong = ((done, problem(after, recording.legal(done))) for done in moments)
    return [f"after {done} operations: {text}" for done, text in wrong if text]


def report(name: str, count: Count, problems: Sequence[str]) -> None:
    """Print a line of the table that docs/explanation/guarantees.md shows (`pytest -s`)."""
    print(
        f"\n{name:40} combinations {count.combinations:8} different {count.distinct:6} recovered {count.recovered:6} "
        f"most pending {count.most_pending:3} sampled moments {count.sampled:3} failures {len(problems)}"
    )
