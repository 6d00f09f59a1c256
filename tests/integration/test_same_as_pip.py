"""What interlock installs equals `pip install -e`, byte for byte, and pip and uv treat it as their own.

Both install into an environment at the same path, from a source tree at the same path, one after the other: so that
nothing has to be substituted before files are compared.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.create import create_environment
from interlock.distribution import parse_record
from interlock.durable import Disk
from interlock.engine import find_engine
from interlock.environment import Environment

pytestmark = pytest.mark.network

BACKENDS = Path(__file__).resolve().parents[1] / "data" / "backends"
# name: (directory, config settings, what its script prints)
CASES: dict[str, tuple[str, dict[str, str]]] = {
    "setuptools": ("setuptools", {}),
    "setuptools-compat": ("setuptools", {"editable_mode": "compat"}),
    "setuptools-strict": ("setuptools", {"editable_mode": "strict"}),
    "setuptools-flat": ("setuptools-flat", {}),
    "setuptools-flat-compat": ("setuptools-flat", {"editable_mode": "compat"}),
    "setuptools-flat-strict": ("setuptools-flat", {"editable_mode": "strict"}),
    "setup-py": ("setup-py", {}),
    "hatchling": ("hatchling", {}),
    "flit_core": ("flit_core", {}),
    "pdm-backend": ("pdm-backend", {}),
    "poetry-core": ("poetry-core", {}),
    "uv_build": ("uv_build", {}),
    "meson-python": ("meson-python", {}),
}
# Not of the distribution: bytecode (pip compiles, interpreters do) and the state of tools.
IGNORED = {"__pycache__", ".interlock", ".lock"}

Tree = dict[str, tuple[bytes, bool]]


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a python that has the newest pip."""
    path = tmp_path_factory.mktemp("pip") / "env"
    environment, _ = create_environment(str(path), python=None, disk=Disk("fast"))
    find_engine("uv").install(environment.python, ["pip"], what="pip")
    return environment.python


@pytest.fixture
def uv() -> str:
    return find_engine("uv").command[0]


def run(*command: str, cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def make(tmp_path: Path) -> Environment:
    shutil.rmtree(tmp_path / "env", ignore_errors=True)
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=Disk("fast"))
    return environment


def source_of(directory: str, tmp_path: Path) -> Path:
    source = tmp_path / "source" / directory
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(BACKENDS / directory, source)
    return source


def install_with_interlock(source: Path, environment: Environment, tmp_path: Path, settings: dict[str, str]) -> None:
    words = [word for key, value in settings.items() for word in ("-C", f"{key}={value}")]
    common = ["--venv", environment.path, "--durability", "fast"]
    prepared = str(tmp_path / "prepared" / source.name)
    run(sys.executable, "-m", "interlock", "prepare", str(source), "--output", prepared, *words, *common, cwd=tmp_path)
    run(sys.executable, "-m", "interlock", "install", prepared, *common, cwd=tmp_path)


def install_with_pip(pip: str, source: Path, environment: Environment, settings: dict[str, str]) -> None:
    words = [word for key, value in settings.items() for word in ("-C", f"{key}={value}")]
    command = [pip, "-m", "pip", "--python", environment.python, "install", "--no-deps", *words, "-e", str(source)]
    run(*command, cwd=source.parent)


def snapshot(environment: Environment) -> Tree:
    """Return the content and the executable bit of each file, by its path in the environment."""
    root = Path(environment.path)
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), os.access(path, os.X_OK))
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and not IGNORED & set(path.relative_to(root).parts)
    }


def added(before: Tree, after: Tree) -> Tree:
    assert {path: after.get(path) for path in before} == before, "a file of the environment itself was changed"
    return {path: content for path, content in after.items() if path not in before}


def own_lines(record: bytes) -> set[object]:
    """Return the entries of a RECORD but those for INSTALLER and for bytecode."""
    return {entry for entry in parse_record(record.decode()) if not entry.path.endswith(("/INSTALLER", ".pyc"))}


@pytest.mark.parametrize("case", CASES)
def test_the_files_are_those_of_pip(case: str, tmp_path: Path, pip: str) -> None:
    directory, settings = CASES[case]
    if directory == "meson-python" and not (shutil.which("cc") and shutil.which("ninja")):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no C compiler or no ninja on PATH")
    environment = make(tmp_path)
    before = snapshot(environment)
    install_with_pip(pip, source_of(directory, tmp_path), environment, settings)
    theirs = added(before, snapshot(environment))
    scripts = sorted(path for path in theirs if path.startswith(environment.layout.scripts + "/"))
    said = {path: run(environment.absolute(path), cwd=tmp_path) for path in scripts}

    environment = make(tmp_path)
    before = snapshot(environment)
    install_with_interlock(source_of(directory, tmp_path), environment, tmp_path, settings)
    ours = added(before, snapshot(environment))

    assert sorted(ours) == sorted(theirs)
    for path in theirs:
        if path.endswith("/INSTALLER"):
            assert ours[path] == (b"interlock\n", False)
        elif path.endswith("/RECORD"):
            assert own_lines(ours[path][0]) == own_lines(theirs[path][0])
        else:
            assert ours[path] == theirs[path], path
    assert scripts, "every fixture has a script"
    assert {path: run(environment.absolute(path), cwd=tmp_path) for path in scripts} == said
    assert any("hello from" in text for text in said.values())


