"""Commits into real environments: what arrives, what leaves, what is refused, and what a killed commit leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interlock import journal
from interlock.access import changing
from interlock.changes import changes_to_install
from interlock.durable import Disk
from interlock.environment import Environment, open_environment
from interlock.errors import (
    DependencyMissing,
    DiskError,
    EnvironmentMismatch,
    FileConflict,
    InterlockError,
    LockTimeout,
    MetadataError,
    NotAnEnvironment,
    RecordMismatch,
    UnsafePath,
)
from interlock.locks import Rank, environment_lock_path, hold
from interlock.prepared import Prepared, load_prepared
from interlock.staging import collect, staged
from interlock.transaction import commit, uninstall

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import make_prepared

from holding import held_elsewhere

DISK = Disk("fast")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Return a fresh environment, made by the standard library."""
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    return open_environment(str(tmp_path / "env"))


def listing(environment: Environment) -> dict[str, bytes]:
    """Return all files of an environment but interlock's own state and the locks."""
    root = Path(environment.path)
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in files
        if ".interlock" not in path.relative_to(root).parts and path.name != ".lock"
    }


def names(environment: Environment) -> set[str]:
    return {Path(path).name for path in listing(environment)}


def test_a_commit_brings_every_file_and_leaves_no_state(tmp_path: Path, environment: Environment) -> None:
    before = listing(environment)
    prepared = make_prepared(tmp_path / "p", environment, "core", scripts={"core": "#!/bin/sh\necho hi\n"})
    receipt = commit(prepared, environment.path, disk=DISK)
    after = listing(environment)
    new = {path.replace(os.sep, "/"): data for path, data in after.items() if path not in before}
    assert new == {file.path: Path(prepared.path_of(file)).read_bytes() for file in prepared.files}
    assert receipt.changed
    assert not os.path.exists(journal.journal_path(environment.path))
    assert os.listdir(journal.staging_directory(environment.path)) == []
    script = environment.absolute(f"{environment.layout.scripts}/core")
    assert os.name == "nt" or os.access(script, os.X_OK)


