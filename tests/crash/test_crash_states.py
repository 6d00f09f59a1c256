"""Every state that a crash of a commit may legally leave is recovered: the old distribution or the new one, whole.

What a crash may leave is in `crash_states.py`; the operations are recorded from the real product, and each state is made on
disk and given to the real recovery. `INTERLOCK_TEST_ROUNDS=0` looks at all states, a number at so many of each scenario.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

import pytest
from crash_states import Count, read_tree
from crash_worlds import (
    ROUNDS,
    Portable,
    Step,
    World,
    crash,
    record,
    record_recovery,
    report,
    visible,
)

from interlock.access import changing
from interlock.durable import Disk
from interlock.platforms import Posix
from interlock.prepared import Prepared
from interlock.transaction import commit, uninstall

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(sys.platform == "win32", reason="NTFS has no directory sync to reason about"),
    pytest.mark.usefixtures("remembered_interpreters"),
]

FULL, PORTABLE = "exchange", "portable"


def disk_of(platform: str) -> Disk:
    if platform == FULL and sys.platform != "linux":
        pytest.skip("renamex_np and renameat2 differ by file system")
    return Disk("full", Posix() if platform == FULL else Portable())


def installing(prepared: Prepared, world: World) -> Step:
    return lambda disk: commit(prepared, world.root, disk=disk)


def check(
    name: str, world: World, steps: Sequence[Step], disk: Disk, *, inner: Sequence[Step] = (), removes: bool = False
) -> None:
    """Record the steps, crash them in every way, and insist that nothing was wrong."""
    recording = record(world, steps, disk, inner=inner)

    def again(disk: Disk) -> None:
        for step in steps:
            step(disk)

    count, problems = crash(world, recording, again=None if removes else again)
    report(name, count, problems)
    assert not problems, "\n".join(problems[:10])
    assert count.distinct > 3


# Commits


def test_a_first_install(world: World) -> None:
    new = world.prepared("core", files={"a.py": "1\n", "b.py": "1\n"}, scripts=["core"])
    check("first install", world, [installing(new, world)], Disk("full", Posix()))


def test_a_first_install_into_an_environment_that_interlock_never_saw(unknown_world: World) -> None:
    world = unknown_world
    new = world.prepared("core", files={"a.py": "1\n", "new/b.py": "1\n"}, scripts=["core"])
    check("first install, unknown environment", world, [installing(new, world)], Disk("full", Posix()))


def test_a_first_install_with_new_directories(world: World) -> None:
    new = world.prepared("core", files={"new/a.py": "1\n", "new/deep/b.py": "1\n"})
    check("first install, new directories", world, [installing(new, world)], Disk("full", Posix()))


@pytest.mark.parametrize("platform", [FULL, PORTABLE])
def test_a_reinstall_of_the_same_version(world: World, platform: str) -> None:
    old = world.prepared("core", files={"a.py": "1\n", "gone.py": "1\n"}, scripts=["core"])
    new = world.prepared("core", files={"a.py": "2\n", "new.py": "2\n"}, scripts=["core"])
    commit(old, world.root, disk=Disk("fast"))
    check(f"same version, {platform}", world, [installing(new, world)], disk_of(platform))


@pytest.mark.parametrize(("before", "after"), [("1.0", "2.0"), ("2.0", "1.0")], ids=["upgrade", "downgrade"])
def test_another_version(world: World, before: str, after: str) -> None:
    old = world.prepared("core", before, files={"a.py": "1\n", "gone/b.py": "1\n"})
    new = world.prepared("core", after, files={"a.py": "2\n", "new/c.py": "2\n"})
    commit(old, world.root, disk=Disk("fast"))
    check("upgrade" if before < after else "downgrade", world, [installing(new, world)], Disk("full", Posix()))


@pytest.mark.parametrize("platform", [FULL, PORTABLE])
def test_the_rename_of_a_console_script(world: World, platform: str) -> None:
    old = world.prepared("core", files={"a.py": "1\n"}, scripts=["old-name"])
    new = world.prepared("core", files={"a.py": "1\n"}, scripts=["new-name"])
    commit(old, world.root, disk=Disk("fast"))
    check(f"script renamed, {platform}", world, [installing(new, world)], disk_of(platform))


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_a_switch_from_the_install_of_another_tool(world: World, tool: str) -> None:
    """Their install of the same version; uv's files are hard links to its cache, whose content stays what it was."""
    wheel = world.wheel("core", "1.0", {"a.py": "1\n", "gone.py": "1\n"})
    (world.uv_install if tool == "uv" else world.pip_install)(wheel)
    site = world.environment.site_packages[0]
    with changing(world.root, disk=Disk("fast")):
        shutil.rmtree(os.path.join(site, "__pycache__"), ignore_errors=True)
    cached = read_tree(os.path.join(os.path.dirname(world.root), "uv-cache"))
    if tool == "uv":
        assert os.stat(os.path.join(site, "a.py")).st_nlink > 1
    new = world.prepared("core", files={"a.py": "2\n", "new.py": "2\n"}, scripts=["core"])
    check(f"switch from {tool}", world, [installing(new, world)], disk_of(PORTABLE))
    assert read_tree(os.path.join(os.path.dirname(world.root), "uv-cache")) == cached


