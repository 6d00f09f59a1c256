"""Commits into real environments: what arrives, what leaves, what is refused, and what a killed commit leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from interlock import journal
from interlock.access import changing
from interlock.durable import Disk
from interlock.environment import Environment
from interlock.errors import (
    DependencyMissing,
    EnvironmentMismatch,
    FileConflict,
    InterlockError,
    LockTimeout,
    RecordMismatch,
)
from interlock.locks import Rank, environment_lock_path, hold
from interlock.prepared import load_prepared
from interlock.transaction import commit, uninstall

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import contents_of, damage, listing, make_prepared

DISK = Disk("fast")


def names(environment: Environment) -> set[str]:
    return {Path(path).name for path in listing(environment)}


def test_a_commit_brings_every_file_and_leaves_no_state(tmp_path: Path, environment: Environment) -> None:
    before = listing(environment)
    prepared = make_prepared(tmp_path / "p", environment, "core", scripts={"core": "#!/bin/sh\necho hi\n"})
    receipt = commit(prepared, environment.path, disk=DISK)
    after = listing(environment)
    new = {path.replace(os.sep, "/"): data for path, data in after.items() if path not in before}
    assert new == contents_of(prepared)
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


def test_an_extra_that_closes_a_cycle_is_verified_too(tmp_path: Path, environment: Environment) -> None:
    a = make_prepared(tmp_path / "a", environment, "a")
    commit(a, environment.path, disk=DISK)
    metadata = Path(environment.absolute(next(file.path for file in a.files if file.path.endswith("/METADATA"))))
    text = metadata.read_text(encoding="utf-8") + "Provides-Extra: x\nRequires-Dist: b>=2; extra == 'x'\n"
    metadata.write_text(text, encoding="utf-8")
    b = make_prepared(tmp_path / "b", environment, "b", requires=("a",))
    commit(b, environment.path, disk=DISK, verify=["a", "b"])
    with pytest.raises(DependencyMissing, match=r"a\[x\] .in a dependency cycle. needs b>=2, but b 1.0 is installed"):
        commit(b, environment.path, disk=DISK, verify=["a[x]", "b"])
    commit(b, environment.path, disk=DISK, verify=["a[x]", "b"], any_version=["b"])


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


def test_a_damaged_prepared_file_is_refused(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    before = listing(environment)
    damage(prepared, contents_of(prepared)[prepared.files[0].path])
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


def test_a_prepared_file_is_read_back(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core", requires=("other>=1",))
    assert load_prepared(str(tmp_path / "p")) == prepared