def test_the_same_bytes_again_change_nothing(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    first = commit(prepared, environment.path, disk=DISK)
    record = Path(environment.absolute(prepared.dist_info)) / "RECORD"
    inode = record.stat().st_ino
    second = commit(prepared, environment.path, disk=DISK)
    assert (second.changed, record.stat().st_ino) == (False, inode)
    assert first.as_stamp() == second.as_stamp()


@pytest.mark.parametrize("tamper", ["METADATA", "RECORD", "INSTALLER"])
def test_a_file_that_was_changed_is_put_right(tmp_path: Path, environment: Environment, tamper: str) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    commit(prepared, environment.path, disk=DISK)
    good = listing(environment)
    target = Path(environment.absolute(prepared.dist_info)) / tamper
    target.write_text("no\n", encoding="utf-8")
    assert commit(prepared, environment.path, disk=DISK).changed
    assert listing(environment) == good


def test_an_upgrade_leaves_nothing_of_the_old_version(tmp_path: Path, environment: Environment) -> None:
    old = make_prepared(
        tmp_path / "1",
        environment,
        "core",
        files={"gone/mod.py": "x=1\n", "stays.py": "1\n"},
        scripts={"old-name": "#!x\n"},
    )
    commit(old, environment.path, disk=DISK)
    site = Path(environment.site_packages[0])
    subprocess.run([environment.python, "-m", "compileall", "-q", str(site)], check=True)
    assert list((site / "gone" / "__pycache__").iterdir())
    new = make_prepared(
        tmp_path / "2", environment, "core", "2.0", files={"stays.py": "2\n"}, scripts={"new-name": "#!x\n"}
    )
    commit(new, environment.path, disk=DISK)
    assert sorted(path.name for path in site.glob("core-*")) == ["core-2.0.dist-info"]
    assert not (site / "gone").exists()
    assert (site / "stays.py").read_text(encoding="utf-8") == "2\n"
    assert "old-name" not in names(environment)
    assert "new-name" in names(environment)


def test_a_missing_requirement_is_named_and_nothing_changes(tmp_path: Path, environment: Environment) -> None:
    before = listing(environment)
    leaf = make_prepared(tmp_path / "leaf", environment, "leaf", requires=("core>=2", "other"))
    with pytest.raises(DependencyMissing) as caught:
        commit(leaf, environment.path, disk=DISK)
    assert "leaf 1.0 needs core>=2, but core is not installed" in str(caught.value)
    assert "leaf 1.0 needs other, but other is not installed" in str(caught.value)
    assert "__editable_install" in caught.value.advice
    assert listing(environment) == before
    commit(make_prepared(tmp_path / "core", environment, "core", "1.5"), environment.path, disk=DISK)
    commit(make_prepared(tmp_path / "other", environment, "other"), environment.path, disk=DISK)
    with pytest.raises(DependencyMissing, match="needs core>=2, but core 1.5 is installed"):
        commit(leaf, environment.path, disk=DISK)
    assert commit(leaf, environment.path, disk=DISK, any_version=["Core"]).changed


def test_an_extra_of_a_requirement_is_followed(tmp_path: Path, environment: Environment) -> None:
    core = make_prepared(tmp_path / "core", environment, "core", requires=())
    metadata = next(file for file in core.files if file.path.endswith("/METADATA"))
    commit(core, environment.path, disk=DISK)
    path = Path(environment.absolute(metadata.path))
    path.write_text(path.read_text() + "Provides-Extra: x\nRequires-Dist: third; extra == 'x'\n", encoding="utf-8")
    leaf = make_prepared(tmp_path / "leaf", environment, "leaf", requires=("core[x]",))
    with pytest.raises(DependencyMissing, match="needs third, but third is not installed"):
        commit(leaf, environment.path, disk=DISK)


def test_members_of_a_cycle_wait_for_each_other(tmp_path: Path, environment: Environment) -> None:
    a = make_prepared(tmp_path / "a", environment, "a", requires=("b>=2",))
    b = make_prepared(tmp_path / "b", environment, "b", requires=("a",))
    commit(a, environment.path, disk=DISK, defer=["b"])
    with pytest.raises(DependencyMissing, match="a .in a dependency cycle. needs b>=2, but b 1.0 is installed"):
        commit(b, environment.path, disk=DISK, verify=["a", "b"])
    newer = make_prepared(tmp_path / "b2", environment, "b", "2.0", requires=("a",))
    assert commit(newer, environment.path, disk=DISK, verify=["a", "b"]).changed


def test_a_path_of_another_distribution_is_refused(tmp_path: Path, environment: Environment) -> None:
    commit(make_prepared(tmp_path / "a", environment, "a", files={"shared.py": "1\n"}), environment.path, disk=DISK)
    before = listing(environment)
    with pytest.raises(FileConflict, match=r"b 1.0 and a 1.0 both ship .*shared.py"):
        commit(make_prepared(tmp_path / "b", environment, "b", files={"shared.py": "2\n"}), environment.path, disk=DISK)
    assert listing(environment) == before
    # Identical content is shared, as pdm-backend's .gitignore is.
    same = make_prepared(tmp_path / "c", environment, "c", files={"shared.py": "1\n"})
    assert commit(same, environment.path, disk=DISK).changed


def test_a_stray_file_that_nobody_owns_is_replaced_as_pip_does(tmp_path: Path, environment: Environment) -> None:
    (Path(environment.site_packages[0]) / "mod.py").write_text("stray\n", encoding="utf-8")
    commit(make_prepared(tmp_path / "a", environment, "a", files={"mod.py": "1\n"}), environment.path, disk=DISK)
    assert (Path(environment.site_packages[0]) / "mod.py").read_text(encoding="utf-8") == "1\n"


def test_a_damaged_prepared_tree_is_refused(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    before = listing(environment)
    Path(prepared.path_of(prepared.files[0])).write_text("other", encoding="utf-8")
    with pytest.raises(RecordMismatch, match="is not what its manifest says"):
        commit(prepared, environment.path, disk=DISK)
    assert listing(environment) == before


def test_another_environment_is_refused(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    venv.create(tmp_path / "env2", symlinks=os.name != "nt")
    with pytest.raises(EnvironmentMismatch, match="was prepared for"):
        commit(prepared, str(tmp_path / "env2"), disk=DISK)


def test_a_held_lock_times_out_and_nothing_changes(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    before = listing(environment)
    code = (
        "import sys, time\nfrom interlock.locks import *\n"
        "with hold(sys.argv[1], Rank.ENVIRONMENT, what='it'):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, environment_lock_path(environment.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(LockTimeout, match=f"process {child.pid}"):
            commit(prepared, environment.path, disk=DISK, timeout=0.2)
        child.kill()
    assert listing(environment) == before


def test_the_order_of_locks_holds_for_a_commit(tmp_path: Path, environment: Environment) -> None:
    with changing(environment.path, disk=DISK), pytest.raises(InterlockError, match="bug in interlock"):
        with hold(str(tmp_path / "tree.lock"), Rank.SOURCE_TREE, what="tree"):
            pass


def test_uninstall_leaves_nothing_and_refuses_unknown_names(tmp_path: Path, environment: Environment) -> None:
    before = listing(environment)
    commit(make_prepared(tmp_path / "a", environment, "a.b", scripts={"run-a": "#!x\n"}), environment.path, disk=DISK)
    with pytest.raises(InterlockError, match="not installed in .*: nope"):
        uninstall(environment.path, ["a-b", "nope"], disk=DISK)
    assert "run-a" in names(environment)
    assert [one.version for one in uninstall(environment.path, ["A_B"], disk=DISK)] == ["1.0"]
    assert listing(environment) == before


def test_a_half_written_install_of_another_tool_is_replaced(tmp_path: Path, environment: Environment) -> None:
    broken = Path(environment.site_packages[0]) / "core-0.9.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Name: core\n", encoding="utf-8")
    commit(make_prepared(tmp_path / "p", environment, "core"), environment.path, disk=DISK)
    assert not broken.exists()


class Killed(BaseException):
    """What stands for the end of a process in the middle of a commit."""


class DyingDisk(Disk):
    """Die before the n-th mutation."""

    def __init__(self, survive: int) -> None:
        super().__init__("fast")
        self.left = survive

    def _count(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1

    def write(self, path: str, data: bytes, *, executable: bool = False, mtime_ns: int | None = None) -> None:
        self._count()
        super().write(path, data, executable=executable, mtime_ns=mtime_ns)

    def copy(self, source: str, destination: str, *, executable: bool = False) -> None:
        self._count()
        super().copy(source, destination, executable=executable)

    def replace(self, source: str, destination: str) -> None:
        self._count()
        super().replace(source, destination)

    def remove(self, path: str) -> bool:
        self._count()
        return super().remove(path)

    def remove_directory(self, path: str) -> bool:
        self._count()
        return super().remove_directory(path)

    def remove_tree(self, path: str) -> None:
        self._count()
        super().remove_tree(path)

    def make_directory(self, path: str, mode: int = 0o775, *, below: str = "") -> None:
        self._count()
        super().make_directory(path, mode, below=below)


def _upgrade(base: Path, environment: Environment) -> tuple[Prepared, Prepared]:
    old = make_prepared(
        base / "1", environment, "core", files={"a.py": "1\n", "gone/b.py": "1\n"}, scripts={"old": "#!x\n"}
    )
    new = make_prepared(
        base / "2", environment, "core", "2.0", files={"a.py": "2\n", "new/c.py": "2\n"}, scripts={"new": "#!x\n"}
    )
    return old, new


def _recover(environment: Environment, deaths: int) -> None:
    """Recover, after that many recoveries that died, each one operation later than the one before."""
    for survive in range(deaths):
        try:
            with changing(environment.path, disk=DyingDisk(survive)):
                pass
        except Killed:
            continue
    with changing(environment.path, disk=DISK):
        pass
    assert not os.path.exists(journal.damaged_path(environment.path))


def visible(environment: Environment) -> list[str]:
    """Return the versions of core that a reader finds; each must be there whole."""
    versions = []
    for directory in Path(environment.site_packages[0]).glob("core-*.dist-info"):
        assert {path.name for path in directory.iterdir()} == {"METADATA", "INSTALLER", "RECORD"}
        versions.append(directory.name.removeprefix("core-").removesuffix(".dist-info"))
    return sorted(versions)


def test_a_death_at_any_operation_leaves_old_or_new_after_recovery(tmp_path: Path, environment: Environment) -> None:
    """Every prefix of an upgrade; and for each, a recovery that dies too, at every operation of its own."""
    old, new = _upgrade(tmp_path, environment)
    commit(old, environment.path, disk=DISK)
    before = listing(environment)
    commit(new, environment.path, disk=DISK)
    after = listing(environment)
    seen, read = set(), set()
    for survive in range(200):
        uninstall(environment.path, ["core"], disk=DISK)
        commit(old, environment.path, disk=DISK)
        try:
            commit(new, environment.path, disk=DyingDisk(survive))
        except Killed:
            pass
        else:
            break
        read.add(tuple(visible(environment)))
        _recover(environment, survive % 5)
        state = listing(environment)
        assert state in (before, after), f"died at operation {survive}"
        seen.add(state == after)
        assert commit(new, environment.path, disk=DISK)
        assert listing(environment) == after
    assert seen == {True, False}
    assert read == {("1.0",), ("1.0", "2.0"), ("2.0",)}
    assert survive > 15


def test_a_death_at_any_operation_of_an_uninstall_leaves_all_or_nothing(
    tmp_path: Path, environment: Environment
) -> None:
    nothing = listing(environment)
    old, _ = _upgrade(tmp_path, environment)
    commit(old, environment.path, disk=DISK)
    all_of_it = listing(environment)
    seen, read = set(), set()
    for survive in range(200):
        commit(old, environment.path, disk=DISK)
        try:
            uninstall(environment.path, ["core"], disk=DyingDisk(survive))
        except Killed:
            pass
        else:
            break
        read.add(tuple(visible(environment)))
        _recover(environment, survive % 5)
        state = listing(environment)
        assert state in (all_of_it, nothing), f"died at operation {survive}"
        seen.add(state == nothing)
    assert listing(environment) == nothing
    assert seen == {True, False}
    assert read == {("1.0",), ()}
    assert survive > 5


def _die_before(environment: Environment, prepared: Prepared, name: str) -> None:
    """Die in a commit, before the rename to a place of that name."""

    class Dying(Disk):
        def replace(self, source: str, destination: str) -> None:
            if os.path.basename(destination) == name:
                raise Killed
            super().replace(source, destination)

    with pytest.raises(Killed):
        commit(prepared, environment.path, disk=Dying("fast"))
    assert os.path.exists(journal.journal_path(environment.path))


@pytest.mark.parametrize("obstacle", ["directory", "file"])
def test_what_another_tool_put_in_the_way_of_a_recovery_goes(
    tmp_path: Path, environment: Environment, obstacle: str
) -> None:
    """As after `uv pip install -e` of the same project, between the death and the recovery."""
    prepared = make_prepared(tmp_path / "p", environment, "core")
    dist_info = Path(environment.absolute(prepared.dist_info))
    _die_before(environment, prepared, dist_info.name)
    if obstacle == "directory":
        dist_info.mkdir()
        (dist_info / "uv_cache.json").write_text("{}", encoding="utf-8")
    else:
        dist_info.write_text("no directory", encoding="utf-8")
    _recover(environment, 8)
    assert visible(environment) == ["1.0"]
    assert not commit(prepared, environment.path, disk=DISK).changed


def test_a_file_where_a_directory_has_to_be_goes_and_its_directory_comes(
    tmp_path: Path, environment: Environment
) -> None:
    site = Path(environment.site_packages[0])
    commit(make_prepared(tmp_path / "1", environment, "core", files={"a": "1\n"}), environment.path, disk=DISK)
    new = make_prepared(tmp_path / "2", environment, "core", "2.0", files={"a/b/c.py": "2\n"})
    _die_before(environment, new, "c.py")
    shutil.rmtree(site / "a")
    (site / "a").write_text("again\n", encoding="utf-8")
    _recover(environment, 8)
    assert (site / "a" / "b" / "c.py").read_text(encoding="utf-8") == "2\n"
    assert visible(environment) == ["2.0"]


def test_a_directory_in_the_place_of_a_file_that_leaves_stays(tmp_path: Path, environment: Environment) -> None:
    site = Path(environment.site_packages[0])
    commit(make_prepared(tmp_path / "1", environment, "core", files={"a": "1\n"}), environment.path, disk=DISK)
    (site / "a").unlink()
    (site / "a").mkdir()
    assert uninstall(environment.path, ["core"], disk=DISK)
    assert (site / "a").is_dir()


def test_a_journal_that_cannot_be_finished_stands_in_nobodys_way(tmp_path: Path, environment: Environment) -> None:
    core = make_prepared(tmp_path / "core", environment, "core", files={"a.py": "1\n", "b.py": "1\n"})
    other = make_prepared(tmp_path / "other", environment, "other")
    _die_before(environment, core, "b.py")
    shutil.rmtree(journal.staging_directory(environment.path))
    assert commit(other, environment.path, disk=DISK).changed
    assert journal.damaged_distribution(environment.path) == "core"
    assert uninstall(environment.path, ["other"], disk=DISK)
    assert journal.damaged_distribution(environment.path) == "core"
    assert commit(core, environment.path, disk=DISK).changed
    assert journal.damaged_distribution(environment.path) is None
    assert not os.path.exists(journal.journal_path(environment.path))


def test_a_journal_that_leads_outside_does_nothing_there(tmp_path: Path, environment: Environment) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious", encoding="utf-8")
    (Path(environment.path) / "link").symlink_to(tmp_path)
    for path in ("../victim", "link/victim"):
        entry = journal.Journal(f"{journal.STAGING}/x", (("remove", path),), ())
        os.makedirs(os.path.dirname(journal.journal_path(environment.path)), exist_ok=True)
        journal.write(environment.path, entry, disk=DISK)
        with pytest.raises(UnsafePath, match=f"would lead out of it: {path}"):
            journal.apply(environment.path, entry, disk=DISK)
        with changing(environment.path, disk=DISK):
            pass
        assert os.path.exists(journal.damaged_path(environment.path))
        assert victim.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"operations": [["dance", "x"]], "staging": "s", "directories": []}'])
def test_a_journal_that_cannot_be_read_is_set_aside(tmp_path: Path, environment: Environment, text: str) -> None:
    path = Path(journal.journal_path(environment.path))
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    with changing(environment.path, disk=DISK):
        pass
    assert not path.exists()
    assert path.with_name("journal.damaged.json").read_text(encoding="utf-8") == text
    # Whose it was cannot be told: the next commit that succeeds is the end of it.
    assert commit(make_prepared(tmp_path / "p", environment, "core"), environment.path, disk=DISK).changed
    assert not os.path.exists(journal.damaged_path(environment.path))


class RefusingDisk(Disk):
    """Refuse what matches a name, as the kernel does for a user who may not."""

    def __init__(self, operation: str, name: str) -> None:
        super().__init__("fast")
        self.refused = (operation, name)

    def _check(self, operation: str, path: str) -> None:
        if self.refused == (operation, os.path.basename(path)):
            raise DiskError(f"cannot write {path}: Permission denied")

    def probe(self, directory: str) -> None:
        self._check("probe", directory)
        super().probe(directory)

    def replace(self, source: str, destination: str) -> None:
        self._check("replace", destination)
        super().replace(source, destination)

    def make_directory(self, path: str, mode: int = 0o775, *, below: str = "") -> None:
        super().make_directory(path, mode, below=below)
        self._check("make_directory", path)


def _state(environment: Environment) -> set[str]:
    state = Path(environment.path, ".interlock")
    return {str(path.relative_to(state)) for path in state.rglob("*")} - {"environment.json", "staging"}


@pytest.mark.skipif(os.name == "nt", reason="directories have no such mode there")
def test_a_directory_that_may_not_be_written_is_found_out_before_anything_is_changed(
    tmp_path: Path, environment: Environment
) -> None:
    before = listing(environment)
    prepared = make_prepared(tmp_path / "p", environment, "core", scripts={"core": "#!x\n"})
    scripts = environment.absolute(environment.layout.scripts)
    os.chmod(scripts, 0o555)
    disk = RefusingDisk("probe", os.path.basename(scripts)) if os.geteuid() == 0 else DISK
    with pytest.raises(DiskError, match=f"cannot write {scripts}: Permission denied"):
        commit(prepared, environment.path, disk=disk)
    assert listing(environment) == before
    assert _state(environment) == set()
    os.chmod(scripts, 0o755)
    assert commit(prepared, environment.path, disk=DISK).changed


@pytest.mark.parametrize("refused", [("replace", "a.py"), ("make_directory", "pkg")])
def test_a_refusal_before_anything_is_visible_leaves_nothing(
    tmp_path: Path, environment: Environment, refused: tuple[str, str]
) -> None:
    before = listing(environment)
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a.py": "1\n", "pkg/b.py": "1\n"})
    disk = RefusingDisk(*refused)
    # Staging has a "pkg" and an "a.py" of its own.
    with staged(prepared, environment.path, DISK) as staging, changing(environment.path, disk=DISK) as held:
        change = changes_to_install(prepared, {}, held)
        entry = journal.Journal(staging, change.operations(staging), change.directories, "core")
        with pytest.raises(DiskError):
            journal.perform(held.path, entry, disk=disk)
    assert listing(environment) == before
    assert _state(environment) == set()
    assert not (Path(environment.site_packages[0]) / "pkg" / "b.py").exists()


def test_a_refusal_after_that_is_finished_by_the_next_commit(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a.py": "1\n", "b.py": "1\n"})
    other = make_prepared(tmp_path / "o", environment, "other")
    with pytest.raises(DiskError):
        commit(prepared, environment.path, disk=RefusingDisk("replace", "core-1.0.dist-info"))
    assert os.path.exists(journal.journal_path(environment.path))
    assert commit(other, environment.path, disk=DISK).changed
    assert visible(environment) == ["1.0"]
    assert not commit(prepared, environment.path, disk=DISK).changed


def test_a_refusal_that_lasts_does_not_stop_the_others(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a.py": "1\n", "b.py": "1\n"})
    other = make_prepared(tmp_path / "o", environment, "other")
    disk = RefusingDisk("replace", "core-1.0.dist-info")
    with pytest.raises(DiskError):
        commit(prepared, environment.path, disk=disk)
    assert commit(other, environment.path, disk=disk).changed
    assert journal.damaged_distribution(environment.path) == "core"


def test_a_prepared_directory_is_read_back(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core", requires=("other>=1",))
    assert load_prepared(str(tmp_path / "p")) == prepared


# What is staged


def test_an_environment_that_was_replaced_during_the_wait_is_staged_for_again(
    tmp_path: Path, environment: Environment
) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    lock = Path(environment_lock_path(environment.path))
    with changing(environment.path, disk=DISK):
        pass
    with ThreadPoolExecutor(1) as pool, held_elsewhere(lock):
        future = pool.submit(commit, prepared, environment.path, disk=DISK)
        staging = Path(journal.staging_directory(environment.path))
        while not future.done() and not list(staging.glob("*/**/RECORD")):
            time.sleep(0.001)
        os.rename(environment.path, tmp_path / "old")
        venv.create(environment.path, symlinks=os.name != "nt")
    assert future.result().changed
    assert visible(open_environment(environment.path)) == ["1.0"]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_an_environment_that_is_gone_does_not_come_back_by_staging(
    tmp_path: Path, environment: Environment, when: str
) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a/b.py": "1\n"})

    class Losing(Disk):
        def copy(self, source: str, destination: str, *, executable: bool = False) -> None:
            super().copy(source, destination, executable=executable)
            shutil.rmtree(environment.path, ignore_errors=True)

    if when == "before":
        shutil.rmtree(environment.path)
    with pytest.raises(NotAnEnvironment):
        commit(prepared, environment.path, disk=Losing("fast"))
    with pytest.raises(NotAnEnvironment), staged(prepared, environment.path, DISK):
        pass
    assert not os.path.lexists(environment.path)


def test_half_of_a_tree_is_not_staged_into_an_environment_that_came_later(
    tmp_path: Path, environment: Environment
) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a.py": "1\n", "pkg/b.py": "1\n"})
    replaced = []

    class Replacing(Disk):
        def copy(self, source: str, destination: str, *, executable: bool = False) -> None:
            super().copy(source, destination, executable=executable)
            if not replaced:
                replaced.append(os.rename(environment.path, tmp_path / "old"))
                venv.create(environment.path, symlinks=os.name != "nt")

    assert commit(prepared, environment.path, disk=Replacing("fast")).changed
    assert (Path(environment.site_packages[0]) / "a.py").exists()
    assert visible(environment) == ["1.0"]


@pytest.mark.skipif(os.name == "nt", reason="only age tells there")
def test_what_dead_processes_staged_is_removed(tmp_path: Path, environment: Environment) -> None:
    staging = Path(journal.staging_directory(environment.path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f"{dead.pid}-00ff", f"{os.getpid()}-00ff", f"{os.getppid()}-00ff", f"{os.getppid()}-11ff", "notes"):
        (staging / name / "lib").mkdir(parents=True)
    os.utime(staging / f"{os.getppid()}-11ff", (time.time() - 90_000,) * 2)
    with changing(environment.path, disk=DISK):
        pass
    assert sorted(os.listdir(staging)) == sorted([f"{os.getpid()}-00ff", f"{os.getppid()}-00ff", "notes"])
    (staging / f"{dead.pid}-00ff").mkdir()
    collect(str(staging), disk=DISK, by_process=False)
    assert (staging / f"{dead.pid}-00ff").exists()


def test_the_journal_of_another_commit_does_not_keep_what_was_staged(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    staging = Path(journal.staging_directory(environment.path))
    with staged(prepared, environment.path, DISK) as mine:
        journal.write(environment.path, journal.Journal(f"{journal.STAGING}/other", (), ()), disk=DISK)
    assert os.listdir(staging) == []
    with staged(prepared, environment.path, DISK) as mine:
        journal.write(environment.path, journal.Journal(mine, (), ()), disk=DISK)
    assert os.listdir(staging) == [os.path.basename(mine)]


# What belongs to others


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
def test_nothing_follows_a_symbolic_link_out_of_the_environment(tmp_path: Path, environment: Environment) -> None:
    site = Path(environment.site_packages[0])
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"pkg/a.py": "1\n"})
    commit(prepared, environment.path, disk=DISK)
    source = tmp_path / "source"
    os.rename(site / "pkg", source)
    (site / "pkg").symlink_to(source)
    with pytest.raises(UnsafePath, match="which a symbolic link leads out of"):
        commit(
            make_prepared(tmp_path / "2", environment, "core", "2.0", files={"pkg/a.py": "2\n"}),
            environment.path,
            disk=DISK,
        )
    uninstall(environment.path, ["core"], disk=DISK)
    assert (source / "a.py").read_text(encoding="utf-8") == "1\n"
    assert visible(environment) == []


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
def test_a_link_inside_of_the_environment_is_another_name_of_a_directory(
    tmp_path: Path, environment: Environment
) -> None:
    """As lib64 is on some systems: what was listed under one name and comes under the other, stays."""
    site = Path(environment.site_packages[0])
    commit(make_prepared(tmp_path / "1", environment, "core", files={"pkg/a.py": "1\n"}), environment.path, disk=DISK)
    (site / "alias").symlink_to("pkg")
    commit(
        make_prepared(tmp_path / "2", environment, "core", "2.0", files={"alias/a.py": "2\n"}),
        environment.path,
        disk=DISK,
    )
    assert (site / "pkg" / "a.py").read_text(encoding="utf-8") == "2\n"


def test_a_file_that_another_distribution_lists_too_stays_until_the_last_one_goes(
    tmp_path: Path, environment: Environment
) -> None:
    site = Path(environment.site_packages[0])
    shared = {"ns/__init__.py": "\n", "odd, name.py": "\n"}
    for name in ("a", "b", "c"):
        commit(make_prepared(tmp_path / name, environment, name, files=shared), environment.path, disk=DISK)
    uninstall(environment.path, ["a"], disk=DISK)
    assert (site / "ns" / "__init__.py").exists()
    assert (site / "odd, name.py").exists()
    commit(make_prepared(tmp_path / "b2", environment, "b", "2.0", files={"b.py": "1\n"}), environment.path, disk=DISK)
    assert (site / "ns" / "__init__.py").exists()
    uninstall(environment.path, ["b", "c"], disk=DISK)
    assert not (site / "ns").exists()
    assert not (site / "odd, name.py").exists()


def test_distributions_that_share_a_file_and_go_together_leave_nothing(
    tmp_path: Path, environment: Environment
) -> None:
    before = listing(environment)
    for name in ("a", "b"):
        commit(make_prepared(tmp_path / name, environment, name, files={"ns.py": "\n"}), environment.path, disk=DISK)
    uninstall(environment.path, ["a", "b"], disk=DISK)
    assert listing(environment) == before


def test_a_record_that_cannot_be_read_stops_its_own_distribution_alone(
    tmp_path: Path, environment: Environment
) -> None:
    for name in ("a", "b"):
        commit(make_prepared(tmp_path / name, environment, name), environment.path, disk=DISK)
    record = Path(environment.site_packages[0]) / "a-1.0.dist-info" / "RECORD"
    record.write_bytes(b'a,b,c,d,e\n"' + b"x" * 140_000)
    before = listing(environment)
    with pytest.raises(InterlockError, match=r"a-1.0.dist-info.RECORD cannot be read"):
        commit(make_prepared(tmp_path / "a2", environment, "a", "2.0"), environment.path, disk=DISK)
    with pytest.raises(InterlockError, match=r"a-1.0.dist-info.RECORD cannot be read"):
        uninstall(environment.path, ["b", "a"], disk=DISK)
    assert listing(environment) == before
    # Of another file than what a has: a conflict, and all RECORDs are looked at.
    (Path(environment.site_packages[0]) / "c.py").write_text("stray\n", encoding="utf-8")
    commit(make_prepared(tmp_path / "c", environment, "c", files={"c.py": "1\n"}), environment.path, disk=DISK)
    uninstall(environment.path, ["b", "c"], disk=DISK)


def test_metadata_that_cannot_be_read_is_named(tmp_path: Path, environment: Environment) -> None:
    commit(make_prepared(tmp_path / "core", environment, "core"), environment.path, disk=DISK)
    path = Path(environment.site_packages[0]) / "core-1.0.dist-info" / "METADATA"
    path.write_text(path.read_text(encoding="utf-8") + "Requires-Dist: no requirement !\n", encoding="utf-8")
    leaf = make_prepared(tmp_path / "leaf", environment, "leaf", requires=("core[x]",))
    with pytest.raises(MetadataError, match="core 1.0 has a requirement that cannot be read"):
        commit(leaf, environment.path, disk=DISK)
