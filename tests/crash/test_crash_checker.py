"""The crash-state checker can fail: protocols that are wrong on purpose, toys and the product's own with one step left out."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from crash_states import Count, History, read_tree
from crash_worlds import (
    ROUNDS,
    Portable,
    World,
    crash,
    record,
    record_recovery,
)
from recorded_os import RecordedOs, Recorder

from interlock import journal
from interlock.durable import Disk
from interlock.engine import find_engine
from interlock.journal import Journal
from interlock.platforms import Posix
from interlock.requirements import engine_at_work
from interlock.transaction import commit, uninstall

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(sys.platform == "win32", reason="NTFS has no directory sync to reason about"),
    pytest.mark.usefixtures("remembered_interpreters"),
]

# Toys: how one file is replaced, with the calls of `os`.

CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


class Toy:
    """A directory with one file, `name`, that says "old"."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "name").write_bytes(b"old")
        self.recorder = Recorder()
        self.os = RecordedOs(self.recorder)

    def write(self, name: str, content: bytes = b"new content", *, sync: bool = True) -> None:
        descriptor = self.os.open(str(self.root / name), CREATE, 0o644)
        self.os.write(descriptor, content)
        if sync:
            self.os.fsync(descriptor)
        self.os.close(descriptor)

    def sync(self, name: str = "") -> None:
        descriptor = self.os.open(str(self.root / name), os.O_RDONLY)
        self.os.fsync(descriptor)
        self.os.close(descriptor)

    def rename(self, name: str = "temporary", other: str = "name") -> None:
        self.os.replace(str(self.root / name), str(self.root / other))

    def outcomes(self, protocol: Callable[[Toy], None]) -> tuple[set[bytes], set[bytes]]:
        """Return what `name` may hold after a crash in the protocol, and after one that comes when it has returned."""
        before = read_tree(str(self.root))
        protocol(self)
        history = History(str(self.root), before, self.recorder.events)
        assert history.whole(history.steps) == read_tree(str(self.root))
        found = {
            done: {tree.get("name", ("", b"missing", 0))[1] for tree in history.states(done, Count())}
            for done in history.moments()
        }
        return set().union(*found.values()), found[history.steps]


def right(toy: Toy) -> None:
    toy.write("temporary")
    toy.rename()
    toy.sync()


def no_file_sync(toy: Toy) -> None:
    toy.write("temporary", sync=False)
    toy.rename()
    toy.sync()


def no_directory_sync(toy: Toy) -> None:
    toy.write("temporary")
    toy.rename()


def rename_before_sync(toy: Toy) -> None:
    toy.write("temporary", sync=False)
    toy.rename()
    toy.sync("name")
    toy.sync()


def in_place(toy: Toy) -> None:
    toy.write("name")
    toy.sync()


def unlink_first(toy: Toy) -> None:
    toy.write("temporary")
    toy.os.unlink(str(toy.root / "name"))
    toy.rename()
    toy.sync()


