"""A reinstall of the same version: the dist-info directory changes places with the new one, or its files are replaced."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock import journal, platforms
from interlock.access import changing
from interlock.durable import Disk
from interlock.environment import Environment, open_environment
from interlock.prepared import Prepared
from interlock.transaction import commit, uninstall

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
        self.left = [survive]  # in one place for all disks that are made of this one

    def _count(self) -> None:
        if self.left[0] == 0:
            raise Killed
        self.left[0] -= 1

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
    return staging / os.path.basename(new.dist_info)


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
def test_staged_files_that_a_crash_took_away_are_missed(
    environment: Environment, two: tuple[Prepared, Prepared]
) -> None:
    """As after a power loss with durability "fast": the old dist-info stays, and the commit is said to be unfinished."""
    staged = die_after_journal(environment, two, exchanged=False)
    dist_info = Path(environment.absolute(two[0].dist_info))
    before = (dist_info / "RECORD").read_bytes()
    shutil.rmtree(staged)
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
    dist_info = Path(environment.absolute(two[0].dist_info))
    (dist_info / "INSTALLER").write_text("uv", encoding="utf-8")
    record = (dist_info / "RECORD").read_bytes()
    with changing(environment.path, disk=Disk("fast")):
        pass
    assert (dist_info / "INSTALLER").read_text(encoding="utf-8") == "uv"
    assert (dist_info / "RECORD").read_bytes() == record
    assert not (dist_info.parent / "b.py").exists(), "the rest of the commit was done"
    assert not os.path.lexists(journal.journal_path(environment.path))


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
@pytest.mark.parametrize("platform", [pytest.param(platforms.Posix(), marks=needs_exchange), Portable()])
def test_what_cannot_be_read_in_a_dist_info_does_not_stop_a_reinstall(
    environment: Environment, two: tuple[Prepared, Prepared], platform: platforms.Platform
) -> None:
    """An editor's lock is a link to nowhere; a pipe would never end."""
    old, new = two
    commit(old, environment.path, disk=Disk("fast"))
    dist_info = Path(environment.absolute(old.dist_info))
    (dist_info / ".#METADATA").symlink_to("/nowhere")
    os.mkfifo(dist_info / "pipe")
    assert commit(new, environment.path, disk=Disk("fast", platform)).changed
    assert visible(environment) == ["1.0"]


@contextlib.contextmanager
def overlay_over(lower: str, base: Path) -> Iterator[str]:
    """Lay an overlayfs over a directory, as a container does over its image."""
    for name in ("upper", "work", "merged"):
        (base / name).mkdir()
    options = f"lowerdir={lower},upperdir={base}/upper,workdir={base}/work,redirect_dir=off"
    command = ["mount", "-t", "overlay", "overlay", "-o", options, str(base / "merged")]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs root and overlayfs on Linux")
    try:
        yield str(base / "merged")
    finally:
        subprocess.run(["umount", "-l", str(base / "merged")], check=True)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_an_environment_that_an_image_brought_can_be_changed(
    tmp_path: Path, environment: Environment, version: str
) -> None:
    """overlayfs renames no directory of a lower layer (EXDEV)."""
    commit(make_prepared(tmp_path / "1", environment, "core"), environment.path, disk=Disk("fast"))
    with overlay_over(environment.path, tmp_path) as path:
        merged = open_environment(path)
        new = make_prepared(tmp_path / "2", merged, "core", version, files={"b.py": "2\n"})
        assert commit(new, path, disk=Disk("full")).changed
        assert visible(merged) == [version]
        assert not Path(merged.site_packages[0], "__editable__.core.pth").exists()
        uninstall(path, ["core"], disk=Disk("full"))
        assert visible(merged) == []
        assert not os.path.lexists(journal.damaged_path(path))
