"""Installing requirements with real engines from a real index on this machine, that tells what it was asked for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holding import held_elsewhere
from index_server import Index, serve, wheel
from interlock.create import create_environment
from interlock.distribution import scan
from interlock.durable import Disk
from interlock.engine import Engine
from interlock.environment import Environment
from interlock.errors import ConfigurationError, EngineError, LockTimeout, NotAnEnvironment
from interlock.journal import journal_path
from interlock.locks import environment_lock_path, uv_lock_path
from interlock.platforms import Posix
from interlock.requirements import Installation, install_requirements

DISK = Disk("fast")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """Serve an index, and make it the only one that uv and pip know."""
    with serve() as served:
        for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
            monkeypatch.delenv(name)
        for name, value in served.environ.items():
            monkeypatch.setenv(name, value)
        yield served


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Make an environment, and a directory beside it to be in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return create_environment(str(tmp_path / "env"), python=None, disk=DISK)[0]


@pytest.fixture(params=["uv", "pip"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(name: str, *lines: str) -> str:
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return name


def installed(environment: Environment) -> dict[str, str]:
    return {name: found[0].version for name, found in scan(environment.site_packages).items()}


def install(environment: Environment, engine: str, *lines: str, **options: object) -> Installation:
    return install_requirements(environment.path, [write("r.txt", *lines)], engine=engine, disk=DISK, **options)  # type: ignore[arg-type]


def test_requirements_are_installed_with_what_they_need(environment: Environment, engine: str, index: Index) -> None:
    index.add("third", "1.5", ("fourth>=2",))
    index.add("fourth", "2.0")
    done = install(environment, engine, "third")
    assert installed(environment) == {"third": "1.5", "fourth": "2.0"}
    assert done.as_stamp() == {
        "edge": "requirements",
        "engine": engine,
        "environment": environment.identity,
        "files": {"r.txt": hashlib.sha256(b"third\n").hexdigest()},
        "installed": hashlib.sha256(json.dumps(["fourth==2.0", "third==1.5"]).encode()).hexdigest(),
    }


def test_both_engines_leave_the_same(tmp_path: Path, index: Index, environment: Environment) -> None:
    index.add("third", "1.5", ("fourth>=2", "private-core"))
    index.add("fourth", "2.0")
    private = write("private", "private-core")
    results = []
    for name in ("uv", "pip"):
        other, _ = create_environment(str(tmp_path / name), python=None, disk=DISK)
        done = install(other, name, "third", private=private)
        files = {path.name: path.read_bytes() for path in Path(other.site_packages[0]).glob("*.py")}
        results.append((done.installed, installed(other), files))
    assert results[0] == results[1]


def test_constraints_hold(environment: Environment, engine: str, index: Index) -> None:
    index.add("third", "1.5")
    constraints = [write("c.txt", "third<1")]
    with pytest.raises(EngineError, match="third"):
        install(environment, engine, "third", constraints=constraints)
    assert installed(environment) == {}


def test_what_is_met_is_left_alone_and_asked_of_no_index(environment: Environment, engine: str, index: Index) -> None:
    index.add("third", "1.5", ("fourth",))
    index.add("fourth", "2.0")
    first = install(environment, engine, "third")
    module = Path(environment.site_packages[0], "third.py")
    before = module.stat().st_mtime_ns
    asked = len(index.asked)
    second = install(environment, engine, "third")
    assert second.as_stamp() == first.as_stamp()
    assert module.stat().st_mtime_ns == before
    assert index.asked[asked:] == []


def test_nothing_to_install_starts_no_engine(environment: Environment, tmp_path: Path) -> None:
    done = install_requirements(
        environment.path,
        [write("r.txt", "# nothing", "--pre", "core")],
        private=write("p", "core"),
        engine="pip",
        disk=DISK,
    )
    assert (done.engine, installed(environment)) == ("none", {})
    assert install_requirements(environment.path, [], disk=DISK).files == {}


def test_all_files_are_inputs(environment: Environment, index: Index) -> None:
    index.add("third", "1.5")
    os.mkdir("sub")
    write("sub/nested.txt", "third")
    write("c.txt", "third>=1")
    done = install_requirements(
        environment.path,
        [write("r.txt", "-r sub/nested.txt")],
        ["c.txt"],
        private=write("p", "core"),
        engine="uv",
        disk=DISK,
    )
    nested = os.path.join("sub", "nested.txt")
    assert set(done.files) == {"r.txt", nested, "c.txt"}  # names change nothing that is installed
    assert set(done.inputs) == {"r.txt", nested, "c.txt", "p", os.path.join(environment.path, "pyvenv.cfg")}


# Private names


def test_private_names_are_never_asked_of_an_index(environment: Environment, engine: str, index: Index) -> None:
    """On lines, as a local project, as what a third-party distribution needs, with an extra, and as what that needs."""
    index.add("third", "1.5", ("Private.Core>=7", "fourth"))
    index.add("fourth", "2.0", ("private-core[extra]<3 ; python_version >= '3'", "private_leaf"))
    for name in ("private-core", "private-leaf"):
        index.add(name, "666")  # an index that has them must not be believed either
    Path("leaf").mkdir()
    write("leaf/pyproject.toml", "[project]", 'name = "private.leaf"', 'version = "1"')
    lines = ("third", "private-core==1", "-e ./leaf", "private_leaf @ file:///nowhere/leaf")
    constraints = [write("c.txt", "private-core==1", "third>=1")]
    done = install(
        environment, engine, *lines, constraints=constraints, private=write("p", "private.core", "private-leaf")
    )
    assert installed(environment) == {"third": "1.5", "fourth": "2.0"}
    assert {name.lower() for name in index.asked} == {"third", "fourth"}
    again = install(environment, engine, *lines, constraints=constraints, private="p")
    assert again.as_stamp() == done.as_stamp()
    assert {name.lower() for name in index.asked} == {"third", "fourth"}


def test_an_index_hears_of_them_without_the_file(environment: Environment, engine: str, index: Index) -> None:
    """The test above can fail: this is what happens when nothing is private."""
    index.add("third", "1.5", ("private-core",))
    index.add("private-core", "666")
    install(environment, engine, "third")
    assert installed(environment) == {"third": "1.5", "private-core": "666"}


def test_a_project_of_the_workspace_that_is_installed_stays(
    environment: Environment, engine: str, index: Index
) -> None:
    index.add("third", "1.5", ("private-core>=2",))
    site = Path(environment.site_packages[0])
    (site / "private_core-1.0.dist-info").mkdir()
    (site / "private_core-1.0.dist-info" / "METADATA").write_text(
        "Name: private-core\nVersion: 1.0\n", encoding="utf-8"
    )
    (site / "private_core-1.0.dist-info" / "RECORD").write_text("", encoding="utf-8")
    before = install(environment, engine, "third", private=write("p", "private-core"))
    assert installed(environment) == {"third": "1.5", "private-core": "1.0"}
    assert "private-core" not in index.asked
    # The receipt tells of third-party distributions only.
    assert before.installed == hashlib.sha256(json.dumps(["third==1.5"]).encode()).hexdigest()


def test_editable_installs_are_not_in_the_receipt(environment: Environment, index: Index) -> None:
    index.add("third", "1.5")
    first = install(environment, "uv", "third")
    info = Path(environment.site_packages[0], "core-1.0.dist-info")
    info.mkdir()
    (info / "direct_url.json").write_text('{"dir_info": {"editable": true}, "url": "file:///core"}', encoding="utf-8")
    assert install(environment, "uv", "third").installed == first.installed


def test_the_file_may_have_directories(environment: Environment, engine: str, index: Index) -> None:
    index.add("third", "1.5", ("private-core",))
    install(environment, engine, "third", private=write("p", "Private.Core\t../a # b"))
    assert installed(environment) == {"third": "1.5"}
    assert index.asked == ["third"]


# Durability


class Watching(Posix):
    """Sync for real, and remember what."""

    def __init__(self) -> None:
        self.synced: set[str] = set()

    def sync_file(self, descriptor: int) -> None:
        """Remember the path, as the kernel knows it."""
        self.synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        super().sync_file(descriptor)

    def sync_file_system(self, path: str) -> bool:
        """Say no: each file is to be seen."""
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which file a descriptor is")
def test_what_has_changed_is_on_the_disk_before_anything_vouches_for_it(
    environment: Environment, engine: str, index: Index
) -> None:
    index.add("third", "1.5")
    index.add("fourth", "1.0")
    site = environment.site_packages[0]

    def synced(*lines: str) -> set[str]:
        watching = Watching()
        disk = Disk("full", watching)
        done = install_requirements(environment.path, [write("r.txt", *lines)], engine=engine, disk=disk)
        assert done.engine == engine
        return {os.path.relpath(path, site) for path in watching.synced if path.startswith(site)}

    files = {"third.py", *(f"third-1.5.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "INSTALLER"))}
    first = synced("third")
    assert files | {".", "third-1.5.dist-info"} <= first
    # What others put there is vouched for too, and what was synced before need not be again.
    Path(site, "by_hand.py").write_text("", encoding="utf-8")
    second = synced("third", "fourth")
    assert {".", "by_hand.py", "fourth.py", "fourth-1.0.dist-info", "fourth-1.0.dist-info/RECORD"} <= second
    # What changed within the clock's tick in which it was read, is synced once more.
    synced("third", "fourth")
    assert synced("third", "fourth") == set()
    os.unlink(os.path.join(environment.path, ".interlock", "synced"))
    assert first | second <= synced("third", "fourth")


# Failures


def test_a_failure_shows_the_engines_last_lines_and_how_to_see_them_again(
    environment: Environment, engine: str, index: Index
) -> None:
    with pytest.raises(EngineError) as caught:
        install(environment, engine, "no-such-thing==1", private=write("p", "core"))
    message = caught.value.message
    assert message.startswith(f"{engine} could not install the requirements of {environment.path} (its exit code: 1)")
    assert "no-such-thing" in message
    assert caught.value.exit_code == 70
    # The advice works as it stands.
    command = caught.value.advice.removeprefix("To see it again: ")
    if os.name != "nt":
        repeated = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert repeated.returncode == 1
        assert "no-such-thing" in repeated.stdout + repeated.stderr
    assert installed(environment) == {}


def test_an_environment_that_goes_away_under_an_engine_is_what_is_said(
    environment: Environment, engine: str, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `rm -rf .venv` does in the middle of a build: that the engine failed is not what happened."""
    run = Engine.install

    def after_it_went(self: Engine, *arguments: Any, **options: Any) -> str:
        shutil.rmtree(environment.path)
        return run(self, *arguments, **options)

    monkeypatch.setattr(Engine, "install", after_it_went)
    with pytest.raises(NotAnEnvironment, match="nothing is there"):
        install(environment, engine, "third", private=write("p", "core"))


