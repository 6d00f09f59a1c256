"""Finding interpreters, and the facts about them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from packaging.markers import default_environment

from interlock.durable import Disk
from interlock.errors import InterpreterNotFound
from interlock.interpreter import Interpreter, find_interpreter, query, satisfies

BASE = getattr(sys, "_base_executable", None) or sys.executable
VERSION = "{}.{}.{}".format(*sys.version_info)
SHORT = "{}.{}".format(*sys.version_info)


def test_an_interpreter_answers_what_installing_needs() -> None:
    interpreter = query(sys.executable)
    assert os.path.samefile(interpreter.executable, BASE)
    assert (interpreter.version, interpreter.short) == (VERSION, SHORT)
    assert interpreter.implementation == sys.implementation.name
    assert interpreter.soabi == (sysconfig.get_config_var("SOABI") or "")


def test_markers_are_those_of_packaging() -> None:
    assert query(sys.executable).markers == default_environment()


def test_the_layout_is_that_of_the_environments_it_makes(tmp_path: Path) -> None:
    venv.create(tmp_path / "e", symlinks=os.name != "nt")
    paths = sysconfig.get_paths("venv", vars=dict.fromkeys(("base", "platbase"), str(tmp_path / "e")))
    layout = query(BASE).layout
    for name in ("scripts", "purelib", "platlib", "data"):
        assert os.path.normpath(tmp_path / "e" / getattr(layout, name)) == os.path.normpath(paths[name])
    assert layout.include == f"include/site/python{SHORT}"
    assert (tmp_path / "e" / layout.purelib).is_dir()


def test_an_environments_python_answers_for_its_base(tmp_path: Path) -> None:
    venv.create(tmp_path / "e", symlinks=os.name != "nt")
    python = tmp_path / "e" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    assert os.path.samefile(query(str(python)).executable, BASE)


def test_it_survives_json() -> None:
    interpreter = query(sys.executable)
    assert Interpreter.from_json(json.loads(json.dumps(interpreter.as_json()))) == interpreter


@pytest.mark.parametrize("data", [{}, {"layout": {}}, {"layout": None}, {"layout": 1, "more": 2}])
def test_other_json_is_refused(data: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        Interpreter.from_json(data)


@pytest.mark.parametrize(
    "spec", [None, "", SHORT, VERSION, f">={SHORT}", f">={SHORT},<4", f"=={SHORT}.*", sys.executable]
)
def test_the_one_that_runs_interlock_is_found(spec: str | None) -> None:
    found = find_interpreter(spec)
    assert os.path.samefile(found.executable, BASE)
    assert satisfies(found, spec)


def test_a_path_is_relative_to_the_root(tmp_path: Path) -> None:
    venv.create(tmp_path / "e", symlinks=os.name != "nt")
    relative = "e/Scripts/python.exe" if os.name == "nt" else "e/bin/python"
    assert os.path.samefile(find_interpreter(relative, root=str(tmp_path)).executable, BASE)


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_others_are_found_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter of a version that is none of those here: a shell script that answers like one."""
    answer = query(sys.executable).as_json()
    answer["executable"] = str(tmp_path / "python3.99")
    answer["markers"] = {**answer["markers"], "python_full_version": "3.99.1"}
    answer["version"] = "3.99.1"
    (tmp_path / "answer").write_text(json.dumps(answer), encoding="utf-8")
    (tmp_path / "python3.99").write_text(f"#!/bin/sh\ncat '{tmp_path}/answer'\n", encoding="utf-8")
    (tmp_path / "python3.99").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_interpreter("3.99").executable == str(tmp_path / "python3.99")
    assert not satisfies(query(sys.executable), "3.99")


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_one_that_is_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {**query(sys.executable).as_json(), "version": "3.7.16"}
    (tmp_path / "answer").write_text(json.dumps(answer), encoding="utf-8")
    old = tmp_path / "python3.7"
    old.write_text(f"#!/bin/sh\ncat '{tmp_path}/answer'\n", encoding="utf-8")
    old.chmod(0o755)
    message = f"{old} is Python 3.7.16; environments are made for 3.8 and later"
    with pytest.raises(InterpreterNotFound) as caught:
        find_interpreter(str(old))
    assert caught.value.message == message
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(InterpreterNotFound) as caught:
        find_interpreter("3.7")
    assert message in caught.value.message


