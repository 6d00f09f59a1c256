"""Which projects have an editable wheel that depends on their own files alone: anything unknown is none of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from real_backends import MODULES

from interlock.predictable import is_predictable, outer_files, variables
from monorepos import SHAPES, materialise

PLAIN = """
[build-system]
requires = []
build-backend = "{backend}"

[project]
name = "core"
version = "1.0"
requires-python = "~=3.9"
"""
ALONE = {"flit_core": "flit-core", "uv_build": "uv-build"}

# More of pyproject.toml, by backend: data, all of it.
DATA = {
    "flit_core": ['[tool.flit.module]\nname = "core"', '[tool.flit.sdist]\ninclude = ["x"]'],
    "hatchling": [
        '[tool.hatch.build.targets.wheel]\npackages = ["src/core"]\nexclude = ["*.tmp"]',
        '[tool.hatch.version]\npath = "src/core/version.py"',
        '[tool.hatch.build]\ndev-mode-dirs = ["."]',
        '[tool.hatch.envs.test]\nscripts = { run = "../x {args}" }',
        "[tool.hatch.metadata]\nallow-direct-references = true",
        '[tool.hatch.build]\nexclude = ["/.git", "__pycache__", "../x"]',
        '[project.urls]\nhome = "https://example.org/~somebody/core"',
    ],
    "pdm-backend": ['[tool.pdm.build]\nincludes = ["src"]', '[tool.pdm.version]\nsource = "file"\npath = "core.py"'],
    "poetry-core": ['[tool.poetry]\npackages = [{ include = "core", from = "src" }]'],
    "setuptools": [
        '[tool.setuptools.packages.find]\nwhere = ["src"]',
        '[tool.setuptools.dynamic]\nreadme = { file = ["README.md"] }',
        '[tool.setuptools]\ninclude-package-data = true\npackage-data = { core = ["*.txt"] }',
    ],
    "uv_build": ['[tool.uv.build-backend]\nmodule-root = ""', "[tool.uv]\nany-other = 1"],
}
# What runs code, or leads out of the project, or is not known.
REFUSED = {
    "flit_core": ["[tool.flit.unheard-of]", '[tool.flit.external-data]\ndirectory = "."'],
    "hatchling": [
        "[tool.hatch.build.hooks.vcs]",
        '[tool.hatch.build.targets.wheel.hooks.custom]\npath = "x.py"',
        '[tool.hatch.version]\nsource = "vcs"',
        '[tool.hatch.version]\nsource = "code"\npath = "x.py"',
        '[tool.hatch.version]\nsource = "regex"\nvalidate = true',
        '[tool.hatch.metadata.hooks.custom]\npath = "x.py"',
        '[tool.hatch.build.targets.wheel.force-include]\n"../data" = "core/data"',
        '[tool.hatch.build]\nbuilder = "mine"',
        '[project.optional-dependencies]\na = ["b @ {root:uri}/../b"]',
        '[project.optional-dependencies]\nexclude = ["b @ {root:uri}/b"]',
        '[tool.hatch.build.targets.wheel.force-include]\n"./~/data" = "core/data"',
        '[tool.hatch.build.targets.wheel.force-include]\n"~" = "core/data"',
        '[tool.hatch.build.targets.wheel.shared-data]\n".tox/log" = "share/log"',
        '[tool.hatch.build.targets.wheel.force-include]\n"./" = "core/data"',
        '[tool.hatch.version]\npath = ".git/HEAD"',
    ],
    "pdm-backend": [
        '[tool.pdm.version]\nsource = "scm"',
        '[tool.pdm.version]\nsource = "call"\ngetter = "core:version"',
        '[tool.pdm.version]\nsource = "file"\npath = "core.py"\nwrite_to = "x"',
        '[tool.pdm.build]\ncustom-hook = "hook.py"',
        "[tool.pdm.build]\nrun-setuptools = true",
        '[project.optional-dependencies]\na = ["b @ file:///${HOME}/b"]',
    ],
    "poetry-core": [
        '[tool.poetry.build]\nscript = "build.py"',
        '[tool.poetry.dependencies]\nother = { path = "../other" }',
        '[tool.poetry]\npackages = [{ include = "core", from = "../src" }]',
    ],
    "setuptools": [
        '[tool.setuptools.cmdclass]\nbuild_py = "core.Build"',
        '[[tool.setuptools.ext-modules]]\nname = "core.c"\nsources = ["c.c"]',
        '[tool.setuptools.dynamic]\nversion = { attr = "core.missing" }',
        '[tool.setuptools.package-dir]\n"" = "../src"',
        '[tool.setuptools]\nscript-files = ["x"]',
        "[tool.distutils.egg_info]\ntag_date = true",
        '[tool.setuptools.data-files]\nshare = ["x"]',
        '[tool.setuptools.dynamic]\ndescription = { file = "src/core.egg-info/x" }',
        '[tool.setuptools]\nlicense-files = ["*/LICENSE"]',
        '[tool.setuptools.packages.find]\nwhere = ["src", "not there"]',
        '[tool.setuptools.package-dir]\n"" = "not there"',
    ],
    "uv_build": [
        '[tool.uv.build-backend]\ndata = { data = "." }',
        '[tool.uv.build-backend]\nmodule-root = "../src"',
        "[tool.uv.build-backend]\nunheard-of = 1",
    ],
}


def write(directory: Path, backend: str, more: str = "") -> Path:
    (directory / "src").mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(f"{PLAIN.format(backend=MODULES[backend])}\n{more}\n", encoding="utf-8")
    return directory


def check(directory: Path, backend: str, settings: Any = None, installed: tuple[str, ...] = ()) -> bool:
    names = [ALONE.get(backend, backend), *installed]
    return is_predictable(str(directory), dict.fromkeys(names, "1"), settings or {})


@pytest.mark.parametrize("backend", sorted(MODULES))
def test_a_plain_project(backend: str, tmp_path: Path) -> None:
    assert check(write(tmp_path, backend), backend)


@pytest.mark.parametrize(("backend", "more"), [(name, more) for name in DATA for more in DATA[name]])
def test_tables_of_data(backend: str, more: str, tmp_path: Path) -> None:
    assert check(write(tmp_path, backend, more), backend)


@pytest.mark.parametrize(("backend", "more"), [(name, more) for name in REFUSED for more in REFUSED[name]])
def test_tables_that_are_not_known_to_be_data(backend: str, more: str, tmp_path: Path) -> None:
    assert not check(write(tmp_path, backend, more), backend)


@pytest.mark.parametrize("name", ["setup.py", "hatch_build.py", "hatch.toml", "pdm_build.py"])
def test_files_that_are_code(name: str, tmp_path: Path) -> None:
    write(tmp_path, "setuptools")
    (tmp_path / name).write_text("", encoding="utf-8")
    assert not check(tmp_path, "setuptools")


def test_another_distribution_could_be_a_plugin(tmp_path: Path) -> None:
    write(tmp_path, "setuptools")
    assert check(tmp_path, "setuptools", installed=("wheel",))
    assert not check(tmp_path, "setuptools", installed=("setuptools-scm",))


def test_a_backend_that_is_not_known(tmp_path: Path) -> None:
    write(tmp_path, "setuptools")
    text = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    for other in ("mesonpy", "setuptools.build_meta:__legacy__", "backend"):
        (tmp_path / "pyproject.toml").write_text(text.replace("setuptools.build_meta", other), encoding="utf-8")
        assert not check(tmp_path, "setuptools")
    (tmp_path / "pyproject.toml").write_text(
        text.replace("[project]", 'backend-path = ["."]\n\n[project]'), encoding="utf-8"
    )
    assert not check(tmp_path, "setuptools")


@pytest.mark.parametrize(
    ("settings", "known"),
    [
        ({"editable_mode": "compat"}, True),
        ({"editable_mode": "lenient"}, True),
        ({"editable_mode": "strict"}, False),
        ({"--global-option": "build_ext"}, False),
        ({"editable_mode": ["compat"]}, False),
    ],
)
def test_config_settings(settings: Any, known: bool, tmp_path: Path) -> None:
    assert check(write(tmp_path, "setuptools"), "setuptools", settings) is known


@pytest.mark.parametrize(
    ("module", "written"),
    [
        ('VERSION = "1.0"\n', True),
        ('"""Text."""\nimport os\nVERSION = "1.0"\nOTHER = os.name\n', True),
        ('VERSION = "1.0"\nVERSION += ".1"\n', False),
        ('VERSION = "1.0"\nif True:\n    VERSION = "2"\n', False),
        ('import os\nVERSION = os.environ["V"]\n', False),
        ("from core.other import VERSION\n", False),
        ('for VERSION in ["1"]:\n    pass\n', False),
        ("VERSION = (\n", False),
        ('VERSION = ""\n', False),
        ("", False),
    ],
)
def test_an_attribute_that_is_written(module: str, written: bool, tmp_path: Path) -> None:
    write(tmp_path, "setuptools", '[tool.setuptools.dynamic]\nversion = { attr = "core.VERSION" }')
    (tmp_path / "src" / "core").mkdir()
    (tmp_path / "src" / "core" / "__init__.py").write_text(module, encoding="utf-8")
    assert check(tmp_path, "setuptools") is written


@pytest.mark.parametrize(("version", "written"), [('"1.0"', True), ("other()", False)])
def test_flit_reads_the_module(version: str, written: bool, tmp_path: Path) -> None:
    text = PLAIN.format(backend=MODULES["flit_core"]).replace('version = "1.0"', 'dynamic = ["version"]')
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    (tmp_path / "core.py").write_text(f'"""One line."""\n__version__ = {version}\n', encoding="utf-8")
    assert check(tmp_path, "flit_core") is written


def test_flit_has_two_names_for_the_module_of_stubs(tmp_path: Path) -> None:
    text = PLAIN.format(backend=MODULES["flit_core"]).replace('version = "1.0"', 'dynamic = ["version"]')
    (tmp_path / "pyproject.toml").write_text(text.replace('"core"', '"core-stubs"'), encoding="utf-8")
    (tmp_path / "core_stubs.py").write_text('"""One line."""\n__version__ = "1.0"\n', encoding="utf-8")
    assert not check(tmp_path, "flit_core")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (
            "[metadata]\nname = core\n[options.packages.find]\nwhere = src\n[tool:pytest]\na = b\n[flake8]\nx = 1\n",
            True,
        ),
        ("[mypy-other.*]\nignore = true\n[bdist_wheel]\nuniversal = 1\n", True),
        ("[metadata]\nversion = attr: core.VERSION\n", False),
        ("[options]\nsetup_requires = other\nx = setup_requires\n", False),
        ("[build_ext]\ninplace = 1\n", False),
        ("[options.data_files]\nshare = x\n", False),
        ("[metadata]\ndescription = file: core.egg-info/x\n", False),
        ("[metadata]\nlong_description = file: ../README\n", False),
        ("[metadata]\nlong_description = file:../README\n", False),
        ("[metadata]\nurl = https://example.org/core\n", True),
        ("[metadata]\nlicense_files =\n  LICENSE\n  **/LICENSE\n", False),
        ("[options]\ncmdclass =\n  build_py = core.Build\n", False),
        ("[options]\nsetup-requires = other\n", False),
        ("[options.packages.find]\nwhere = lib\n", False),
        ("[options]\npackage_dir =\n  = src\n  core = src\n", True),
        ("[options]\npackage-dir = core = src, = lib\n", False),
        ("[metadata]\nd = core.egg\nlong_description = file: %(d)s-info/top_level.txt\n", False),
        ("no section", False),
    ],
)
def test_setup_cfg(text: str, plain: bool, tmp_path: Path) -> None:
    write(tmp_path, "setuptools")
    (tmp_path / "setup.cfg").write_text(text, encoding="utf-8")
    assert check(tmp_path, "setuptools") is plain


@pytest.mark.parametrize("name", [".pydistutils.cfg", "pydistutils.cfg"])
def test_distutils_is_configured_at_home(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "p", "setuptools")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert check(tmp_path / "p", "setuptools")
    (tmp_path / name).write_text("", encoding="utf-8")
    assert not check(tmp_path / "p", "setuptools")


@pytest.mark.parametrize(
    ("backend", "name"), [("setuptools", "DIST_EXTRA_CONFIG"), ("pdm-backend", "PDM_BUILD_NO_CLEAN")]
)
def test_a_variable_that_leads_to_files(
    backend: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, backend)
    assert check(tmp_path, backend)
    monkeypatch.setenv(name, str(tmp_path / "x"))
    assert not check(tmp_path, backend)


def test_an_attribute_of_a_package_that_is_elsewhere(tmp_path: Path) -> None:
    write(
        tmp_path,
        "setuptools",
        '[tool.setuptools]\npackage-dir = { core = "lib" }\ndynamic.version = { attr = "core.VERSION" }',
    )
    for path, text in (("lib", "import os\nVERSION = os.environ['V']\n"), ("core", 'VERSION = "1"\n')):
        (tmp_path / path).mkdir()
        (tmp_path / path / "__init__.py").write_text(text, encoding="utf-8")
    assert not check(tmp_path, "setuptools")


@pytest.mark.parametrize("requires", ["setuptools @ file:///x/setuptools.whl", "setuptools@https://x/setuptools.whl"])
def test_a_backend_of_an_address_can_be_any(requires: str, tmp_path: Path) -> None:
    write(tmp_path, "setuptools")
    assert check(tmp_path, "setuptools")
    text = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        text.replace("requires = []", f'requires = ["{requires}"]'), encoding="utf-8"
    )
    assert not check(tmp_path, "setuptools")


@pytest.mark.parametrize(("docstring", "written"), [('"""One line."""\n', True), ('__doc__ = "One" + "line"\n', False)])
def test_flit_reads_the_description(docstring: str, written: bool, tmp_path: Path) -> None:
    text = PLAIN.format(backend=MODULES["flit_core"]).replace('version = "1.0"', 'dynamic = ["version", "description"]')
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    (tmp_path / "core.py").write_text(f'{docstring}__version__ = "1"\n', encoding="utf-8")
    assert check(tmp_path, "flit_core") is written


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('version = "1.0"', "dynamic = 5"),
        ('version = "1.0"', 'dynamic = ["description"]\n[tool.flit.module]\nname = 1.5'),
        ('build-backend = "flit_core.buildapi"', "build-backend = []"),
    ],
)
def test_nonsense_is_not_predictable(before: str, after: str, tmp_path: Path) -> None:
    text = PLAIN.format(backend=MODULES["flit_core"])
    assert before in text
    text = text.replace('requires-python = "~=3.9"\n', "").replace(before, after)
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    assert not check(tmp_path, "flit_core")


def test_variables_that_backends_read() -> None:
    environ = {
        "PATH": "/bin",
        "HATCH_X": "1",
        "LC_ALL": "C",
        "SETUPTOOLS_SCM_PRETEND_VERSION": "2",
        "GITHUB_RUN_ID": "3",
    }
    assert [name for name, _ in variables(environ)] == ["HATCH_X", "LC_ALL", "SETUPTOOLS_SCM_PRETEND_VERSION"]


def test_ignore_files_above_up_to_the_repository(tmp_path: Path) -> None:
    project = tmp_path / "repo" / "libs" / "core"
    project.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    for directory in (tmp_path, tmp_path / "repo", tmp_path / "repo" / "libs", project):
        (directory / ".gitignore").write_text("", encoding="utf-8")
    found = [Path(path).parent for path in outer_files(str(project))]
    assert found == [tmp_path / "repo" / "libs", tmp_path / "repo"]
    (project / ".git").mkdir()
    assert outer_files(str(project)) == []


def test_a_repository_of_one_kind_is_no_boundary_for_the_other(tmp_path: Path) -> None:
    project = tmp_path / "repo" / "core"
    project.mkdir(parents=True)
    for name in (".gitignore", ".hgignore"):
        (tmp_path / name).write_text("", encoding="utf-8")
    (tmp_path / "repo" / ".git").mkdir()
    assert [Path(path) for path in outer_files(str(project))] == [tmp_path / ".hgignore"]
    (tmp_path / "repo" / ".git").rename(tmp_path / "repo" / ".hg")
    assert [Path(path) for path in outer_files(str(project))] == [tmp_path / ".gitignore"]


def test_most_projects_of_real_monorepos_are(tmp_path: Path) -> None:
    found = {True: 0, False: 0}
    for shape in SHAPES:
        for facts in materialise(shape, tmp_path / shape, third_party=True):
            if facts.backend != "setup.py":
                found[check(tmp_path / shape / facts.path, facts.backend)] += 1
    assert found[True] > 9 * found[False], found