def test_a_pip_that_cannot_be_held_back_is_not_run(environment: Environment, index: Index, tmp_path: Path) -> None:
    index.add("third", "1.5", ("private-core",))
    other = tmp_path / "other" / "pip"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("", encoding="utf-8")
    script = Path(sys.modules["interlock.requirements"].__file__ or "").parent / "_pip_script.py"
    (tmp_path / "names").write_text("private-core\n", encoding="utf-8")
    command = [
        environment.python,
        "-I",
        str(script),
        str(tmp_path / "other"),
        str(tmp_path / "names"),
        "install",
        "third",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "cannot be kept from asking an index for private names" in done.stderr
    assert index.asked == []


def test_a_missing_file_is_an_error_before_anything_is_done(environment: Environment) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.txt \(included at r\.txt:1\)"):
        install(environment, "auto", "-r gone.txt")


def test_no_environment_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotAnEnvironment):
        install_requirements(str(tmp_path / "none"), [], disk=DISK)
    assert os.listdir(tmp_path) == []


# Locks and journals


@pytest.mark.parametrize("which", ["environment", "uv"])
def test_locks_are_waited_for_and_not_longer_than_told(
    environment: Environment, engine: str, which: str, index: Index
) -> None:
    index.add("third", "1.5")
    path = environment_lock_path(environment.path) if which == "environment" else uv_lock_path(environment.path)
    rank = "ENVIRONMENT" if which == "environment" else "UV"
    with held_elsewhere(Path(path), rank), pytest.raises(LockTimeout):
        install(environment, engine, "third", lock_timeout=0.05)
    assert (installed(environment), index.asked) == ({}, [])
    install(environment, engine, "third", lock_timeout=30)
    assert installed(environment) == {"third": "1.5"}


