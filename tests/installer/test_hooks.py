"""Hooks of real backends in real processes: what they get, what they give, and how their failures read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project

from interlock import programs
from interlock.errors import BackendError, BackendUnavailable, MetadataError
from interlock.hooks import HookEnvironment, Kind, Project, open_project

HERE = HookEnvironment(sys.executable, str(Path(sys.executable).parent))


def opened(directory: Path) -> Project:
    return open_project(str(directory), reproduce="interlock prepare 'x y'")


def test_a_wheel_is_built_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    backend = """
        import logging, warnings
        def get_requires_for_build_editable(config_settings=None):
            print("chatter", config_settings)
            warnings.warn("of the backend")
            return ["b>=1", "a"]
    """
    project = opened(make_project(tmp_path / "p", backend=backend))
    assert project.requires == ()
    assert project.get_requires(HERE, {"a": ["1", "2"]}) == ["a", "b>=1"]
    assert Path(project.build_editable(HERE, {}, str(tmp_path / "out"))).name == "core-1.0-py3-none-any.whl"
    assert project.prepare_metadata(HERE, {}, str(tmp_path / "metadata")) is None
    assert capfd.readouterr() == ("", "")


def test_what_a_hook_finds_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = """
        def get_requires_for_build_editable(config_settings=None):
            import sys
            keys = ["PYTHONPATH", "VIRTUAL_ENV", "SOURCE_DATE_EPOCH", "CONDA_PREFIX", "PATH"]
            told = {"cwd": os.getcwd(), "stdin": sys.stdin.read(), "settings": config_settings}
            open("told.json", "w").write(json.dumps({**told, **{key: os.environ.get(key) for key in keys}}))
            return []
    """
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("VIRTUAL_ENV", "/elsewhere")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    monkeypatch.setenv("CONDA_PREFIX", "/conda")
    directory = make_project(tmp_path / "p", backend=backend)
    opened(directory).get_requires(HookEnvironment(sys.executable, "/scripts"), {"k": ["1", "2"], "one": "3"})
    import json

    told = json.loads((directory / "told.json").read_text(encoding="utf-8"))
    assert told.pop("PATH").split(os.pathsep)[0] == "/scripts"
    assert told == {
        "cwd": str(directory),
        "stdin": "",
        "settings": {"k": ["1", "2"], "one": "3"},
        "PYTHONPATH": None,
        "VIRTUAL_ENV": None,
        "SOURCE_DATE_EPOCH": "1",
        "CONDA_PREFIX": "/conda",
    }


def test_a_failing_hook_shows_its_last_lines_and_how_to_see_it_again(tmp_path: Path) -> None:
    backend = """
        def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
            print(*range(100), sep="\\n", flush=True)
            raise RuntimeError("no such thing as é")
    """
    project = opened(make_project(tmp_path / "p", backend=backend))
    with pytest.raises(BackendError, match=r"failed in build_editable \(its exit code: 1\)") as caught:
        project.build_editable(HERE, {}, str(tmp_path))
    lines = caught.value.message.splitlines()
    assert str(tmp_path / "p") in lines[0]
    assert lines[-1] == "    RuntimeError: no such thing as é"
    assert len(lines) == 22
    assert "lines before these" in lines[1]
    assert caught.value.advice == "To see it again: interlock prepare 'x y'"
    assert type(caught.value) is BackendError


@pytest.mark.parametrize("kind", ["editable", "wheel"])
@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ('["fine", "se tup >>> tools"]', "returned 'se tup >>> tools' from {hook}, which is no requirement: Expected"),
        ("[1]", "returned 1 from {hook}, which is no requirement"),
        ("[None]", "returned None from {hook}, which is no requirement"),
        ('[""]', "returned '' from {hook}, which is no requirement"),
        ("None", "failed in {hook}: 'NoneType' object is not iterable"),
        ("[[]]", "failed in {hook}: "),
    ],
)
def test_requirements_that_are_none(kind: Kind, returned: str, reason: str, tmp_path: Path) -> None:
    hook = f"get_requires_for_build_{kind}"
    project = opened(
        make_project(tmp_path / "p", backend=f"def {hook}(config_settings=None):\n    return {returned}\n")
    )
    with pytest.raises(BackendError) as caught:
        project.get_requires(HERE, {}, kind)
    assert f"the build backend of {tmp_path / 'p'} {reason.format(hook=hook)}" in caught.value.message
    assert caught.value.advice.endswith("To see it again: interlock prepare 'x y'")


def test_a_hook_that_is_killed(tmp_path: Path) -> None:
    project = opened(make_project(tmp_path / "p", backend="def build_editable(*a, **k): os._exit(9)\n"))
    with pytest.raises(BackendError, match=r"\(its exit code: 9\)\n    \(no output\)"):
        project.build_editable(HERE, {}, str(tmp_path))


def test_a_backend_that_cannot_be_imported(tmp_path: Path) -> None:
    directory = make_project(tmp_path / "p")
    pyproject = directory / "pyproject.toml"
    pyproject.write_text('[build-system]\nrequires = []\nbuild-backend = "no_such.backend"\n', encoding="utf-8")
    with pytest.raises(BackendUnavailable, match="cannot be imported") as caught:
        opened(directory).get_requires(HERE, {})
    assert "No module named 'no_such'" in caught.value.message
    assert "[build-system] requires" in caught.value.advice


def test_a_backend_without_editable_installs(tmp_path: Path) -> None:
    project = opened(make_project(tmp_path / "p", backend="del build_editable\n"))
    with pytest.raises(BackendUnavailable, match=r"has no build_editable \(PEP 660\)") as caught:
        project.build_editable(HERE, {}, str(tmp_path))
    assert "setuptools>=64" in caught.value.advice


def test_a_directory_without_a_backend(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="has no build backend") as caught:
        opened(tmp_path)
    assert "exclude it from the workspace" in caught.value.advice
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = core\n", encoding="utf-8")
    with pytest.raises(BackendUnavailable, match="has no build backend") as caught:
        opened(tmp_path)
    assert "a setup.cfg alone is not enough" in caught.value.advice


def test_setuptools_where_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text("", encoding="utf-8")
    assert opened(tmp_path).requires == ("setuptools >= 40.8.0",)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "core"\n', encoding="utf-8")
    assert opened(tmp_path).requires == ("setuptools >= 40.8.0",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[build-system\n", "Failed to parse"),
        ("[build-system]\n", "`requires` is a required property"),
        ('[build-system]\nrequires = "setuptools"\n', "must be an array of strings"),
        ('[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["missing"]\n', "does not exist"),
        ('[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = [".."]\n', "paths must be inside"),
        ("\xff", "decode"),
    ],
)
def test_a_build_system_that_makes_no_sense(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="latin-1")
    with pytest.raises(MetadataError, match=message) as caught:
        opened(tmp_path)
    assert str(tmp_path / "pyproject.toml") in caught.value.message


def test_where_workers_cannot_be_nothing_of_them_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs.sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "interlock.backend_worker", None)  # an import of it fails, as on Windows
    with programs.Output() as output:
        command = [sys.executable, "-c", "print('ran')"]
        assert output.run_hook(command, "receipt", cwd=str(tmp_path), env=dict(os.environ)) == 0
        assert output.text().strip() == "ran"
