"""What is staged, where, and what becomes of it when its process dies or its environment goes."""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock import cli, journal
from interlock.access import changing
from interlock.cache import cache_directory
from interlock.durable import Disk
from interlock.environment import Environment, open_environment
from interlock.errors import DiskError, NotAnEnvironment
from interlock.locks import environment_lock_path
from interlock.prepared import seal
from interlock.staging import OUTSIDE, collect, staged, staged_name
from interlock.transaction import commit

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import contents_of, listing, make_prepared, store, visible
from projects import make_project

from holding import held_elsewhere

DISK = Disk("fast")


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
        def write_chunks(
            self, path: str, chunks: Iterable[bytes], *, executable: bool = False, mtime_ns: int | None = None
        ) -> None:
            super().write_chunks(path, chunks, executable=executable, mtime_ns=mtime_ns)
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
        def make_directory(self, path: str, mode: int = 0o775, *, below: str = "") -> None:
            if os.path.basename(path) == "pkg" and not replaced:
                replaced.append(os.rename(environment.path, tmp_path / "old"))
                venv.create(environment.path, symlinks=os.name != "nt")
            super().make_directory(path, mode, below=below)

    assert commit(prepared, environment.path, disk=Replacing("fast")).changed
    assert (Path(environment.site_packages[0]) / "a.py").exists()
    assert visible(environment) == ["1.0"]


