"""Readers that take no lock, while a storm of reinstalls, upgrades and downgrades goes over the environment."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from interlock import platforms
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
    pytest.mark.timeout(300 * ROUNDS),
    pytest.mark.skipif(os.name == "nt", reason="the readers hold directories open, as Windows does not let them"),
]


class Portable(platforms.Posix):
    """A platform that cannot exchange."""

    def exchange(self, one: str, other: str) -> bool:
        return False


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
    """Puts one state after the other into the environment, in this process, until told to end."""

    def __init__(self, environment: Path, states: list[list[Prepared]], platform: platforms.Platform) -> None:
        super().__init__()
        self.environment, self.states, self.disk = environment, states, Disk("fast", platform)
        self.done, self.commits, self.failed = threading.Event(), 0, [""]

    def run(self) -> None:
        try:
            for state in itertools.cycle(self.states):
                for prepared in state:
                    self.commits += commit(prepared, str(self.environment), disk=self.disk).changed
                if self.done.is_set():
                    break
        except BaseException as error:
            self.failed.append(repr(error))
            raise


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
    platform: platforms.Platform,
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


@pytest.mark.parametrize("platform", [platforms.current(), Portable()], ids=["exchange", "portable"])
def test_reinstalls(world: tuple[Path, dict[tuple[str, str, str], Prepared]], platform: platforms.Platform) -> None:
    tally = storm(world, REINSTALLS, platform)
    assert tally.bad == {}


def test_upgrades(world: tuple[Path, dict[tuple[str, str, str], Prepared]]) -> None:
    """One version goes and another comes: nothing is ever half there, or not there."""
    tally = storm(world, UPGRADES, platforms.current())
    # What uv has listed, and what then left as a whole, cannot be told from outside of uv.
    unexplained = Counter({what: number for what, number in tally.bad.items() if not what.startswith("uv pip list")})
    assert unexplained - tally.retired == {}
