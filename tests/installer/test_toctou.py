"""Between looking and changing: what a commit relies on is looked at under the lock under which it then changes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from interlock.durable import Disk
from interlock.environment import Environment
from interlock.errors import ChangedMeanwhile, DependencyMissing, FileConflict
from interlock.lock_state import state
from interlock.locks import environment_lock_path, uv_lock_path
from interlock.transaction import commit, uninstall

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import listing, make_prepared, visible

DISK = Disk("fast")


class Interleaving(Disk):
    """Let something else happen in the middle of a commit: once, at the first of these operations on a path of that name."""

    def __init__(self, operation: str, name: str, then: Callable[[], object]) -> None:
        super().__init__("fast")
        self.moment: tuple[str, str] | None = (operation, name)
        self.then = then

    def _may_be(self, operation: str, path: str) -> None:
        if self.moment == (operation, os.path.basename(path)):
            self.moment = None
            self.then()

    def write_chunks(
        self, path: str, chunks: Iterable[bytes], *, executable: bool = False, mtime_ns: int | None = None
    ) -> None:
        super().write_chunks(path, chunks, executable=executable, mtime_ns=mtime_ns)
        self._may_be("stage", path)

    def replace(self, source: str, destination: str) -> None:
        super().replace(source, destination)
        self._may_be("rename", destination)


def test_a_dependency_that_is_uninstalled_between_prepare_and_commit_is_missed(
    tmp_path: Path, environment: Environment
) -> None:
    commit(make_prepared(tmp_path / "core", environment, "core"), environment.path, disk=DISK)
    leaf = make_prepared(tmp_path / "leaf", environment, "leaf", requires=("core",))
    seen: list[dict[str, bytes]] = []

    def remove() -> None:
        uninstall(environment.path, ["core"], disk=DISK)
        seen.append(listing(environment))

    with pytest.raises(DependencyMissing, match="needs core, but core is not installed"):
        commit(leaf, environment.path, disk=Interleaving("stage", "RECORD", remove))
    assert listing(environment) == seen[0]


def test_a_dependency_that_arrives_meanwhile_is_found(tmp_path: Path, environment: Environment) -> None:
    core = make_prepared(tmp_path / "core", environment, "core", "2.0")
    leaf = make_prepared(tmp_path / "leaf", environment, "leaf", requires=("core>=2",))
    disk = Interleaving("stage", "RECORD", lambda: commit(core, environment.path, disk=DISK))
    assert commit(leaf, environment.path, disk=disk).changed


def test_a_file_that_another_distribution_brings_meanwhile_is_a_conflict(
    tmp_path: Path, environment: Environment
) -> None:
    one = make_prepared(tmp_path / "one", environment, "one", files={"shared.py": "1\n"})
    other = make_prepared(tmp_path / "other", environment, "other", files={"shared.py": "2\n"})
    disk = Interleaving("stage", "RECORD", lambda: commit(other, environment.path, disk=DISK))
    with pytest.raises(FileConflict, match=r"one 1.0 and other 1.0 both ship .*shared.py"):
        commit(one, environment.path, disk=disk)
    assert Path(environment.site_packages[0], "shared.py").read_text(encoding="utf-8") == "2\n"


def test_another_version_that_is_committed_meanwhile_is_replaced_whole(
    tmp_path: Path, environment: Environment
) -> None:
    old = make_prepared(tmp_path / "1", environment, "core", "1.0", files={"a.py": "1\n"})
    new = make_prepared(tmp_path / "2", environment, "core", "2.0", files={"b.py": "2\n"})
    disk = Interleaving("stage", "RECORD", lambda: commit(old, environment.path, disk=DISK))
    assert commit(new, environment.path, disk=disk).changed
    assert visible(environment) == ["2.0"]
    assert not Path(environment.site_packages[0], "a.py").exists()


def test_looking_and_changing_are_under_both_locks(tmp_path: Path, environment: Environment) -> None:
    seen: list[tuple[str, str]] = []
    locks = [environment_lock_path(environment.path), uv_lock_path(environment.path)]
    prepared = make_prepared(tmp_path / "p", environment, "core")
    dist_info = os.path.basename(prepared.dist_info)
    disk = Interleaving("rename", dist_info, lambda: seen.append((state(locks[0]), state(locks[1]))))
    commit(prepared, environment.path, disk=disk)
    assert seen == [("exclusive", "exclusive")]


@pytest.mark.parametrize("what", ["another version", "a file", "nothing left"])
def test_what_a_tool_without_a_lock_does_in_the_middle_is_noticed(
    tmp_path: Path, environment: Environment, what: str
) -> None:
    """As pip does, which takes no lock."""
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a.py": "1\n"})
    site = Path(environment.site_packages[0])

    def disturb() -> None:
        if what == "another version":
            (site / "core-0.9.dist-info").mkdir()
        elif what == "a file":
            (site / "a.py").write_text("2\n", encoding="utf-8")
        else:
            (site / "a.py").unlink()

    disk = Interleaving("rename", os.path.basename(prepared.dist_info), disturb)
    with pytest.raises(ChangedMeanwhile, match="another tool changed it at the same moment") as caught:
        commit(prepared, environment.path, disk=disk)
    assert caught.value.exit_code == 63
    commit(prepared, environment.path, disk=DISK)
    assert visible(environment) == ["1.0"]
    assert (site / "a.py").read_text(encoding="utf-8") == "1\n"
