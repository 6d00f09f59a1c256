"""Which files of a project an editable build reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.inputs import project_inputs, unchanged_since


def files(directory: Path, pyproject: str, *names: str) -> list[str]:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("", encoding="utf-8")
    if pyproject:
        (directory / "pyproject.toml").write_text(pyproject, encoding="utf-8")
    return [Path(os.path.relpath(path, directory)).as_posix() for path in project_inputs(str(directory))]


def test_build_files_that_exist(tmp_path: Path) -> None:
    found = files(
        tmp_path, "[project]\n", "setup.py", "MANIFEST.in", "README.md", "core.py", "meson.build", "hatch.toml"
    )
    assert found == ["MANIFEST.in", "hatch.toml", "meson.build", "pyproject.toml", "setup.py"]


def test_a_file_that_does_not_exist_is_no_input(tmp_path: Path) -> None:
    assert files(tmp_path, '[project]\nreadme = "README.md"\nlicense-files = ["LICENSE*"]\n') == ["pyproject.toml"]


@pytest.mark.parametrize(
    ("pyproject", "names"),
    [
        ('[project]\nreadme = "README.md"', ["README.md"]),
        ('[project]\nreadme = { file = "docs/README.rst", content-type = "text/x-rst" }', ["docs/README.rst"]),
        ('[project]\nlicense = { file = "COPYING" }', ["COPYING"]),
        (
            '[project]\nlicense-files = ["LICEN[CS]E*", "licenses/**/*.txt"]',
            ["LICENSE.a", "LICENCE", "licenses/x/y.txt"],
        ),
        ('[tool.setuptools.dynamic]\nversion = { file = ["VERSION", "SUFFIX"] }', ["SUFFIX", "VERSION"]),
        ('[tool.setuptools.dynamic]\nversion = { attr = "core.about.VERSION" }', ["core/about.py"]),
        ('[tool.setuptools.dynamic]\nversion = { attr = "core.__version__" }', ["src/core/__init__.py"]),
        (
            '[tool.setuptools]\npackage-dir = { "" = "lib" }\ndynamic = { version = { attr = "core.V" } }',
            ["lib/core/__init__.py"],
        ),
        (
            '[tool.setuptools]\npackages.find.where = ["python"]\ndynamic = { version = { attr = "core.V" } }',
            ["python/core/__init__.py"],
        ),
        ('[tool.hatch.version]\npath = "src/core/__about__.py"', ["src/core/__about__.py"]),
        ("[tool.hatch.build.hooks.custom]", ["hatch_build.py"]),
        ('[tool.hatch.metadata.hooks.custom]\npath = "meta.py"', ["meta.py"]),
        ('[tool.pdm.version]\nsource = "file"\npath = "core.py"', ["core.py"]),
        ('[tool.poetry]\nreadme = ["README.md", "HISTORY.md"]', ["HISTORY.md", "README.md"]),
        ('[build-system]\nbuild-backend = "flit_core.buildapi"\n[project]\nname = "My-Core"', ["My_Core.py"]),
        ('[tool.flit.metadata]\nmodule = "core"\ndescription-file = "README.rst"', ["README.rst", "core/_version.py"]),
        ('[tool.flit.module]\nname = "core"', ["src/core/__init__.py"]),
        ('[build-system]\nbuild-backend = "tools.b:x"\nbackend-path = ["."]', ["tools/b.py", "tools/c/d.py"]),
    ],
)
def test_files_that_the_configuration_names(pyproject: str, names: list[str], tmp_path: Path) -> None:
    assert files(tmp_path, pyproject + "\n", *names, "unnamed.txt") == sorted([*names, "pyproject.toml"])


def test_flit_reads_code_only_for_what_is_not_in_pyproject(tmp_path: Path) -> None:
    text = '[build-system]\nbuild-backend = "flit_core.buildapi"\n[project]\nname = "core"\n'
    names = ["core/__init__.py", "pyproject.toml"]
    assert files(tmp_path, text + 'version = "1"\ndynamic = ["description"]\n', *names[:1]) == names
    assert files(tmp_path, text + 'description = "d"\ndynamic = ["version"]\n') == names
    assert files(tmp_path, text + 'version = "1"\ndescription = "d"\n') == names[1:]


def test_files_that_a_setup_cfg_names(tmp_path: Path) -> None:
    text = "[metadata]\nversion = attr: core.VERSION\nlong_description = file: README.md, HISTORY.md\nlicense_files = COPY*\n"
    names = ["README.md", "HISTORY.md", "COPYING", "src/core/__init__.py"]
    files(tmp_path, "", *names)
    (tmp_path / "setup.cfg").write_text(text, encoding="utf-8")
    assert files(tmp_path, "") == sorted([*names, "setup.cfg"])


@pytest.mark.parametrize(
    "text", ["[project\n", "project = 1\ntool = []\n", '[project]\nreadme = 1\nlicense = ["x"]\n', "\xff"]
)
def test_a_configuration_that_makes_no_sense_names_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="latin-1")
    (tmp_path / "setup.cfg").write_text("no section = 1\n\xff", encoding="latin-1")
    assert files(tmp_path, "") == ["pyproject.toml", "setup.cfg"]


def test_a_directory_whose_name_is_a_pattern(tmp_path: Path) -> None:
    project = tmp_path / "project [x]* é"
    project.mkdir()
    assert files(project, '[project]\nlicense-files = ["L*"]\n', "LICENSE") == ["LICENSE", "pyproject.toml"]


def test_a_pattern_stays_in_the_project(tmp_path: Path) -> None:
    """What is named outside counts; what a pattern could find there would be looked for on all of the disk."""
    for name in ("LICENSE", "LOST"):
        (tmp_path / name).write_text("", encoding="utf-8")
    project = tmp_path / "project"
    text = f'[project]\nreadme = "../LICENSE"\nlicense-files = ["../L*", "{tmp_path.as_posix()}/**/L*", "L*"]\n'
    assert files(project, text, "LEGAL") == ["../LICENSE", "LEGAL", "pyproject.toml"]


def test_what_changed_since_a_moment_is_known_by_its_time(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path, moment in ((one, 1_000), (other, 2_000)):
        path.write_bytes(b"")
        os.utime(path, ns=(moment, moment))
    assert unchanged_since(2_001, map(str, (one, other)))
    assert not unchanged_since(2_000, map(str, (one, other)))
    assert not unchanged_since(2_001, [str(one), str(tmp_path / "gone")])
