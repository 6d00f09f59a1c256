"""What a backend has answered is asked no second time, and always where anything has changed that the answer depends on."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from real_backends import MODULES, VERSIONS, RealBackend, every_version, real_backend
from test_predictable import DATA, REFUSED

from interlock.answers import PREDICTABLE, build_requires, known_answers
from interlock.cache import forget_files
from interlock.durable import Disk
from interlock.errors import BackendError
from interlock.static.backends import BACKENDS

DISK = Disk("fast")
PYPROJECT = """\
[build-system]
requires = []
build-backend = "{backend}"

[project]
name = "core"
version = "1.0"
"""


@dataclass
class Asked:
    """A project that counts how often its backend is asked."""

    directory: str
    answer: list[str] = field(default_factory=lambda: ["wheel"])
    times: int = 0
    meanwhile: Any = None

    def get_requires(self, *_: object) -> list[str]:
        self.times += 1
        if self.meanwhile is not None:
            self.meanwhile()
        return self.answer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTERLOCK_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    return tmp_path / "cache" / "build-requires"


def project(tmp_path: Path, backend: str = "setuptools.build_meta", more: str = "", name: str = "p") -> Asked:
    (tmp_path / name).mkdir(exist_ok=True)
    (tmp_path / name / "pyproject.toml").write_text(PYPROJECT.format(backend=backend) + more, encoding="utf-8")
    return Asked(str(tmp_path / name))


def ask(
    project: Asked,
    key: str = "key",
    settings: Any = None,
    kind: Any = "editable",
    installed: str = "{}",
    versions: Any = (("setuptools", "1"),),
) -> list[str]:
    """Ask, in a build environment whose backend is of a version of which nothing is known."""
    receipt = Path(project.directory).with_name("receipt.json")
    receipt.write_text(installed, encoding="utf-8")
    environment: Any = SimpleNamespace(
        python="python", scripts="bin", receipt=str(receipt), key=key, installed=lambda: dict(versions)
    )
    asked: Any = project
    return build_requires(asked, environment, settings or {}, kind, DISK)


def asks_again(project: Asked, **changed: Any) -> bool:
    before = project.times
    ask(project, **changed)
    return project.times > before


@pytest.mark.parametrize("backend", sorted(PREDICTABLE))
def test_an_answer_is_kept(backend: str, tmp_path: Path) -> None:
    one = project(tmp_path, backend)
    assert ask(one) == ["wheel"]
    one.answer = ["another"]
    assert ask(one) == ["wheel"]
    assert one.times == 1


@pytest.mark.parametrize(
    "backend", ["mesonpy", "scikit_build_core.build", "maturin", "backend", "setuptools.build_meta:__legacy__"]
)
def test_who_may_look_at_more_than_its_configuration_is_always_asked(backend: str, tmp_path: Path) -> None:
    one = project(tmp_path, backend)
    ask(one)
    assert asks_again(one)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup.py", "from setuptools import setup\nsetup()\n"),
        ("hatch_build.py", ""),
        ("hatch.toml", ""),
        ("pdm_build.py", ""),
    ],
)
def test_a_program_is_always_asked(name: str, text: str, tmp_path: Path) -> None:
    one = project(tmp_path)
    (tmp_path / "p" / name).write_text(text, encoding="utf-8")
    ask(one)
    assert asks_again(one)


@pytest.mark.parametrize(
    "more",
    [
        '[tool.hatch.build.targets.wheel.hooks.custom]\npath = "scripts/make.py"\n',
        '[tool.hatch.build.hooks.custom]\npath = "make.py"\n',
        "[tool.hatch.metadata.hooks.custom]\n",
        "[tool.hatch.build.hooks.a-plugin]\n",
        "[tool.hatch.build.targets.wheel.hooks.a-plugin]\n",
        "[tool.hatch.build.targets.wheel]\nrequire-runtime-dependencies = true\n",
    ],
)
def test_a_hook_of_hatch_s_is_always_asked(more: str, tmp_path: Path) -> None:
    one = project(tmp_path, "hatchling.build", more)
    ask(one)
    assert asks_again(one)


def test_a_backend_of_the_project_is_always_asked(tmp_path: Path) -> None:
    one = project(tmp_path)
    text = (tmp_path / "p" / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "p" / "pyproject.toml").write_text(
        text.replace("requires", 'backend-path = ["."]\nrequires'), encoding="utf-8"
    )
    ask(one)
    assert asks_again(one)


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.cfg", "version.txt", "src/core/__init__.py"])
def test_a_changed_file_is_asked_about(name: str, tmp_path: Path) -> None:
    more = 'dynamic = ["readme"]\n[tool.setuptools]\npackage-dir = {"" = "src"}\n'
    more += '[tool.setuptools.dynamic]\nreadme = {file = ["version.txt"]}\nversion = {attr = "core.__version__"}\n'
    one = project(tmp_path, more=more)
    (tmp_path / "p" / "src" / "core").mkdir(parents=True)
    for each in ("setup.cfg", "version.txt", "src/core/__init__.py"):
        (tmp_path / "p" / each).write_text("", encoding="utf-8")
    ask(one)
    assert not asks_again(one)
    with (tmp_path / "p" / name).open("a", encoding="utf-8") as writer:
        writer.write("# more\n")
    assert asks_again(one)
    assert not asks_again(one)


def test_a_file_that_comes_or_goes_is_asked_about(tmp_path: Path) -> None:
    one = project(tmp_path)
    ask(one)
    (tmp_path / "p" / "setup.cfg").write_text("[options]\nsetup_requires = x\n", encoding="utf-8")
    assert asks_again(one)
    (tmp_path / "p" / "setup.cfg").unlink()
    assert not asks_again(one)  # that answer is known


@pytest.mark.parametrize(
    "changed",
    [
        {"key": "another"},
        {"installed": '{"plugin": "2"}'},
        {"settings": {"a": "b"}},
        {"settings": {"a": ["b", "c"]}},
        {"kind": "wheel"},
    ],
)
def test_other_circumstances_are_asked_about(changed: dict[str, Any], tmp_path: Path) -> None:
    one = project(tmp_path)
    ask(one)
    assert asks_again(one, **changed)
    assert not asks_again(one, **changed)
    assert not asks_again(one)


@pytest.mark.parametrize(
    "name", ["CC", "SETUPTOOLS_SCM_PRETEND_VERSION", "PATH", "HATCH_BUILD_HOOKS_ENABLE", "ODD\udcff"]
)
def test_other_variables_are_asked_about(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = project(tmp_path)
    ask(one)
    monkeypatch.setenv(name, "changed\udcfe")
    assert asks_again(one)
    assert not asks_again(one)


@pytest.mark.parametrize(
    "name", ["PWD", "SHLVL", "OLDPWD", "_", "INTERLOCK_HELD", "INTERLOCK_WORKER", "INTERLOCK_TIMINGS"]
)
def test_what_differs_from_shell_to_shell_is_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = project(tmp_path)
    ask(one)
    monkeypatch.setenv(name, "changed")
    assert not asks_again(one)


def test_another_directory_has_an_answer_of_its_own(tmp_path: Path) -> None:
    ask(project(tmp_path))
    other = project(tmp_path, name="other")
    assert asks_again(other)


def test_a_change_while_it_is_asked_is_not_taken_for_known(tmp_path: Path) -> None:
    one = project(tmp_path)
    one.meanwhile = lambda: project(tmp_path, more="# changed\n")
    ask(one)
    one.meanwhile = None
    assert asks_again(one)


def test_a_failure_is_not_kept(tmp_path: Path, cache: Path) -> None:
    one = project(tmp_path)

    def fail() -> None:
        raise BackendError("failed", advice="")

    one.meanwhile = fail
    with pytest.raises(BackendError):
        ask(one)
    assert not cache.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[1]", b"null", b"[\xff]", b"[" * 5000])
def test_a_note_that_is_none_is_written_again(content: bytes, tmp_path: Path, cache: Path) -> None:
    one = project(tmp_path)
    ask(one)
    (note,) = cache.iterdir()
    note.write_bytes(content)
    assert asks_again(one)
    assert json.loads(note.read_bytes()) == ["wheel"]


def test_notes_are_forgotten(tmp_path: Path, cache: Path) -> None:
    forget_files(known_answers(), None, DISK)  # there are none
    ask(project(tmp_path))
    ask(project(tmp_path, name="other"))
    old, _ = sorted(cache.iterdir())
    os.utime(old, (0, 0))
    forget_files(known_answers(), 30, DISK)
    assert not old.exists()
    assert len(list(cache.iterdir())) == 1
    forget_files(known_answers(), None, DISK)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_fails_no_build(tmp_path: Path, cache: Path) -> None:
    asked = project(tmp_path)
    cache.parent.mkdir()
    cache.write_text("", encoding="utf-8")  # where its directory would be
    assert ask(asked) == ["wheel"]


# What makes a backend ask for more, or might; besides what the tests of predictable projects have.
ASKING = {
    "flit_core": ['dynamic = ["version"]', 'dependencies = ["a"]\ndynamic = ["version", "description"]'],
    "hatchling": [
        '[tool.hatch.build]\ndependencies = ["a>=1"]',
        '[tool.hatch.build.targets.wheel]\ndependencies = ["a"]',
        'dependencies = ["a"]\n[tool.hatch.build]\nrequire-runtime-dependencies = true',
        '[project.optional-dependencies]\nx = ["a"]\n[tool.hatch.build.targets.wheel]\nrequire-runtime-features = ["x"]',
        '[tool.hatch.build.targets]\nwheel = "none"',
    ],
    "pdm-backend": ['dynamic = ["version"]\n[tool.pdm]\nversion = { source = "file", path = "core.py" }'],
    "poetry-core": ['[tool.poetry.dependencies]\na = "*"', '[tool.poetry.group.dev.dependencies]\na = "*"'],
    "setuptools": ['[tool.setuptools]\nsetup-requires = ["a"]', 'dependencies = ["a"]'],
    "uv_build": ['[tool.uv]\nbuild-constraint-dependencies = ["a"]'],
}
CERTAIN = {"hatchling": ["editables~=0.3"]}


def known(source: Asked, real: RealBackend) -> list[str] | None:
    """Return what is said of a project without asking its backend; None where that would be asked."""
    source.answer, before = ["asked"], source.times
    answer = ask(source, versions=real.environment.installed().items(), key=str(before))
    return None if source.times > before else answer


@pytest.mark.parametrize(("backend", "version"), every_version())
def test_what_is_said_without_asking_is_what_the_backend_says(backend: str, version: str, tmp_path: Path) -> None:
    real, plain, unknown = real_backend(backend, version), 0, 0
    for more in ["", *DATA[backend], *REFUSED[backend], *ASKING[backend]]:
        source = project(tmp_path, MODULES[backend], more.replace("dynamic", "version = 1\ndynamic"))
        path = Path(source.directory, "pyproject.toml")
        text = path.read_text(encoding="utf-8")
        if "version = 1\n" in text:
            path.write_text(text.replace('version = "1.0"\n', "").replace("version = 1\n", ""), encoding="utf-8")
        (path.parent / "core.py").write_text('"""Text."""\n__version__ = "1.0"\n', encoding="utf-8")
        answer = known(source, real)
        unknown += answer is None
        if answer is not None:
            plain += 1
            assert answer == CERTAIN.get(backend, [])
            said = real.requires(path.parent)
            # What it refuses it refuses as well when it builds, which nobody skips.
            assert said == answer or (
                said is None and isinstance(real.build(path.parent, tmp_path / "out", {}), str)
            ), more
    assert plain or version.startswith("3.")
    assert unknown


@pytest.mark.parametrize("version", VERSIONS["flit_core"])
def test_a_module_that_only_the_hook_parses(version: str, tmp_path: Path) -> None:
    real, source = (
        real_backend("flit_core", version),
        project(tmp_path, "flit_core.buildapi", 'description = "Text."\n'),
    )
    Path(source.directory, "core.py").write_text("(", encoding="utf-8")
    assert known(source, real) == real.requires(Path(source.directory))


@pytest.mark.parametrize(
    "after", ["", '[build-system]\nbuild-backend = "other"\n', "[build-system]\nbuild-backend = []\n"]
)
def test_a_pyproject_that_changes_while_it_is_looked_at(
    after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = project(tmp_path)

    def changing(*_: object) -> bool:
        Path(one.directory, "pyproject.toml").write_text(after, encoding="utf-8")
        return True

    monkeypatch.setattr("interlock.answers.is_predictable", changing)
    assert ask(one, versions={"setuptools": "84.2.1"}) == ["wheel"]


@pytest.mark.parametrize(
    "text", ["[options]\nsetup_requires = a\n", "[metadata]\nkeywords = x\n", "[options]\nsetup-requires =\n  a>=1\n"]
)
def test_setup_cfg_may_ask(text: str, tmp_path: Path) -> None:
    real, source = real_backend("setuptools", BACKENDS["setuptools.build_meta"].known[-1][1]), project(tmp_path)
    Path(source.directory, "setup.cfg").write_text(text, encoding="utf-8")
    answer, said = known(source, real), real.requires(Path(source.directory))
    assert answer == (None if said else [])


def test_of_another_version_nothing_is_said(tmp_path: Path) -> None:
    for version in ("70.0.0", "77.0.2", "84.2.2", "84.2.1.dev1", "85.0.0"):
        one = project(tmp_path)
        assert ask(one, versions={"setuptools": version}, key=version) == ["wheel"]
    assert ask(project(tmp_path), versions={"setuptools": "84.2.1"}) == []
    assert ask(project(tmp_path), versions={"setuptools": "84.2.1"}, kind="wheel") == ["wheel"]
