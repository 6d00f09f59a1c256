"""Deaths, refusals and obstacles in the middle of a commit: old or new, and nobody is stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from interlock import journal, locks, transaction
from interlock.access import changing
from interlock.changes import changes_to_install
from interlock.durable import Disk
from interlock.environment import Environment
from interlock.errors import DiskError, UnsafePath
from interlock.locks import Rank, environment_lock_path, uv_lock_path
from interlock.prepared import Prepared
from interlock.staging import staged
from interlock.transaction import commit, uninstall

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import listing, make_prepared, visible

DISK = Disk("fast")


class Killed(BaseException):
    """What stands for the end of a process in the middle of a commit."""


class DyingDisk(Disk):
    """Die before the n-th mutation."""

    def __init__(self, survive: int) -> None:
        super().__init__("fast")
        self.left = [survive]  # in one place for all disks that are made of this one

    def _count(self) -> None:
        if self.left[0] == 0:
            raise Killed
        self.left[0] -= 1

    def write(self, path: str, data: bytes, *, executable: bool = False, mtime_ns: int | None = None) -> None:
        self._count()
        super().write(path, data, executable=executable, mtime_ns=mtime_ns)

    def write_chunks(
        self, path: str, chunks: Iterable[bytes], *, executable: bool = False, mtime_ns: int | None = None
    ) -> None:
        self._count()
        super().write_chunks(path, chunks, executable=executable, mtime_ns=mtime_ns)

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
        commit(new, environment.path, disk=DISK)
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


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"operations": [["dance", "x"]], "staging": ".interlock/staging/s", "directories": []}'),
        *('{"operations": [[]], "staging": ".interlock/staging/s", "directories": []}', "[" * 5000),
        *(
            f'{{"operations": [], "staging": "{name}", "directories": []}}'
            for name in (".", "", "lib", ".interlock/staging/..")
        ),
    ],
)
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

    def probe(self, directory: str, *, by_trying: bool = True) -> None:
        self._check("probe", directory)
        super().probe(directory, by_trying=by_trying)

    def replace(self, source: str, destination: str) -> None:
        self._check("replace", destination)
        super().replace(source, destination)

    def make_directory(self, path: str, mode: int = 0o775, *, below: str = "") -> None:
        super().make_directory(path, mode, below=below)
        self._check("make_directory", path)


def _state(environment: Environment) -> set[str]:
    state = Path(environment.path, ".interlock")
    return {str(path.relative_to(state)) for path in state.rglob("*")} - {"environment.json", "gate.lock", "staging"}


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


# Landlock (Linux 5.19 and later): this process may change nothing but what is below the paths, whoever it is run by.
CONFINED = """
import ctypes, os, struct, sys
from interlock.durable import Disk
from interlock.errors import DiskError
from interlock.prepared import load_prepared
from interlock.transaction import commit
prepared, environment, scripts, *paths = sys.argv[1:]
libc, changes = ctypes.CDLL(None), 0b11111111110010
ruleset = libc.syscall(444, struct.pack("Q", changes), 8, 0)
for path in paths:
    allowed = changes if os.path.isdir(path) else 2
    libc.syscall(445, ruleset, 1, struct.pack("<Qi", allowed, os.open(path, os.O_PATH)), 0)
libc.prctl(38, 1, 0, 0, 0)
if ruleset < 0 or libc.syscall(446, ruleset, 0):
    sys.exit("no Landlock")
assert os.access(scripts, os.W_OK)
try:
    commit(load_prepared(prepared), environment, disk=Disk("fast"))
except DiskError as error:
    print(error.message)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is Linux's")
def test_a_directory_is_tried_where_the_system_would_say_that_it_can_be_written(
    tmp_path: Path, environment: Environment
) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a.py": "1\n"}, scripts={"core": "#!x\n"})
    scripts = environment.absolute(environment.layout.scripts)
    with changing(environment.path, disk=DISK):
        before = listing(environment)
    open_for_it = [environment.site_packages[0], os.path.join(environment.path, ".interlock")]
    open_for_it += [environment_lock_path(environment.path), uv_lock_path(environment.path)]
    words = [prepared.path, environment.path, scripts, *open_for_it]
    confined = subprocess.run([sys.executable, "-c", CONFINED, *words], capture_output=True, text=True, check=False)
    if "no Landlock" in confined.stderr:
        pytest.skip("no Landlock here")
    assert (confined.stderr, confined.stdout) == ("", f"cannot write {scripts}: Permission denied\n")
    assert listing(environment) == before
    assert _state(environment) == set()


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