def test_a_version_that_is_not_there_says_what_was_looked_at() -> None:
    with pytest.raises(InterpreterNotFound) as caught:
        find_interpreter("<3.1")
    assert caught.value.message.startswith("no Python <3.1 found; looked at: ")
    assert f"{BASE} is {VERSION}" in caught.value.message
    assert caught.value.exit_code == 20


@pytest.mark.parametrize("spec", ["three", ">=x", "3.12 or so"])
def test_nonsense_is_refused(spec: str) -> None:
    with pytest.raises(InterpreterNotFound, match="asks for no Python that could be found"):
        find_interpreter(spec)
    with pytest.raises(InterpreterNotFound, match="asks for no Python that could be found"):
        satisfies(query(sys.executable), spec)


@pytest.mark.parametrize("name", ["missing", "not-executable", "silent", "loud", "failing"])
@pytest.mark.skipif(os.name == "nt", reason="shell scripts")
def test_what_is_no_python_is_refused(tmp_path: Path, name: str) -> None:
    scripts = {"not-executable": "", "silent": "#!/bin/sh\n", "loud": "#!/bin/sh\necho '[1]'\n"}
    scripts["failing"] = "#!/bin/sh\necho first >&2\necho 'the last line' >&2\nexit 3\n"
    path = tmp_path / name
    if name in scripts:
        path.write_text(scripts[name], encoding="utf-8")
        path.chmod(0o644 if name == "not-executable" else 0o755)
    with pytest.raises(InterpreterNotFound, match="does not work as a Python interpreter") as caught:
        find_interpreter(str(path))
    assert str(path) in caught.value.message
    if name == "failing":
        assert caught.value.message.endswith(": the last line")


# The cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERLOCK_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "interpreters"


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    """Make a python that counts how often it is started."""
    if os.name == "nt":
        pytest.skip("a shell script")
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\necho started >> "{tmp_path}/starts"\nexec "{BASE}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def starts(tmp_path: Path) -> int:
    return len((tmp_path / "starts").read_text(encoding="utf-8").splitlines())


def test_answers_are_kept_for_the_same_file(tmp_path: Path, cache: Path, counted: Path) -> None:
    first = find_interpreter(str(counted), disk=Disk("fast"))
    assert find_interpreter(str(counted), disk=Disk("fast")) == first
    assert starts(tmp_path) == 1
    assert len(list(cache.iterdir())) == 1


def test_another_file_in_its_place_is_asked_anew(tmp_path: Path, cache: Path, counted: Path) -> None:
    find_interpreter(str(counted), disk=Disk("fast"))
    os.utime(counted, ns=(1, 1))
    find_interpreter(str(counted), disk=Disk("fast"))
    assert starts(tmp_path) == 2


def test_a_damaged_answer_is_asked_anew(tmp_path: Path, cache: Path, counted: Path) -> None:
    first = find_interpreter(str(counted), disk=Disk("fast"))
    next(cache.iterdir()).write_bytes(b"{")
    assert find_interpreter(str(counted), disk=Disk("fast")) == first
    assert find_interpreter(str(counted), disk=Disk("fast")) == first
    assert starts(tmp_path) == 2


def test_without_a_disk_nothing_is_kept(tmp_path: Path, cache: Path, counted: Path) -> None:
    find_interpreter(str(counted))
    find_interpreter(str(counted))
    assert starts(tmp_path) == 2
    assert not cache.exists()


def test_a_shim_is_asked_each_time(tmp_path: Path, cache: Path, counted: Path) -> None:
    (tmp_path / "shims").mkdir()
    shim = shutil.move(counted, tmp_path / "shims" / "python")
    find_interpreter(str(shim), disk=Disk("fast"))
    find_interpreter(str(shim), disk=Disk("fast"))
    assert starts(tmp_path) == 2


def test_two_environments_of_one_base_do_not_share_an_answer(tmp_path: Path, cache: Path) -> None:
    """Their pythons are links to one file, and would answer with different layouts if they were of different versions."""
    for name in ("a", "b"):
        venv.create(tmp_path / name, symlinks=os.name != "nt")
        python = tmp_path / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        find_interpreter(str(python), disk=Disk("fast"))
    assert len(list(cache.iterdir())) == 2
