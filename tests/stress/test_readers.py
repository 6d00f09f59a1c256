"""Readers that take no lock, while a storm of reinstalls, upgrades and downgrades goes over the environment."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest

from interlock.durable import Disk
from interlock.prepared import Prepared, load_prepared
from interlock.transaction import commit
from interlock_runner import interlock, succeed, verify
from reader_storm import Readers, Subject, Tally, wait_for
from trees import pyproject, write_tree

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "1"))
SECONDS = 6.0 * ROUNDS  # of each storm
# However slow the machine is: so many commits, and programs that read meanwhile.
COMMITS, PROGRAMS = 60 * ROUNDS, 13 * ROUNDS
NAMES = ("stormy-core", "stormy-leaf", "stormy-other")
# Version and build of each step: reinstalls, an upgrade, a downgrade.
REINSTALLS = (("1.0", "a"), ("1.0", "b"))
UPGRADES = (("1.0", "a"), ("1.0", "b"), ("2.0", "a"), ("2.0", "b"))

pytestmark = [
    pytest.mark.stress,
    pytest.mark.timeout(1200 * ROUNDS),
    pytest.mark.skipif(os.name == "nt", reason="the readers hold directories open, as Windows does not let them"),
]


# Puts one state after the other into the environment until told to end; says of each project whether that changed anything.
WRITER = """
import itertools, sys, threading
from interlock import platforms
from interlock.durable import Disk
from interlock.prepared import load_prepared
from interlock.transaction import commit

class Portable(platforms.Posix):
    def exchange(self, one, other):
        return False

environment, kind, width, *paths = sys.argv[1:]
disk = Disk("fast", Portable() if kind == "portable" else platforms.current())
prepared, done = [load_prepared(path) for path in paths], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
for number in itertools.count():
    if number % int(width) == 0 and done.is_set():
        break
    print(int(commit(prepared[number % len(prepared)], environment, disk=disk).changed), flush=True)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, str, str], Prepared]]:
    """Return an environment, and each project prepared for it in each version and build."""
    root = tmp_path_factory.mktemp("storm")
    environment = root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    succeed("venv", environment)
    prepared = {}
    for name in NAMES:
        for version, build in UPGRADES:
            project = write_project(root, name, version, build)
            output = root / "prepared" / f"{name}-{version}-{build}"
            succeed("prepare", project, "--venv", environment, "--output", output)
            prepared[name, version, build] = load_prepared(str(output))
    return environment, prepared


def write_project(root: Path, name: str, version: str, build: str) -> Path:
    """Write one state of a project: in build b it has another script, other metadata and another requirement."""
    module = name.replace("-", "_")
    scripts = f'[project.scripts]\n{name} = "{module}:main"\n{name}-{build}{version[0]} = "{module}:main"\n'
    more = f'description = "build {build}"\n{scripts}'
    return write_tree(
        root / name,
        {
            "pyproject.toml": pyproject(name, "pip", version=version, more=more),
            f"{module}.py": f'"""{name}"""\n\n\ndef main():\n    print("{name} says hello")\n',
        },
    )


def subject(name: str) -> Subject:
    return Subject(name, name.replace("-", "_"), ("1.0", "2.0"), name, f"{name} says hello")


class Writer(threading.Thread):
    """Puts one state after the other into the environment until told to end, with one disk, in one process.

    That is not this process: this one starts programs meanwhile, which for a moment would have open what the writer writes,
    and a script that somebody writes to cannot be started.
    """

    def __init__(self, environment: Path, states: list[list[Prepared]], platform: str) -> None:
        super().__init__()
        self.environment, self.states, self.platform = environment, states, platform
        self.done, self.commits, self.failed = threading.Event(), 0, [""]

    def run(self) -> None:
        paths = [prepared.path for state in self.states for prepared in state]
        words = [str(self.environment), self.platform, str(len(self.states[0])), *paths]
        pipe = subprocess.PIPE
        with (
            tempfile.TemporaryFile("w+") as errors,
            subprocess.Popen(
                [sys.executable, "-c", WRITER, *words], stdin=pipe, stdout=pipe, stderr=errors, text=True
            ) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            for line in process.stdout:
                self.commits += int(line)
                if self.done.is_set():
                    process.stdin.close()
            if process.wait():
                errors.seek(0)
                self.failed.append(errors.read())


class CommandLine(Writer):
    """The same by `interlock install`."""

    def run(self) -> None:
        for prepared in itertools.cycle(prepared for state in self.states for prepared in state):
            result = interlock("install", prepared.path, "--venv", self.environment)
            if result.returncode:
                self.failed.append(result.stderr)
                break
            self.commits += result.stdout.startswith("installed")
            if self.done.is_set():
                break


def storm(
    world: tuple[Path, dict[tuple[str, str, str], Prepared]],
    steps: tuple[tuple[str, str], ...],
    platform: str,
) -> Tally:
    """Let writers and readers at an environment, and return what was read."""
    import uv

    environment, prepared = world
    states = [[prepared[name, version, build] for name in NAMES] for version, build in steps]
    for one in states[0]:
        commit(one, str(environment), disk=Disk("fast"))
    writers = [Writer(environment, states, platform), CommandLine(environment, states[::-1], platform)]
    readers = Readers(environment, [subject(name) for name in NAMES], uv=uv.find_uv_bin())
    with readers.at_work() as tally:
        for writer in writers:
            writer.start()
        wait_for(SECONDS, writers, lambda: writers[0].commits >= COMMITS and readers.programs >= PROGRAMS)
        for writer in writers:
            writer.done.set()
        for writer in writers:
            writer.join()
    assert [writer.failed for writer in writers] == [[""], [""]]
    print(f"{[writer.commits for writer in writers]} commits, {sum(tally.reads.values())} reads: {dict(tally.reads)}")
    print(f"bad: {dict(tally.bad)}")
    verify(environment, [name.replace("-", "_") for name in NAMES])
    succeed("check", "--venv", environment)
    return tally


@pytest.mark.parametrize("platform", ["exchange", "portable"])
def test_reinstalls(world: tuple[Path, dict[tuple[str, str, str], Prepared]], platform: str) -> None:
    tally = storm(world, REINSTALLS, platform)
    assert tally.bad == {}


def test_upgrades(world: tuple[Path, dict[tuple[str, str, str], Prepared]]) -> None:
    """One version goes and another comes: nothing is ever half there, or not there."""
    tally = storm(world, UPGRADES, "exchange")
    # What uv has listed, and what then left as a whole, cannot be told from outside of uv.
    unexplained = Counter({what: number for what, number in tally.bad.items() if not what.startswith("uv pip list")})
    assert unexplained - tally.retired == {}
