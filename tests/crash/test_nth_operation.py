"""A real `interlock` that fails or is killed at its n-th mutation, for every n; then the same once more, undisturbed.

What is there in the end is what a run leaves that was never disturbed, byte for byte. INTERLOCK_TEST_ROUNDS is the number of
errno faults of each command (0: each errno at every n), seeded; SIGKILL comes at every n.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from crash_states import LOCKS, Tree, read_tree, write_tree
from crash_worlds import World

from interlock.durable import Disk
from interlock.transaction import commit

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(sys.platform == "win32", reason="the driver forks"),
]

DRIVER = Path(__file__).parent / "fault_driver.py"
ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "12"))
ERRNOS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EINTR)
# Left by a process that was killed at just that moment, never read, under a name of its own each time.
LITTER = re.compile(
    r"(^|/)(\.interlock-clock-[0-9a-f]+|\.[^/]+\.[0-9a-f]{8}\.tmp|\.interlock-probe)$"
    # What could not be removed of an environment that was replaced: that is for the next replacement.
    r"|^\.env\.interlock-(old|new)-"
)
IDENTITY = re.compile(rb'"[0-9a-f]{32}"')
TIME = re.compile(rb"\b[0-9]{18,}\b")


@pytest.fixture(scope="module")
def run_with_fault() -> Iterator[Callable[..., dict[str, Any]]]:
    """Return a function that runs a command with a fault, in a process of its own."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None

        def run(argv: list[str], at: int = 0, number: int = 0) -> dict[str, Any]:
            driver.stdin.write(json.dumps({"argv": argv, "at": at, "errno": number}) + "\n")  # type: ignore[union-attr]
            driver.stdin.flush()  # type: ignore[union-attr]
            answer: dict[str, Any] = json.loads(driver.stdout.readline())  # type: ignore[union-attr]
            return answer

        yield run
        driver.stdin.close()


