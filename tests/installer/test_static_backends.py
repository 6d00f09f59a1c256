"""Static answers beside the real backends', by hand-written projects: the features of [project] one by one, the layouts."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from real_backends import MODULES, VERSIONS, every_version, real_backend

from interlock.static.backends import BACKENDS, static_answer
from interlock.static.project import read_project
from interlock.static.tree import NotStatic, Tree
from monorepos import SHAPES, materialise

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="static editables are not for Windows yet")

BASE = '[project]\nname = "my-core"\nversion = "1.0"\ndescription = "One line"\n'
# What is after BASE; everything that there is comes at least once.
FEATURES = {
    "nothing": "",
    "readme": 'readme = "README.md"',
    "readme rst": 'readme = "docs/about.rst"',
    "readme table": 'readme = { file = "README.md", content-type = "text/plain" }',
    "readme text": 'readme = { text = "# Hi\\n\\n  there\\n", content-type = "text/markdown" }',
    "python": 'requires-python = ">=3.9"',
    "python range": 'requires-python = ">= 3.9, <4"',
    "license": 'license = "MIT"',
    "licenses": 'license = "MIT OR Apache-2.0"\nlicense-files = ["LICENSE", "docs/NOTICE*"]',
    "license text": 'license = { text = "My own" }',
    "no license files": "license-files = []",
    "people": 'authors = [{ name = "J. Doe", email = "j.doe@example.org" }]\nmaintainers = [{ name = "Core team", email = "c@example.org" }]',  # noqa: E501
    "people in parts": 'authors = [{ name = "Someone" }, { email = "a@example.org" }, { name = "Ünï Çode", email = "u@example.org" }]',  # noqa: E501
    "keywords": 'keywords = ["zebra", "build tools", "a-b"]',
    "classifiers": 'classifiers = ["Typing :: Typed", "Programming Language :: Python :: 3.10", "Programming Language :: Python :: 3.9"]',  # noqa: E501
    "urls": '[project.urls]\nHomepage = "https://example.org"\n"Bug Tracker" = "https://example.org/bugs?q=1"\nrepository = "https://example.org/r"',
    "scripts": '[project.scripts]\nzz = "my_core:main"\naa-b = "my_core.x:Main.run"\n[project.gui-scripts]\ngui = "my_core:gui"',  # noqa: E501
    "entry points": '[project.entry-points."b.c"]\nz = "my_core"\na = "my_core:x"\n[project.entry-points.a]\nq = "my_core:y"',
    "dependencies": 'dependencies = ["requests >= 2.8, < 3", "B.c_D", "e[y,x]==1.2.*", "f!=1.5", "g~=1.4.2", "h<=2.0", "i>1"]',
    "markers": """dependencies = ["a; python_version < '3.11'", 'b>=1 ; sys_platform=="win32"', "c ;python_version>='3.9' and os_name != 'nt'"]""",  # noqa: E501
    "extras": '[project.optional-dependencies]\nzip = ["z>=1", "y; sys_platform == \'linux\'"]\nall-of = ["x[p]"]\nnone = []',
    "unicode": 'readme = "ÜBER.md"\nkeywords = ["größe"]',
}
LAYOUTS = {
    "setuptools": {
        "src": "",
        "find": '[tool.setuptools.packages.find]\nwhere = ["src"]',
        "listed": '[tool.setuptools]\npackages = ["my_core"]\npackage-dir = { "" = "src" }',
    },
    "hatchling": {
        "src": "",
        "packages": '[tool.hatch.build.targets.wheel]\npackages = ["src/my_core"]',
        "dev": '[tool.hatch.build.targets.wheel]\npackages = ["src/my_core"]\ndev-mode-dirs = ["src"]',
    },
    "flit_core": {"src": "", "named": '[tool.flit.module]\nname = "my_core.deep"'},
    "uv_build": {"src": "", "named": '[tool.uv.build-backend]\nmodule-name = "name_space.one"\nmodule-root = "src"'},
    "poetry-core": {"src": "", "packages": '[tool.poetry]\npackages = [{ include = "my_core", from = "src" }]'},
    "pdm-backend": {"src": "", "named": '[tool.pdm.build]\npackage-dir = "src"'},
}


def make(directory: Path, module: str, text: str, root: str = "src") -> Path:
    """Write a project with one package, a readme of each kind, licenses, and a package in a namespace."""
    packages = ["my_core", "my_core/deep", "name_space/one"] if root else ["my_core"]
    for name in packages:
        (directory / root / name).mkdir(parents=True)
        if name != "name_space":
            (directory / root / name / "__init__.py").write_text("", encoding="utf-8")
    (directory / "docs").mkdir()
    files = {
        "README.md": "# Über\n\nText: with a colon\n\n    code\n",
        "ÜBER.md": "no newline at its end",
        "docs/about.rst": "About\n=====\n",
        "LICENSE": "Do what you want.\n",
        "LICENSE.MIT": "MIT\n",
        "docs/NOTICE.txt": "Noted\n",
        "AUTHORS": "us\n",
    }
    for name, content in files.items():
        (directory / name).write_text(content, encoding="utf-8")
    backend = f'[build-system]\nrequires = ["x"]\nbuild-backend = "{module}"\n'
    (directory / "pyproject.toml").write_text(f"{backend}{text}\n", encoding="utf-8")
    return directory


@pytest.mark.parametrize(("name", "version"), every_version())
def test_each_feature_is_equal_or_refused(name: str, version: str, tmp_path: Path) -> None:
    backend = real_backend(name, version)
    refused = {}
    for number, (feature, text) in enumerate(FEATURES.items()):
        project = make(tmp_path / str(number), backend.module, BASE + text)
        if reason := backend.compare(project, tmp_path / "wheels"):
            refused[feature] = reason
    assert len(refused) <= len(FEATURES) // 4, refused
    assert "nothing" not in refused
    assert "scripts" not in refused


@pytest.mark.parametrize(("name", "version"), every_version())
def test_each_layout_is_equal(name: str, version: str, tmp_path: Path) -> None:
    backend = real_backend(name, version)
    for layout, text in LAYOUTS[name].items():
        project = make(tmp_path / layout, backend.module, f"{BASE}{text}")
        assert backend.compare(project, tmp_path / "wheels") == "", layout


@pytest.mark.parametrize("name", MODULES)
def test_a_flat_layout(name: str, tmp_path: Path) -> None:
    """For setuptools with editable_mode=compat; without it is a finder, which is refused."""
    backend = real_backend(name, VERSIONS[name][0])
    text = f'{BASE}[tool.uv.build-backend]\nmodule-root = ""\n'
    project = make(tmp_path / "p", backend.module, text, root="")
    assert backend.compare(project, tmp_path / "wheels", {"editable_mode": "compat"}) == ""
    if name == "setuptools":
        assert "finder" in backend.compare(project, tmp_path / "wheels")


def test_packages_that_are_not_all_in_one_directory_are_refused(tmp_path: Path) -> None:
    """Of `a.b` alone setuptools does not see that `a` is its directory, and writes a finder."""
    backend = real_backend("setuptools", VERSIONS["setuptools"][0])
    text = '[tool.setuptools]\npackage-dir = { "" = "src" }\npackages = ["my_core.deep"]'
    project = make(tmp_path / "p", backend.module, BASE + text)
    assert "finder" in backend.compare(project, tmp_path / "wheels")
    assert backend.compare(project, tmp_path / "wheels", {"editable_mode": "compat"}) == ""
    assert any("finder" in name for name in backend.build(project, tmp_path / "wheels", {}))


# How many projects of a shape have static answers; most others have a dynamic version, or no pyproject.toml at all.
STATIC = {"agent-framework": 39, "airflow": 120, "certbot": 1, "charmlibs": 6, "opentelemetry-python": 1}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_projects_of_real_monorepos_are_equal_or_refused(shape: str, tmp_path: Path) -> None:
    equal = 0
    for facts in materialise(shape, tmp_path / "tree", third_party=True):
        if facts.backend != "setup.py":
            backend = real_backend(facts.backend, VERSIONS[facts.backend][0])
            equal += not backend.compare(tmp_path / "tree" / facts.path, tmp_path / "wheels")
    assert equal == STATIC.get(shape, 0)


def test_every_known_range_ends_with_the_versions_that_tests_run() -> None:
    for name, module in MODULES.items():
        known = BACKENDS[module].known
        assert (known[-1][1], known[0][0]) == VERSIONS[name]


@pytest.mark.parametrize(
    ("installed", "reason"),
    [
        ({"uv-build": "0.13.7"}, "has uv-build 0.13.7, and known are 0.9.30 to 0.13.6"),
        ({"uv-build": "0.9.29"}, "has uv-build 0.9.29, and known are"),
        ({"uv-build": "0.13.6rc1"}, "has uv-build 0.13.6rc1, and known are"),
        ({}, "has uv-build (none), and known are"),
        ({"uv-build": "0.13.6", "sneaky-plugin": "1.0"}, "has sneaky-plugin too"),
    ],
)
def test_another_version_and_a_plugin_are_refused(installed: dict[str, str], reason: str, tmp_path: Path) -> None:
    tree = Tree(str(make(tmp_path / "p", "uv_build", BASE)))
    with pytest.raises(NotStatic) as caught:
        static_answer(read_project(tree), tree, installed, {})
    assert reason in caught.value.reason


def test_every_file_that_was_read_is_an_input(tmp_path: Path) -> None:
    """And every directory that was listed; no file that was not looked at."""
    installed = {"setuptools": "84.2.1"}
    text = 'readme = "README.md"\nlicense-files = ["LICENSE", "docs/NOTICE*"]'
    project = make(tmp_path / "p", "setuptools.build_meta", BASE + text)
    tree = Tree(str(project))
    static_answer(read_project(tree), tree, installed, {})
    expected = {"", "pyproject.toml", "README.md", "LICENSE", "docs", "docs/NOTICE.txt", "src"}
    assert set(tree.inputs) == {os.path.normpath(project / name) for name in expected}
    tree = Tree(str(make(tmp_path / "q", "uv_build", BASE)))
    static_answer(read_project(tree), tree, {"uv-build": "0.13.6"}, {})
    assert set(tree.inputs) == {str(tmp_path / "q" / name) for name in ("pyproject.toml", "src/my_core/__init__.py")}


def test_settings_that_nothing_is_known_of_are_refused(tmp_path: Path) -> None:
    tree = Tree(str(make(tmp_path / "p", "setuptools.build_meta", BASE)))
    project = read_project(tree)
    assert static_answer(project, tree, {"setuptools": "84.2.1"}, {"editable_mode": "compat"}).name == "my-core"
    for settings in ({"editable_mode": "strict"}, {"--build-option": "x"}, {"editable_mode": ["compat"]}):
        with pytest.raises(NotStatic, match="config setting"):
            static_answer(project, tree, {"setuptools": "84.2.1"}, settings)
    with pytest.raises(NotStatic, match="build backend is not named"):
        static_answer(replace(project, backend=""), tree, {}, {})
