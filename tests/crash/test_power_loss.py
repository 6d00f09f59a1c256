"""Power loss on a real ext4, in the middle of commits and of whole builds; then it is mounted again (tests/power_loss.py)."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.access import changing
from interlock.create import create_environment
from interlock.durable import Disk, Durability
from interlock.errors import InterlockError
from interlock.journal import damaged_path
from interlock_runner import kill_session, succeed, verify
from monorepos import materialise
from power_loss import Machine, machine_in
from verifier import record_problems

sys.path.insert(0, str(Path(__file__).parents[1] / "installer"))
from prepared_trees import make_prepared

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "25"))

# Commits the versions in turn until the disk is gone; says on another file system what has been promised.
WRITER = """
import sys
from interlock.durable import Disk
from interlock.prepared import load_prepared
from interlock.transaction import commit, uninstall
environment, durability, log, *trees = sys.argv[1:]
disk, number = Disk(durability), 0
with open(log, "a", buffering=1) as promised:
    while True:
        number += 1
        if number % 7 == 0:
            uninstall(environment, ["core"], disk=disk)
            promised.write("none\\n")
        else:
            prepared = load_prepared(trees[number % len(trees)])
            promised.write("?\\n")
            commit(prepared, environment, disk=disk)
            promised.write(prepared.path + "\\n")
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with machine_in(tmp_path, megabytes=64) as made:
        yield made


def kept_in(log: Path) -> list[str]:
    """Return what has been promised, as far as the lines are whole."""
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
    return [line.strip() for line in lines if line.endswith("\n") and line != "?\n"]


def run_until_power_is_lost(
    machine: Machine, environment: str, trees: list[str], log: Path, disk: str, promises: int, after: float
) -> None:
    """Cut the power some seconds after so many promises: as many on a slow machine as on a fast one."""
    command = [sys.executable, "-c", WRITER, environment, disk, str(log), *trees]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as writer:
        while not log.exists() or log.stat().st_size == 0 or len(kept_in(log)) < promises:
            assert writer.poll() is None
            time.sleep(0.002)
        time.sleep(after)
        machine.lose_power()
        writer.kill()
    machine.unmount()
    machine.mount()


def found(environment: str, trees: dict[str, str]) -> str:
    """Return which of the trees is installed, after the next lock holder came: whole, and nothing of any other."""
    with changing(environment, disk=Disk("full")) as opened:
        site = opened.site_packages[0]
        assert record_problems(site) == []
        assert not os.path.exists(damaged_path(environment))
        text = Path(site, "a.py").read_text(encoding="utf-8") if Path(site, "a.py").exists() else ""
        state = next((tree for tree, its in trees.items() if its == text), "none")
        names = [] if state == "none" else [os.path.basename(state)]
        assert [path.name for path in Path(site).glob("only_*")] == [f"only_{name}" for name in names]
        assert [path.name for path in Path(opened.absolute("bin")).glob("run-*")] == [f"run-{name}" for name in names]
        assert len(list(Path(site).glob("core-*"))) == len(names)
        return state


def lose_power_often(machine: Machine, base: Path, durability: Durability, rounds: int) -> int:
    """Return how many losses of power came after at least one commit was promised."""
    environment = create_environment(str(machine.mount_point / "env"), python=None, disk=Disk("full"))[0]
    trees = {}
    for name, version, text in (("1", "1.0", "1\n"), ("2", "2.0", "2\n"), ("3", "2.0", "3\n")):
        files = {"a.py": text, f"only_{name}/b.py": text}
        make_prepared(base / name, environment, "core", version, files=files, scripts={f"run-{name}": "#!x\n"})
        trees[str(base / name)] = text
    chance = random.Random(15335)
    promised = 0
    for number in range(rounds):
        log = base / f"log{number}"
        promises, after = chance.randrange(12), chance.uniform(0, 0.05)
        run_until_power_is_lost(machine, environment.path, list(trees), log, durability, promises, after)
        kept = kept_in(log)
        state = found(environment.path, trees)
        if kept:
            promised += 1
            following = expected_after(len(kept), list(trees))
            assert state in {kept[-1], following}, f"round {number}: {kept[-1]} was promised, {state} is there"
    return promised


def expected_after(done: int, trees: list[str]) -> str:
    """Return what the commit was to bring that was under way when the power went."""
    number = done + 1
    return "none" if number % 7 == 0 else trees[number % len(trees)]


@pytest.mark.crash
def test_what_was_promised_survives_and_everything_is_whole(machine: Machine, tmp_path: Path) -> None:
    assert lose_power_often(machine, tmp_path, "full", ROUNDS) > ROUNDS // 2


@pytest.mark.crash
def test_without_syncs_the_same_losses_of_power_are_noticed(machine: Machine, tmp_path: Path) -> None:
    """The counter-test: with durability "fast", which promises nothing of the kind, the test above must fail."""
    with pytest.raises((AssertionError, InterlockError)):
        lose_power_often(machine, tmp_path, "fast", 10)


@pytest.mark.crash
def test_a_build_that_loses_power_is_whole_after_the_next(tmp_path: Path) -> None:
    """Stamps, prepared trees, the environment, Ninja's own log: what is left of them leads to a whole environment."""
    rounds = max(2, ROUNDS // 8)
    chance = random.Random(11259)
    with machine_in(tmp_path, megabytes=256) as machine:
        root = machine.mount_point / "tree"
        modules = [project.module for project in materialise("opentelemetry-python", root, limit=8)]
        started = time.monotonic()
        succeed("build", "--root", root, "-j128")
        whole = time.monotonic() - started
        for number in range(rounds):
            shutil.rmtree(root / (".venv", "out")[number % 2])
            os.sync()
            command = [sys.executable, "-P", "-m", "interlock", "build", "--root", str(root), "-j128"]
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            ) as build:
                time.sleep(chance.uniform(0.05, whole))
                machine.lose_power()
                kill_session(build.pid)
            machine.unmount()
            machine.mount()
            succeed("build", "--root", root, "-j128")
            verify(root / ".venv", modules)
            succeed("check", "--venv", root / ".venv", "--stamps", root / "out")