def test_few_directories_are_made_for_what_is_staged(tmp_path: Path, environment: Environment) -> None:
    files = {"core.pth": "1\n", "pkg/a.py": "2\n", "pkg/b.py": "3\n"}
    prepared = make_prepared(tmp_path / "p", environment, "core", files=files, scripts={"x": "4\n", "y": "5\n"})
    os.utime(prepared.path, ns=(0, 1_234_567_890_000_000_000))
    with staged(prepared, environment.path, DISK) as name:
        root = Path(environment.path, name)
        found = {str(path.relative_to(root)) for path in root.rglob("*")}
        outside = {path for path in found if path.startswith(OUTSIDE)}
        assert found - outside == {
            *("core.pth", "pkg", "pkg/a.py", "pkg/b.py"),
            *("core-1.0.dist-info", *(f"core-1.0.dist-info/{one}" for one in ("METADATA", "INSTALLER", "RECORD"))),
        }
        assert sorted(path.partition("/")[2] for path in outside) == ["", "x", "y"]
        # An input of the edge that installs it must not be newer than that edge's start.
        times = {path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
        assert times == {1_234_567_890_000_000_000}


PATHS = st.lists(
    st.sampled_from(["lib", "py", "site", "a", "b", ".a", ".aside", ".ASIDE", OUTSIDE, ".TO-x", "é", "\udcff"]),
    min_size=1,
    max_size=4,
).map("/".join)


@given(paths=st.sets(PATHS, min_size=2, max_size=20), library=PATHS | st.just(""))
def test_nothing_is_staged_in_the_place_of_anything_else(paths: set[str], library: str) -> None:
    names = {path: staged_name(path, library) for path in paths}
    assert len(set(names.values())) == len(paths)
    assert all(name.startswith(OUTSIDE) for name in names.values() if name.startswith(".")), "these are of the journal"
    for path in paths:
        # What is renamed whole has its files in it.
        if names[path] == path.removeprefix(f"{library}/" if library else ""):
            assert staged_name(f"{path}/x", library) == f"{names[path]}/x"


def test_files_of_one_name_and_names_that_staging_uses_itself(tmp_path: Path, environment: Environment) -> None:
    purelib, scripts = environment.layout.purelib, environment.layout.scripts
    taken = staged_name(f"{scripts}/x", purelib)
    files = {path: f"{number}\n" for number, path in enumerate(("x", "a/x", "a/b/x", ".aside/x", taken, ".x"))}
    old = make_prepared(tmp_path / "old", environment, "core", files={"x": "old\n", **files})
    prepared = make_prepared(tmp_path / "p", environment, "core", files=files, scripts={"x": "script\n"})
    before = listing(environment)
    for one in (old, prepared):
        assert commit(one, environment.path, disk=DISK).changed
        after = listing(environment)
        assert {path: data for path, data in after.items() if path not in before} == contents_of(one)
    assert os.listdir(journal.staging_directory(environment.path)) == []


@pytest.mark.parametrize("done", range(5))
def test_the_journal_of_a_version_before_is_finished(done: int, tmp_path: Path, environment: Environment) -> None:
    """It staged each file at its path in the environment, and died after some of its operations."""
    old = make_prepared(tmp_path / "old", environment, "core", files={"a.py": "1\n"})
    commit(old, environment.path, disk=DISK)
    new = make_prepared(tmp_path / "new", environment, "core", "2.0", files={"a.py": "2\n"}, scripts={"core": "2\n"})
    staging = f"{journal.STAGING}/1-00ff"
    for path, content in contents_of(new).items():
        place = Path(environment.path, staging, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o755 if place.name == "core" else 0o644)
    payload = [file.path for file in new.files if not file.path.startswith(f"{new.dist_info}/")]
    operations = tuple(("replace", f"{staging}/{path}", path) for path in (*payload, new.dist_info))
    operations += (("retire", old.dist_info),)
    journal.write(environment.path, journal.Journal(staging, operations, (), "core"), disk=DISK)
    for _, *paths in operations[:done]:
        aside = f"{staging}/.aside-of-before"
        os.rename(*(os.path.join(environment.path, path) for path in (paths if len(paths) == 2 else [*paths, aside])))
    with changing(environment.path, disk=DISK):
        pass
    assert visible(environment) == ["2.0"]
    assert not commit(new, environment.path, disk=DISK).changed
    assert os.listdir(journal.staging_directory(environment.path)) == []


@pytest.mark.parametrize("where", ["{library}/{long}", "{library}/{long}/x", "{scripts}/{long}", "share/{long}/x"])
def test_a_name_that_the_file_system_refuses_is_found_before_anything_changes(
    where: str, tmp_path: Path, environment: Environment
) -> None:
    purelib, scripts = environment.layout.purelib, environment.layout.scripts
    path = posixpath.relpath(where.format(library=purelib, scripts=scripts, long="x" * 300), purelib)
    good = make_prepared(tmp_path / "good", environment, "core", files={"a.py": "1\n"})
    assert commit(good, environment.path, disk=DISK).changed
    files = {"a.py": "2\n", "b.py": "2\n", "last": "2\n"}
    prepared = make_prepared(tmp_path / "p", environment, "core", files=files)
    moved = f"{purelib}/last"
    named = tuple(
        replace(file, path=posixpath.normpath(f"{purelib}/{path}")) if file.path == moved else file
        for file in prepared.files
    )
    wrong = store(seal(replace(prepared, files=named)), contents_of(prepared).values())
    before = listing(environment)
    with pytest.raises(DiskError, match="File name too long"):
        commit(wrong, environment.path, disk=DISK)
    assert listing(environment) == before
    assert not os.path.lexists(journal.journal_path(environment.path))
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


@pytest.mark.skipif(os.name == "nt", reason="only age tells there")
def test_half_of_what_a_process_of_another_container_staged_is_not_found_by_it(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever collects was killed, or refused, when some of the files were gone."""
    prepared = make_prepared(tmp_path / "p", environment, "core", files={"a.py": "2\n"})
    commit(make_prepared(tmp_path / "old", environment, "core", files={"a.py": "1\n"}), environment.path, disk=DISK)
    staging = Path(journal.staging_directory(environment.path))
    remove = os.unlink

    def refuse(path: str, **more: int) -> None:
        if os.path.basename(path) == "RECORD":
            raise OSError(errno.EIO, "Input/output error", path)
        remove(path, **more)

    with ThreadPoolExecutor(1) as pool, changing(environment.path, disk=DISK):
        future = pool.submit(commit, prepared, environment.path, disk=DISK)
        while not list(staging.glob("*/.journal")):
            time.sleep(0.001)
        with monkeypatch.context() as patch:
            patch.setattr("interlock.staging.is_alive", lambda _: False)
            patch.setattr(os, "unlink", refuse)
            collect(str(staging), disk=DISK)
    assert future.result().changed
    assert Path(environment.site_packages[0], "a.py").read_text(encoding="utf-8") == "2\n"


def test_the_journal_of_another_commit_does_not_keep_what_was_staged(tmp_path: Path, environment: Environment) -> None:
    prepared = make_prepared(tmp_path / "p", environment, "core")
    staging = Path(journal.staging_directory(environment.path))
    with staged(prepared, environment.path, DISK) as mine:
        journal.write(environment.path, journal.Journal(f"{journal.STAGING}/other", (), ()), disk=DISK)
    assert os.listdir(staging) == []
    with staged(prepared, environment.path, DISK) as mine:
        journal.write(environment.path, journal.Journal(mine, (), ()), disk=DISK)
    assert os.listdir(staging) == [os.path.basename(mine)]


@pytest.mark.skipif(os.name == "nt", reason="the backend's own python is in use there")
def test_an_environment_that_a_build_outlives_does_not_come_back(
    tmp_path: Path, environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    project = make_project(
        tmp_path / "p", backend=f"import shutil\nshutil.rmtree({environment.path!r}, ignore_errors=True)\n"
    )
    assert cli.main(["editable", str(project), "--venv", environment.path]) == 21
    assert "is not a virtual environment: nothing is there" in capsys.readouterr().err
    assert not os.path.lexists(environment.path)
    assert os.listdir(os.path.join(cache_directory(), "prepared")) == []