OLD, NEW = b"old", b"new content"
TORN = {b"", NEW[: len(NEW) // 2]}


@pytest.mark.parametrize(
    ("protocol", "during", "after"),
    [
        (right, {OLD, NEW}, {NEW}),
        (no_file_sync, {OLD, NEW, *TORN}, {NEW, *TORN}),
        (no_directory_sync, {OLD, NEW}, {OLD, NEW}),
        (rename_before_sync, {OLD, NEW, *TORN}, {NEW}),
        (in_place, {OLD, NEW, *TORN}, {NEW}),
        (unlink_first, {OLD, NEW, b"missing"}, {NEW}),
    ],
)
def test_the_model_of_one_file(
    tmp_path: Path, protocol: Callable[[Toy], None], during: set[bytes], after: set[bytes]
) -> None:
    assert Toy(tmp_path).outcomes(protocol) == (during, after)


def states_of(root: Path, protocol: Callable[[RecordedOs, str], None]) -> set[frozenset[str]]:
    """Return the paths that may be there after a crash that comes when a protocol has returned."""
    before, recorder = read_tree(str(root)), Recorder()
    protocol(RecordedOs(recorder), str(root))
    history = History(str(root), before, recorder.events)
    return {frozenset(tree) for tree in history.states(history.steps, Count())}


def test_a_rename_that_outlives_the_creation_of_what_it_renames(tmp_path: Path) -> None:
    def protocol(system: RecordedOs, root: str) -> None:
        system.mkdir(f"{root}/sub")
        system.close(system.open(f"{root}/sub/one", CREATE, 0o644))
        system.replace(f"{root}/sub/one", f"{root}/two")

    found = states_of(tmp_path, protocol)
    # The file under its new name without the directory that it was made in; under the old one; nothing at all.
    assert found == {frozenset(paths) for paths in [(), ("sub",), ("sub", "sub/one"), ("two",), ("sub", "two")]}


def test_what_is_in_a_directory_that_was_lost_is_out_of_reach(tmp_path: Path) -> None:
    def protocol(system: RecordedOs, root: str) -> None:
        system.mkdir(f"{root}/sub")
        system.close(system.open(f"{root}/sub/one", CREATE, 0o644))
        descriptor = system.open(f"{root}/sub", os.O_RDONLY)
        system.fsync(descriptor)
        system.close(descriptor)

    assert states_of(tmp_path, protocol) == {frozenset(), frozenset({"sub", "sub/one"})}


def test_a_rename_out_of_a_directory_that_alone_was_synced(tmp_path: Path) -> None:
    """It is gone from there for certain, and its arrival is not."""
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "from" / "file").write_bytes(b"x")

    def protocol(system: RecordedOs, root: str) -> None:
        system.replace(f"{root}/from/file", f"{root}/to/file")
        descriptor = system.open(f"{root}/from", os.O_RDONLY)
        system.fsync(descriptor)
        system.close(descriptor)

    assert states_of(tmp_path, protocol) == {frozenset({"from", "to"}), frozenset({"from", "to", "to/file"})}


def test_more_combinations_than_can_be_looked_at_are_sampled(tmp_path: Path) -> None:
    def protocol(system: RecordedOs, root: str) -> None:
        for number in range(16):
            system.mkdir(f"{root}/{number}")

    found = states_of(tmp_path, protocol)
    assert {len(paths) for paths in found} >= {0, 1, 2, 14, 15, 16}
    assert 1000 < len(found) < 2**16


# The product, with one step left out


class Forgetful(Disk):
    """A disk that skips the directory sync that one function of the product asks for, and counts."""

    def __init__(self, caller: str, platform: Posix | None = None) -> None:
        super().__init__("full", platform or Posix())
        self.caller, self.skipped = caller, 0

    def sync_directory(self, path: str) -> None:
        if sys._getframe(1).f_code.co_name == self.caller:
            self.skipped += 1
        else:
            super().sync_directory(path)


class NoFileSync(Posix):
    """A platform whose files are never synced, while directories are."""

    def sync_file(self, descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            super().sync_file(descriptor)


def problems_of(world: World, disk: Disk, *, seen: bool = True) -> list[str]:
    """Return the first thing that is wrong with an upgrade (a first install where the environment was not seen before)."""
    old = world.prepared("core", files={"a.py": "1\n", "b.py": "1\n"})
    new = world.prepared("core", "2.0", files={"a.py": "2\n", "new/c.py": "2\n"})
    if seen:
        commit(old, world.root, disk=Disk("fast"))
    recording = record(world, [lambda disk: commit(new, world.root, disk=disk)], disk)
    return crash(world, recording, most=0, first=True)[1]


def test_the_files_are_synced(world: World) -> None:
    assert problems_of(world, Disk("full", NoFileSync()))


@pytest.mark.parametrize(
    "caller",
    [
        "write",  # the journal's directory, before the first rename
        "_do_all",  # what was renamed, before the journal goes
        "_directory",  # a new directory, before something is renamed into it
    ],
)
def test_each_directory_sync_of_a_commit_is_needed(world: World, caller: str) -> None:
    disk = Forgetful(caller)
    found = problems_of(world, disk)
    assert disk.skipped
    assert found


def test_a_journal_that_comes_back_would_undo_what_another_tool_did_since(world: World) -> None:
    """Why the removal of the journal is synced before a commit returns."""
    old = world.prepared("core", files={"a.py": "1\n", "b.py": "1\n"})
    new = world.prepared("core", "2.0", files={"a.py": "2\n"})
    commit(old, world.root, disk=Disk("fast"))
    by_hand = os.path.join(world.environment.site_packages[0], "b.py")
    found = []
    for disk in (Forgetful("sync_removal"), Forgetful("")):
        recording = record(
            world,
            [lambda disk: commit(new, world.root, disk=disk), lambda disk: disk.publish(by_hand, b"mine\n")],
            disk,
        )
        recording.since = recording.history.steps  # both have returned
        found.append(crash(world, recording, most=0, first=True)[1])
        commit(old, world.root, disk=Disk("fast"))
    assert found[0]
    assert not found[1]


@pytest.mark.parametrize("what", ["upgrade", "another", "uninstall"])
def test_a_journal_that_comes_back_undoes_no_commit_that_came_since(world: World, what: str) -> None:
    """Why the removal of the journal may be synced when somebody else has the lock: his own journal takes its place."""
    old = world.prepared("core", files={"a.py": "1\n", "b.py": "1\n"})
    new = world.prepared("core", "2.0", files={"a.py": "2\n"})
    third = world.prepared("core", "3.0", files={"a.py": "3\n", "b.py": "3\n"})
    other = world.prepared("other", files={"b.py": "4\n"})
    commit(old, world.root, disk=Disk("fast"))
    next_ones: dict[str, Callable[[Disk], object]] = {
        "upgrade": lambda disk: commit(third, world.root, disk=disk),
        "another": lambda disk: commit(other, world.root, disk=disk),
        "uninstall": lambda disk: uninstall(world.root, ["core"], disk=disk),
    }
    disk = Forgetful("sync_removal")
    recording = record(world, [lambda disk: commit(new, world.root, disk=disk), next_ones[what]], disk)
    assert disk.skipped == 2
    assert not crash(world, recording, most=ROUNDS)[1]


def test_a_journal_that_comes_back_undoes_nothing_that_an_engine_did_since(world: World) -> None:
    """Its author was killed before he synced its removal, and uv and pip write none that would take its place."""
    old = world.prepared("core", files={"a.py": "1\n", "b.py": "1\n"})
    new = world.prepared("core", "2.0", files={"a.py": "2\n"})
    commit(old, world.root, disk=Disk("fast"))
    by_hand = os.path.join(world.environment.site_packages[0], "b.py")
    disk, engine = Forgetful("sync_removal"), find_engine("pip", interpreter=world.environment.interpreter)

    def requirements(disk: Disk) -> None:
        if isinstance(disk, Forgetful):
            disk.caller = ""  # another process, which forgets nothing
        with engine_at_work(world.root, engine, disk, None):
            disk.publish(by_hand, b"mine\n")

    recording = record(world, [lambda disk: commit(new, world.root, disk=disk), requirements], disk)
    recording.since = recording.history.steps  # both have returned
    assert disk.skipped == 1
    assert not crash(world, recording, most=ROUNDS)[1]


def test_the_directory_syncs_of_staging_are_needed(unknown_world: World) -> None:
    disk = Forgetful("_fill")
    found = problems_of(unknown_world, disk, seen=False)
    assert disk.skipped
    assert found


def test_the_directory_sync_of_a_recovery_is_needed(world: World) -> None:
    """Its journal can be read, and is not durable: its author was killed between the two."""
    old = world.prepared("core", files={"a.py": "1\n"})
    new = world.prepared("core", "2.0", files={"a.py": "2\n", "b.py": "2\n"})
    commit(old, world.root, disk=Disk("fast"))
    first = record(world, [lambda disk: commit(new, world.root, disk=disk)], Disk("full", Posix()))
    done = next(n for n in range(first.history.steps) if ".interlock/journal.json" in first.history.whole(n))
    disk = Forgetful("recover")
    recording = record_recovery(world, first, done, disk)
    assert disk.skipped
    assert crash(world, recording, most=0, first=True)[1]
    assert not crash(world, record_recovery(world, first, done, Disk("full", Posix())), most=ROUNDS)[1]


def test_the_journal_is_written_before_the_first_rename(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    write = journal.write

    def first_rename_first(environment: str, entry: Journal, *, disk: Disk) -> None:
        first = next(operation for operation in entry.operations if operation[0] == "replace")
        disk.replace(*(os.path.join(environment, path) for path in first[1:]))
        write(environment, entry, disk=disk)

    monkeypatch.setattr(journal, "write", first_rename_first)
    assert problems_of(world, Disk("full", Posix()))


def test_the_journal_is_removed_after_the_sync(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    do_all, sync_removal, entries = journal._do_all, journal.sync_removal, list[Journal]()

    def without_syncs(environment: str, entry: Journal, done: list[journal.Operation], disk: Disk) -> None:
        entries.append(entry)
        do_all(environment, replace(entry, directories=()), done, disk)

    def syncs_after(environment: str, *, disk: Disk) -> None:
        sync_removal(environment, disk=disk)
        for directory in entries[-1].directories:
            disk.sync_directory(os.path.join(environment, directory))

    monkeypatch.setattr(journal, "_do_all", without_syncs)
    monkeypatch.setattr(journal, "sync_removal", syncs_after)
    assert problems_of(world, Disk("full", Posix()))


def test_the_files_of_a_dist_info_that_changes_places_are_synced(world: World) -> None:
    old = world.prepared("core", files={"a.py": "1\n"})
    new = world.prepared("core", files={"a.py": "2\n"})
    commit(old, world.root, disk=Disk("fast"))
    for platform in (NoFileSync(), type("PortableNoFileSync", (NoFileSync, Portable), {})()):
        recording = record(world, [lambda disk: commit(new, world.root, disk=disk)], Disk("full", platform))
        assert crash(world, recording, most=0, first=True)[1]