def test_many_at_once_all_succeed(environment: Environment, engine: str, index: Index) -> None:
    failures: list[BaseException] = []
    for number in range(6):
        index.add(f"third-{number}", "1.0")
        write(f"r{number}.txt", f"third-{number}")

    def one(number: int) -> None:
        try:
            install_requirements(environment.path, [f"r{number}.txt"], engine=engine, disk=DISK)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert installed(environment) == {f"third-{number}": "1.0" for number in range(6)}


def test_a_commit_that_a_dead_process_left_is_finished_first(environment: Environment) -> None:
    staged = Path(environment.path, ".interlock", "staging", "x")
    staged.mkdir(parents=True)
    (staged / "f").write_text("new", encoding="utf-8")
    data = {
        "schema": 1,
        "staging": ".interlock/staging/x",
        "operations": [["replace", ".interlock/staging/x/f", "f"]],
        "directories": [""],
    }
    Path(journal_path(environment.path)).write_text(json.dumps(data), encoding="utf-8")
    install_requirements(environment.path, [], disk=DISK)
    assert Path(environment.path, "f").read_text(encoding="utf-8") == "new"
    assert not os.path.exists(journal_path(environment.path))


def test_a_local_wheel_is_installed(environment: Environment, engine: str, index: Index) -> None:
    Path("third-1.5-py3-none-any.whl").write_bytes(wheel("third", "1.5", ()))
    done = install(environment, engine, "./third-1.5-py3-none-any.whl")
    assert installed(environment) == {"third": "1.5"}
    assert "./third-1.5-py3-none-any.whl" in done.inputs


@pytest.mark.network
@pytest.mark.parametrize("version", ["22.3", "23.2.1", "24.0", "25.3"])
def test_private_names_stay_private_with_older_pips(
    tmp_path: Path, environment: Environment, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interlock import requirements
    from interlock.engine import Engine

    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(tmp_path / "pip"), f"pip=={version}"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"pip {version} cannot be had")
    script = Path(requirements.__file__).parent / "_pip_script.py"
    write("names", "private-core")
    engine = Engine("pip", (environment.python, "-I", str(script), str(tmp_path / "pip"), os.path.abspath("names")))
    with serve() as index:
        index.add("third", "1.5", ("private-core>=2",))
        index.add("private-core", "666")
        for name, value in index.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        engine.install(environment.python, ["third"], what="third")
        assert installed(environment) == {"third": "1.5"}
        assert index.asked == ["third"]
