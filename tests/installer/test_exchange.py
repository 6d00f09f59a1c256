"""A reinstall of the same version: the dist-info directory changes places with the new one, or its files are replaced."""

from __future__ import annotations

import os
import shutil
import sys
import venv
from pathlib import Path

import pytest

from interlock import journal, platforms
from interlock.access import changing
from interlock.durable import Disk
from interlock.environment import Environment, open_environment
from interlock.prepared import Prepared
from interlock.transaction import commit

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import listing, make_prepared, visible


class Portable(platforms.Posix):
    """A platform that cannot exchange."""

    def exchange(self, one: str, other: str) -> bool:
        return False


class Killed(BaseException):
    """What stands for the end of a process in the middle of a commit."""


class DyingDisk(Disk):
    """Die before the n-th rename, exchange or removal."""

    def __init__(self, platform: platforms.Platform, survive: int) -> None:
        super().__init__("fast", platform)
        self.left = survive

    def _count(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1

    def replace(self, source: str, destination: str) -> None:
        self._count()
        super().replace(source, destination)

    def exchange(self, one: str, other: str) -> bool:
        self._count()
        done = super().exchange(one, other)
        self._count()
        return done

    def remove(self, path: str) -> bool:
        self._count()
        return super().remove(path)

    def remove_tree(self, path: str) -> None:
        self._count()
        super().remove_tree(path)


needs_exchange = pytest.mark.skipif(sys.platform != "linux", reason="renamex_np and renameat2 differ by file system")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Return a fresh environment, made by the standard library."""
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    return open_environment(str(tmp_path / "env"))


@pytest.fixture
def two(tmp_path: Path, environment: Environment) -> tuple[Prepared, Prepared]:
    """Return two different distributions of one name and version."""
    old = make_prepared(
        tmp_path / "1", environment, "core", files={"a.py": "1\n", "b.py": "1\n"}, scripts={"old": "#!x\n"}
    )
    new = make_prepared(
        tmp_path / "2", environment, "core", files={"a.py": "2\n", "c.py": "2\n"}, scripts={"new": "#!x\n"}
    )
    return old, new


@needs_exchange
def test_the_dist_info_changes_places_in_one_step(environment: Environment, two: tuple[Prepared, Prepared]) -> None:
    old, new = two
    commit(old, environment.path, disk=Disk("fast"))
    dist_info = environment.absolute(old.dist_info)
    held, before = os.open(dist_info, os.O_RDONLY), os.stat(dist_info).st_ino
    try:
        exchanged: list[str] = []

        class Watching(Disk):
            def exchange(self, one: str, other: str) -> bool:
                exchanged.append(os.path.basename(other))
                assert sorted(os.listdir(dist_info)) == sorted(os.listdir(held)), "touched before the exchange"
                return super().exchange(one, other)

        commit(new, environment.path, disk=Watching("fast"))
        assert exchanged == [os.path.basename(dist_info)]
        assert os.stat(dist_info).st_ino != before
    finally:
        os.close(held)
    assert os.listdir(journal.staging_directory(environment.path)) == []
    assert visible(environment) == ["1.0"]


@pytest.mark.parametrize("platform", [pytest.param(platforms.Posix(), marks=needs_exchange), Portable()])
def test_a_death_at_any_operation_of_a_reinstall(
    environment: Environment, two: tuple[Prepared, Prepared], platform: platforms.Platform
) -> None:
    old, new = two
    disk = Disk("fast", platform)
    states = []
    for prepared in two:
        commit(prepared, environment.path, disk=disk)
        states.append(listing(environment))
    before, after = states
    seen = set()
    for survive in range(100):
        commit(old, environment.path, disk=disk)
        try:
            commit(new, environment.path, disk=DyingDisk(platform, survive))
        except Killed:
            pass
        else:
            break
        for again in range(survive % 4):
            try:
                with changing(environment.path, disk=DyingDisk(platform, again)):
                    pass
            except Killed:
                continue
        with changing(environment.path, disk=disk):
            state = listing(environment)
        assert state in (before, after), f"died at operation {survive}"
        assert not os.path.exists(journal.damaged_path(environment.path))
        seen.add(state == after)
    assert seen == {True, False}
    assert survive > 7


def die_after_journal(environment: Environment, two: tuple[Prepared, Prepared], *, exchanged: bool) -> Path:
    """Leave a journal whose exchange is done, or is not; return the staged dist-info."""
    old, new = two
    commit(old, environment.path, disk=Disk("fast"))

    class Dying(Disk):
        def exchange(self, one: str, other: str) -> bool:
            if exchanged:
                super().exchange(one, other)
            raise Killed

    with pytest.raises(Killed):
        commit(new, environment.path, disk=Dying("fast"))
    staging = Path(environment.path, *journal.staging_of(environment.path).split("/"))
    return staging.joinpath(*new.dist_info.split("/"))


@needs_exchange
@pytest.mark.parametrize("exchanged", [True, False])
def test_a_recovery_where_nothing_can_be_exchanged(
    environment: Environment, two: tuple[Prepared, Prepared], exchanged: bool
) -> None:
    die_after_journal(environment, two, exchanged=exchanged)
    with changing(environment.path, disk=Disk("fast", Portable())):
        pass
    assert visible(environment) == ["1.0"]
    assert not commit(two[1], environment.path, disk=Disk("fast")).changed


@needs_exchange
def test_a_dist_info_that_went_away_before_the_recovery_comes_back(
    environment: Environment, two: tuple[Prepared, Prepared]
) -> None:
    die_after_journal(environment, two, exchanged=False)
    shutil.rmtree(environment.absolute(two[1].dist_info))
    with changing(environment.path, disk=Disk("fast")):
        pass
    assert not commit(two[1], environment.path, disk=Disk("fast")).changed


@needs_exchange
def test_staged_files_that_a_crash_damaged_are_not_put_in_place(
    environment: Environment, two: tuple[Prepared, Prepared]
) -> None:
    """As after a power loss with durability "fast": the old dist-info stays, and the commit is said to be unfinished."""
    staged = die_after_journal(environment, two, exchanged=False)
    dist_info = Path(environment.absolute(two[0].dist_info))
    before = (dist_info / "RECORD").read_bytes()
    (staged / "RECORD").write_bytes(b"")
    with changing(environment.path, disk=Disk("fast")):
        pass
    assert (dist_info / "RECORD").read_bytes() == before
    assert journal.damaged_distribution(environment.path) == "core"
    assert commit(two[1], environment.path, disk=Disk("fast")).changed
    assert journal.damaged_distribution(environment.path) is None


@needs_exchange
def test_what_another_tool_put_there_after_the_exchange_stays(
    environment: Environment, two: tuple[Prepared, Prepared]
) -> None:
    """`uv pip install` of the same version between the death and the recovery: its dist-info is not swapped for the old."""
    die_after_journal(environment, two, exchanged=True)
    installer = Path(environment.absolute(two[0].dist_info)) / "INSTALLER"
    installer.write_text("uv", encoding="utf-8")
    with changing(environment.path, disk=Disk("fast")):
        pass
    assert installer.read_text(encoding="utf-8") == "uv"
    assert journal.damaged_distribution(environment.path) == "core"