def test_pip_and_uv_see_it_as_their_own(tmp_path: Path, pip: str, uv: str) -> None:
    environment = make(tmp_path)
    sources = [source_of(name, tmp_path) for name in ("setuptools", "hatchling", "setuptools-flat")]
    for source in sources:
        install_with_interlock(source, environment, tmp_path, {})
    target = [pip, "-m", "pip", "--python", environment.python]
    expected = {
        "fixture.Setuptools": ("1.2", str(sources[0])),
        "fixture-hatchling": ("0.1.dev3", str(sources[1])),
        "fixture-setuptools-flat": ("0.3", str(sources[2])),
    }
    for command in (
        [*target, "list", "--format", "json"],
        [uv, "pip", "list", "--format", "json", "-p", environment.python],
    ):
        listed = json.loads(run(*command, cwd=tmp_path))
        found = {entry["name"]: (entry["version"], entry["editable_project_location"]) for entry in listed}
        by_name = {name.lower().replace(".", "-"): value for name, value in found.items()}
        assert by_name == {name.lower().replace(".", "-"): value for name, value in expected.items()}
    shown = run(*target, "show", "-f", "fixture.Setuptools", cwd=tmp_path)
    assert "Installer: interlock" in run(*target, "show", "--verbose", "fixture.Setuptools", cwd=tmp_path)
    assert f"Editable project location: {sources[0]}" in shown
    assert "bin/fixture-setuptools-window" in shown or "Scripts\\fixture-setuptools-window.exe" in shown
    assert "No broken requirements found." in run(*target, "check", cwd=tmp_path)
    run(uv, "pip", "check", "-p", environment.python, cwd=tmp_path)


@pytest.mark.parametrize("tool", ["pip", "uv"])
@pytest.mark.parametrize("directory", ["setuptools", "setuptools-flat", "hatchling", "uv_build"])
def test_other_tools_uninstall_it_whole(
    tool: str, directory: str, tmp_path: Path, pip: str, uv: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    environment = make(tmp_path)
    before = snapshot(environment)
    install_with_interlock(source_of(directory, tmp_path), environment, tmp_path, {})
    name = "fixture-" + directory.replace("_", "-")
    # Scripts import the project: what interpreters leave of bytecode must go too.
    script = environment.absolute(f"{environment.layout.scripts}/{name}")
    run(script, cwd=tmp_path)
    # Of the modules of the project itself, only those in the environment are the environment's.
    compiled = [path for path in Path(environment.site_packages[0]).rglob("*.pyc") if "fixture" in path.name]
    assert bool(compiled) is (directory == "setuptools-flat")
    if tool == "pip":
        run(pip, "-m", "pip", "--python", environment.python, "uninstall", "-y", name, cwd=tmp_path)
    else:
        run(uv, "pip", "uninstall", "-p", environment.python, name, cwd=tmp_path)
    assert snapshot(environment) == before
    left = list(Path(environment.site_packages[0]).rglob("*fixture*"))
    # uv leaves what Python has compiled of a module that is not in a package, whoever has installed that.
    assert set(left) <= (set(compiled) if tool == "uv" else set())


@pytest.mark.parametrize("tool", ["pip", "uv"])
@pytest.mark.parametrize("directory", ["setuptools-flat", "hatchling"])
def test_an_install_over_that_of_another_tool_leaves_nothing_of_it(
    tool: str, directory: str, tmp_path: Path, pip: str, uv: str
) -> None:
    environment = make(tmp_path)
    install_with_interlock(source_of(directory, tmp_path), environment, tmp_path, {})
    expected = snapshot(environment)

    environment = make(tmp_path)
    source = source_of(directory, tmp_path)
    settings = {"editable_mode": "compat"} if directory.startswith("setuptools") else {}
    if tool == "pip":
        install_with_pip(pip, source, environment, settings)
    else:
        words = [word for key, value in settings.items() for word in ("-C", f"{key}={value}")]
        run(uv, "pip", "install", "-p", environment.python, *words, "-e", str(source), cwd=tmp_path)
    theirs = snapshot(environment)
    install_with_interlock(source, environment, tmp_path, {})
    assert snapshot(environment) == expected
    assert theirs != expected, "the other tool's install differs, at least by INSTALLER"


def test_a_non_editable_install_is_replaced_whole(tmp_path: Path, pip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    environment = make(tmp_path)
    source = source_of("setuptools", tmp_path)
    install_with_interlock(source, environment, tmp_path, {})
    expected = snapshot(environment)

    environment = make(tmp_path)
    run(pip, "-m", "pip", "--python", environment.python, "install", "--no-deps", str(source), cwd=tmp_path)
    assert Path(environment.site_packages[0], "fixture_setuptools", "cli.py").exists()
    script = environment.absolute(f"{environment.layout.scripts}/fixture-setuptools")
    run(script, cwd=tmp_path)
    install_with_interlock(source, environment, tmp_path, {})
    assert snapshot(environment) == expected
    assert not Path(environment.site_packages[0], "fixture_setuptools").exists()