def test_two_commits_in_a_row(world: World) -> None:
    """What the first one did before it returned, no crash of the second takes away."""
    one = world.prepared("core", files={"a.py": "1\n", "own/b.py": "1\n"})
    two = world.prepared("leaf", files={"leaf.py": "1\n"}, scripts=["leaf"])
    check("two commits", world, [installing(one, world), installing(two, world)], Disk("full", Posix()))


# Removals


def test_an_uninstall(world: World) -> None:
    old = world.prepared("core", files={"a.py": "1\n", "own/b.py": "1\n"}, scripts=["core"])
    commit(old, world.root, disk=Disk("fast"))
    remove: Step = lambda disk: uninstall(world.root, ["core"], disk=disk)  # noqa: E731
    check("uninstall", world, [remove], Disk("full", Posix()), removes=True)


def test_an_uninstall_of_several(world: World) -> None:
    """Each of them whole or gone, in the order in which they were named."""
    for name in ("core", "leaf"):
        one = world.prepared(name, files={f"{name}.py": "1\n", f"{name}_own/b.py": "1\n"})
        commit(one, world.root, disk=Disk("fast"))
    inner: list[Step] = [
        lambda disk: uninstall(world.root, ["core"], disk=disk),
        lambda disk: uninstall(world.root, ["leaf"], disk=disk),
    ]
    both: Step = lambda disk: uninstall(world.root, ["core", "leaf"], disk=disk)  # noqa: E731
    check("uninstall of several", world, [both], Disk("full", Posix()), inner=inner, removes=True)


# Recovery


@pytest.mark.parametrize("kind", ["upgrade", FULL, PORTABLE, "uninstall"])
def test_a_crash_of_the_recovery(world: World, kind: str) -> None:
    """Killed after any operation, recovered, and that recovery crashed in every way in its turn."""
    old = world.prepared("core", files={"a.py": "1\n", "gone/b.py": "1\n"})
    new = world.prepared("core", "2.0" if kind == "upgrade" else "1.0", files={"a.py": "2\n", "new/c.py": "2\n"})
    commit(old, world.root, disk=Disk("fast"))
    platform = disk_of(PORTABLE if kind == PORTABLE or sys.platform != "linux" else FULL)
    step: Step = installing(new, world)
    if kind == "uninstall":
        step = lambda disk: uninstall(world.root, ["core"], disk=disk)  # noqa: E731
    first = record(world, [step], platform)
    total, problems = Count(), []
    moments = [n for n in range(first.history.steps) if ".interlock/journal.json" in first.history.whole(n)]
    # At the first two, the journal is there and nothing makes it stay.
    for done in moments if not ROUNDS else [*moments[:2], *moments[2::3]]:
        second = record_recovery(world, first, done, platform)
        assert visible(read_tree(world.root)) == first.stages[1]
        count, wrong = crash(world, second, most=ROUNDS and max(1, ROUNDS // (2 if done in moments[:2] else 10)))
        problems += [f"killed after {done} operations, its recovery crashed {line}" for line in wrong]
        total.add(count)
    report(f"recovery, {kind}", total, problems)
    assert not problems, "\n".join(problems[:10])
    assert total.distinct > 10
