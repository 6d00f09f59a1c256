"""Engines: found where they are, run in surroundings that point nowhere else, quiet unless they fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.create import create_environment
from interlock.durable import Disk
from interlock.engine import SCRUBBED, Engine, find_engine, scrubbed_environment
from interlock.environment import Environment
from interlock.errors import EngineError, EngineUnavailable
from interlock.interpreter import find_interpreter


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return create_environment(str(tmp_path / "env"), python=None, disk=Disk("fast"))[0]


def test_uv_comes_first() -> None:
    assert find_engine().name == find_engine("uv").name == "uv"
    assert find_engine("uv").version().split(".")[0].isdigit()


def test_pip_where_it_is_asked_for() -> None:
    engine = find_engine("pip", interpreter=find_interpreter())
    assert engine.name == "pip"
    assert int(engine.version().split(".")[0]) >= 22


def without_uv_and_pip(tmp_path: Path, code: str) -> str:
    """Run code in an environment that has interlock on its path, but neither uv nor pip."""
    environment, _ = create_environment(str(tmp_path / "bare"), python=None, disk=Disk("fast"))
    source = Path(__file__).resolve().parents[2] / "installer"
    prologue = f"import sys; sys.path.insert(0, {str(source)!r})\nfrom interlock.engine import find_engine\n"
    result = subprocess.run(
        [environment.python, "-c", prologue + code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": str(tmp_path)},
    )
    return result.stdout + result.stderr


def test_without_either_the_advice_is_what_to_install(tmp_path: Path) -> None:
    said = without_uv_and_pip(tmp_path, "find_engine()")
    assert "EngineUnavailable: neither uv nor pip is installed with interlock" in said
    assert "pip install 'interlock[uv]'" in said
    said = without_uv_and_pip(tmp_path, "find_engine('uv')")
    assert "EngineUnavailable: uv is not installed, neither beside interlock nor on PATH" in said


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_a_pip_that_is_too_old_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\necho 'pip 21.0 from here (python 3.11)'\n", encoding="utf-8")
    old.chmod(0o755)
    said = without_uv_and_pip(
        tmp_path,
        "from interlock.interpreter import find_interpreter\nfrom dataclasses import replace\n"
        f"find_engine(interpreter=replace(find_interpreter(), executable={str(old)!r}))",
    )
    assert "EngineUnavailable: pip 21.0 of" in said
    assert "cannot install into another environment" in said


def test_settings_of_the_shell_that_point_elsewhere_are_dropped() -> None:
    shell = dict.fromkeys(SCRUBBED, "elsewhere") | {
        "PATH": "p",
        "PIP_INDEX_URL": "https://index",
        "UV_INDEX_URL": "https://index",
        "PIP_CONFIG_FILE": "pip.conf",
        "HTTPS_PROXY": "proxy",
        "UV_OFFLINE": "1",
    }
    kept = scrubbed_environment(shell)
    assert not SCRUBBED & set(kept)
    assert {name: kept[name] for name in shell if name not in SCRUBBED} == {
        name: value for name, value in shell.items() if name not in SCRUBBED
    }


@pytest.mark.network
@pytest.mark.parametrize("name", ["uv", "pip"])
def test_it_installs_into_the_named_environment_and_no_other(
    name: str, environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, _ = create_environment(str(tmp_path / "other"), python=None, disk=Disk("fast"))
    for variable in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PIP_PREFIX", "CONDA_PREFIX"):
        monkeypatch.setenv(variable, other.path)
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "target"))
    monkeypatch.setenv("UV_TARGET", str(tmp_path / "target"))
    monkeypatch.setenv("PIP_REQUIRE_VIRTUALENV", "1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    engine = find_engine(name, interpreter=environment.interpreter)
    said = engine.install(environment.python, ["idna==3.10"], what="idna", compile_bytecode=True)
    assert "idna" in said
    site_packages = Path(environment.site_packages[0])
    assert (site_packages / "idna-3.10.dist-info").is_dir()
    assert list((site_packages / "idna" / "__pycache__").glob("core.*.pyc"))
    assert not list(Path(other.site_packages[0]).glob("idna*"))
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("name", ["uv", "pip"])
def test_a_failure_has_the_exit_code_the_last_lines_and_the_command(name: str, environment: Environment) -> None:
    engine = find_engine(name, interpreter=environment.interpreter)
    missing = str(Path(environment.path) / "no such directory")
    with pytest.raises(EngineError, match=rf"^{name} could not install nothing \(its exit code: [12]\)") as caught:
        engine.install(environment.python, [missing], what="nothing")
    assert "directory" in caught.value.message.splitlines()[-1]
    assert "To see it again:" in caught.value.advice
    assert "no such directory'" in caught.value.advice, "quoted for a shell"
    assert type(caught.value) is EngineError


def test_only_the_last_lines_are_shown(environment: Environment) -> None:
    code = "import sys; print(*range(100), sep='\\n'); sys.exit(7)"
    engine = Engine("uv", (sys.executable, "-c", code))
    with pytest.raises(EngineError, match=r"its exit code: 7\)") as caught:
        engine.install(environment.python, [], what="x")
    assert caught.value.message.splitlines()[1:] == [
        "    ... (80 lines before these)",
        *(f"    {number}" for number in range(80, 100)),
    ]


def test_an_engine_that_does_not_run(environment: Environment, tmp_path: Path) -> None:
    engine = Engine("uv", (str(tmp_path / "uv"),))
    with pytest.raises(EngineUnavailable, match="uv does not run"):
        engine.install(environment.python, [], what="x")
    with pytest.raises(EngineUnavailable, match="failed"):
        engine.version()