@dataclass(slots=True)
class Sweep:
    """One command, the tree that it starts from, and the one that it leaves when nothing disturbs it."""

    name: str
    world: World
    argv: list[str]
    run: Callable[..., dict[str, Any]]
    before: Tree = field(default_factory=dict)
    after: Tree = field(default_factory=dict)
    operations: int = 0
    problems: list[str] = field(default_factory=list)
    runs: int = 0
    codes: dict[int, int] = field(default_factory=dict)

    @property
    def root(self) -> str:
        return os.path.dirname(self.world.root)

    def start(self) -> None:
        self.before = read_tree(self.root)
        self.run(self.argv)  # what is cached about an interpreter is written once
        self.restore()
        calm = self.run(self.argv)
        assert calm["code"] == 0, calm["error"]
        self.operations, self.after = calm["count"], read_tree(self.root)
        assert self.operations > 5

    def restore(self) -> None:
        times = {f"env/{path}": moment for path, moment in self.world.times.items() if f"env/{path}" in self.before}
        write_tree(self.root, self.before, times)

    def disturb(self, at: int, number: int) -> None:
        """Fail or die at one operation, look at what is there, and run again."""
        self.restore()
        answer = self.run(self.argv, at, number)
        what = errno.errorcode[number] if number else "SIGKILL"
        self.runs += 1
        self.codes[answer["code"]] = self.codes.get(answer["code"], 0) + 1
        where = f"{self.name}: {what} at {at}, {answer['hit']}, exit code {answer['code']}"
        # A directory that has emptied, and that the system refuses to remove, is no reason to give up the rest.
        failed, _, path = answer["hit"].partition(" ")
        stays = os.path.relpath(path, self.root) if failed == "rmdir" and number else ""
        wrong = self._of_the_run(answer, number) + self._of_what_is_there(answer["code"], stays)
        again = self.run(self.argv)
        done = self.argv[0] == "uninstall" and "not installed" in again["error"]
        if again["code"] != 0 and not done:
            wrong.append(f"run again: {again['error']}")
        difference = differences(comparable(self.after), comparable(read_tree(self.root)))
        if difference not in ([], [stays]):
            wrong.append(f"run again, and different: {difference}")
        self.problems += [f"{where}: {text}" for text in wrong]

    def _of_the_run(self, answer: dict[str, Any], number: int) -> list[str]:
        code, text = answer["code"], answer["error"]
        if number == 0:
            return [] if code == -signal.SIGKILL else [f"was not killed: {text}"]
        if "Traceback" in text or code in {1, 99}:
            return [f"no clear error: {text}"]
        if code != 0 and not text.startswith("interlock: error: "):
            return [f"no clear error: {text!r}"]
        return []

    def _of_what_is_there(self, code: int, stays: str) -> list[str]:
        now = read_tree(self.root)
        seen, old, new = (
            {path: entry for path, entry in visible(tree).items() if path != stays}
            for tree in (now, self.before, self.after)
        )
        wrong = []
        if code == 0 and seen != new:
            wrong.append(f"reported success: {differences(new, seen)}")
        if seen.get("out/core.stamp") not in (old.get("out/core.stamp"), new.get("out/core.stamp")):
            wrong.append("a stamp that is neither old nor new")
        # A journal says that the next lock holder finishes; a reader sees whole files even so.
        environment, *stages = (
            {path: entry for path, entry in tree.items() if path.startswith("env")} for tree in (seen, old, new)
        )
        if "env/.interlock/journal.json" not in now and environment not in (*stages, {}):
            wrong.append(f"half of it: {min((differences(one, environment) for one in stages), key=len)}")
        if seen.get("out/core.stamp") == new.get("out/core.stamp") != old.get("out/core.stamp"):
            wrong += ["a stamp that vouches for nothing"] if environment != stages[1] else []
        return wrong

    def sweep(self, killed: range | None = None) -> None:
        for at in killed or range(1, self.operations + 1):
            self.disturb(at, 0)
        faults = [(at, number) for at in range(1, self.operations + 1) for number in ERRNOS]
        if ROUNDS:
            faults = random.Random(15335).sample(faults, min(ROUNDS, len(faults)))
        for at, number in faults:
            self.disturb(at, number)
        print(f"\n{self.name:24} operations {self.operations:4} runs {self.runs:5} exit codes {self.codes}")
        assert not self.problems, "\n".join(self.problems[:10]) + f"\n({len(self.problems)})"


def visible(tree: Tree) -> Tree:
    return {
        path: entry
        for path, entry in comparable(tree).items()
        if "env/.interlock" not in path and ".interlock-" not in path
    }


def comparable(tree: Tree) -> Tree:
    """Leave out what is another each time: identities, times, names of what a death left behind."""
    kept = {}
    for path, (kind, content, mode) in tree.items():
        if LITTER.search(path) or path.rpartition("/")[2] in LOCKS:
            continue
        varies = path.endswith((".interlock/environment.json", "venv.stamp"))
        kept[path] = kind, TIME.sub(b"0", IDENTITY.sub(b'""', content)) if varies else content, mode
    return kept


def differences(one: Tree, other: Tree) -> list[str]:
    return sorted(path for path in {*one, *other} if one.get(path) != other.get(path))


@pytest.fixture
def world(tmp_path: Path, fast_directory: Path) -> World:
    """Return an environment, and beside it the directory of the stamps."""
    made = World(tmp_path, str(fast_directory / "work" / "env"))
    os.makedirs(fast_directory / "work" / "out")
    made.make()
    return made


def install_words(world: World, prepared: str) -> list[str]:
    out = os.path.join(os.path.dirname(world.root), "out")
    return [
        *("install", prepared, "--venv", world.root),
        *("--stamp", os.path.join(out, "core.stamp"), "--depfile", os.path.join(out, "core.d")),
    ]