class WatchingDisk(Disk):
    """Write down what is renamed, written and removed while the lock is held."""

    def __init__(self) -> None:
        super().__init__("full")
        self.log: list[tuple[str, str]] = []

    def _note(self, what: str, path: str) -> None:
        held = any(rank is Rank.ENVIRONMENT for rank, _ in locks._held.locks)
        if held:
            self.log.append((what, os.path.basename(path)))

    def write(self, path: str, data: bytes, *, executable: bool = False, mtime_ns: int | None = None) -> None:
        self._note("write", path)
        super().write(path, data, executable=executable, mtime_ns=mtime_ns)

    def replace(self, source: str, destination: str) -> None:
        self._note("rename", destination)
        super().replace(source, destination)

    def sync_directory(self, path: str) -> None:
        self._note("sync", path)
        super().sync_directory(path)

    def remove(self, path: str) -> bool:
        self._note("remove", path)
        return super().remove(path)

    def remove_tree(self, path: str) -> None:
        self._note("remove all", path)
        super().remove_tree(path)


def test_only_what_needs_the_lock_is_done_under_it(tmp_path: Path, environment: Environment) -> None:
    """The journal is on the disk before; its removal is synced, and what it replaced removed, after."""
    old = make_prepared(tmp_path / "1", environment, "core", files={"a.py": "1\n"})
    new = make_prepared(tmp_path / "2", environment, "core", "2.0", files={"a.py": "2\n"})
    commit(old, environment.path, disk=DISK)
    commit(new, environment.path, disk=(disk := WatchingDisk()))
    renamed = [path for what, path in disk.log if what == "rename"]
    assert renamed[:3] == ["journal.json", "a.py", "core-2.0.dist-info"]
    assert len(renamed) == 4  # the old dist-info
    assert [one for one in disk.log if one[0] != "rename"] == [
        ("sync", ".interlock"),
        ("sync", "site-packages"),
        ("remove", "journal.json"),
    ]
    assert _state(environment) == set()
    assert os.listdir(journal.staging_directory(environment.path)) == []


def test_a_journal_that_was_not_to_be_expected_is_written_under_the_lock(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another commit changed between the first look and the lock counts."""
    first = make_prepared(tmp_path / "1", environment, "core", files={"a.py": "1\n"})
    second = make_prepared(tmp_path / "2", environment, "core", "2.0", files={"b.py": "2\n"})
    changing_ = transaction.changing

    def later(path: str, **options: Any) -> Any:
        monkeypatch.setattr(transaction, "changing", changing_)
        commit(first, environment.path, disk=DISK)
        return changing_(path, **options)

    monkeypatch.setattr(transaction, "changing", later)
    commit(second, environment.path, disk=(disk := WatchingDisk()))
    assert [path.endswith(".tmp") for what, path in disk.log if what == "write"] == [True]
    assert visible(environment) == ["2.0"]
    assert not (Path(environment.site_packages[0]) / "a.py").exists()


def test_a_conflict_that_is_gone_when_the_lock_is_held_is_none(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(make_prepared(tmp_path / "1", environment, "other", files={"a.py": "1\n"}), environment.path, disk=DISK)
    changing_ = transaction.changing

    def later(path: str, **options: Any) -> Any:
        monkeypatch.setattr(transaction, "changing", changing_)
        uninstall(environment.path, ["other"], disk=DISK)
        return changing_(path, **options)

    monkeypatch.setattr(transaction, "changing", later)
    prepared = make_prepared(tmp_path / "2", environment, "core", files={"a.py": "2\n"})
    assert commit(prepared, environment.path, disk=DISK).changed


def test_a_journal_that_could_not_be_synced_is_none(tmp_path: Path, environment: Environment) -> None:
    class Refusing(Disk):
        def write(self, path: str, data: bytes, *, executable: bool = False, mtime_ns: int | None = None) -> None:
            super().write(path, data, executable=executable, mtime_ns=mtime_ns)
            if b'"operations"' in data:
                raise DiskError(f"cannot write {path}: Input/output error")

    before = listing(environment)
    with pytest.raises(DiskError, match="Input/output"):
        commit(make_prepared(tmp_path / "p", environment, "core"), environment.path, disk=Refusing("fast"))
    assert listing(environment) == before
    assert _state(environment) == set()