@pytest.mark.parametrize("kind", ["first", "upgrade", "same version"])
def test_an_install(world: World, run_with_fault: Callable[..., dict[str, Any]], kind: str) -> None:
    old = world.prepared("core", files={"a.py": "1\n", "gone/b.py": "1\n"}, scripts=["old"])
    version = "1.0" if kind == "same version" else "2.0"
    new = world.prepared("core", version, files={"a.py": "2\n", "new/c.py": "2\n"}, scripts=["new"])
    if kind != "first":
        assert run_with_fault(install_words(world, old.path))["code"] == 0
    sweep = Sweep(f"install, {kind}", world, install_words(world, new.path), run_with_fault)
    sweep.start()
    sweep.sweep()


def test_an_uninstall(world: World, run_with_fault: Callable[..., dict[str, Any]]) -> None:
    old = world.prepared("core", files={"a.py": "1\n", "gone/b.py": "1\n"}, scripts=["old"])
    commit(old, world.root, disk=Disk("fast"))
    sweep = Sweep("uninstall", world, ["uninstall", "core", "--venv", world.root], run_with_fault)
    sweep.start()
    sweep.sweep()


@pytest.mark.parametrize("kind", ["creation", "replacement"])
def test_a_venv(world: World, run_with_fault: Callable[..., dict[str, Any]], kind: str) -> None:
    if kind == "creation":
        write_tree(os.path.dirname(world.root), {"out": ("directory", b"", 0o755)})
    else:
        Path(world.root, "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.2.1\n", encoding="utf-8")
    stamp = os.path.join(os.path.dirname(world.root), "out", "venv.stamp")
    sweep = Sweep(f"venv, {kind}", world, ["venv", world.root, "--stamp", stamp], run_with_fault)
    sweep.start()
    # Each run starts an interpreter or two.
    sweep.sweep(range(1, sweep.operations + 1, 3 if ROUNDS else 1))


def test_an_install_with_faults_that_the_kernel_gives(
    world: World, run_with_fault: Callable[..., dict[str, Any]], require_tool: Callable[..., str], tmp_path: Path
) -> None:
    """The same by another tool: strace fails the n-th fsync of a plain `interlock`, or kills it at the n-th rename."""
    strace = require_tool("strace", platforms=("linux",))
    old = world.prepared("core", files={"a.py": "1\n", "gone/b.py": "1\n"}, scripts=["old"])
    new = world.prepared("core", "2.0", files={"a.py": "2\n", "new/c.py": "2\n"}, scripts=["new"])
    assert run_with_fault(install_words(world, old.path))["code"] == 0
    log = tmp_path / "strace.log"

    def run(argv: list[str], at: int = 0, number: int = 0) -> dict[str, Any]:
        if not at:
            return run_with_fault(argv)
        fault = f"fsync:error={errno.errorcode[number]}:when={at}" if number else f"/^rename:signal=KILL:when={at}"
        inject = [strace, "-f", "-qq", "-o", str(log), "-e", "trace=fsync,/^rename", "-e", f"inject={fault}"]
        command = [*inject, sys.executable, "-P", "-m", "interlock", *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        hit = [line for line in log.read_text(encoding="utf-8").splitlines() if "INJECTED" in line or "KILL" in line]
        return {"code": done.returncode, "error": done.stderr, "hit": " ".join(hit)}

    sweep = Sweep("install, strace", world, install_words(world, new.path), run)
    sweep.start()
    numbers = {"fsync": 21, "rename": 8}  # of an upgrade; a number too high would be no fault, and fail
    for at in range(1, numbers["rename"] + 1, 2 if ROUNDS else 1):
        sweep.disturb(at, 0)
    for at in range(1, numbers["fsync"] + 1, 5 if ROUNDS else 1):
        sweep.disturb(at, errno.EIO)
    print(f"\n{sweep.name:24} runs {sweep.runs:5} exit codes {sweep.codes}")
    assert not sweep.problems, "\n".join(sweep.problems[:10])
    assert set(sweep.codes) == {-signal.SIGKILL, 74}
