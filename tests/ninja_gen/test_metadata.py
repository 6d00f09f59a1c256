"""Static metadata: what a project's own files say, what only the backend knows, and what is invalid."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.errors import MetadataError
from interlock_ninja.globs import list_directory
from interlock_ninja.metadata import NotAProject, Pending, read_metadata
from interlock_ninja.project import Project
from interlock_ninja.source import Source
from trees import BUILD_SYSTEM, pyproject, write_tree

HATCH = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
POETRY = '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'


def read(root: Path, files: dict[str, str | bytes], *, explicit: bool = False) -> Project | Pending | NotAProject:
    write_tree(root / "p", files)
    listing = list_directory(str(root / "p"))
    assert listing is not None
    return read_metadata(Source(str(root), "p", listing.files, listing.folders), explicit=explicit)


def project(root: Path, files: dict[str, str | bytes]) -> Project:
    found = read(root, files)
    assert isinstance(found, Project), found
    return found


def pending(root: Path, files: dict[str, str | bytes]) -> Pending:
    found = read(root, files)
    assert isinstance(found, Pending), found
    return found


def reason(root: Path, files: dict[str, str | bytes]) -> str:
    found = read(root, files)
    assert isinstance(found, NotAProject), found
    return found.reason


def test_a_project_table_is_read_whole(tmp_path: Path) -> None:
    text = pyproject(
        "My.Core_Package",
        "idna >=3 ; python_version>'3'",
        version="1.0.RC1",
        more='requires-python = ">=3.9"\nreadme = "README.md"\ndynamic = ["classifiers"]\n'
        '[project.optional-dependencies]\nMy_Extra = ["tomli"]\n'
        '[dependency-groups]\nTest_ = ["pytest"]\nDev = [{include-group = "test-"}, "ruff"]\n',
    )
    found = project(
        tmp_path, {"pyproject.toml": text, "README.md": "", "src/core/__init__.py": "", "setup.cfg": "[x]\n"}
    )
    assert found == Project(
        name="My.Core_Package",
        normalized="my-core-package",
        version="1.0rc1",
        directory="p",
        requires_python=">=3.9",
        dependencies=("idna >=3 ; python_version>'3'",),
        optional_dependencies={"my-extra": ("tomli",)},
        groups={"test-": ("pytest",), "dev": ("pytest", "ruff")},
        build_requires=("flit_core>=3.11",),
        build_backend="flit_core.buildapi",
        origin="project",
        metadata_file="p/pyproject.toml",
        build_files=("p/pyproject.toml", "p/setup.cfg", "p/README.md"),
        import_names=("core",),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[project\n",
            "p/pyproject.toml is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 9)",
        ),
        ("project = 1\n", "p/pyproject.toml: `project` must be a table"),
        (pyproject("<REPLACE ME>"), "p/pyproject.toml: `project.name` is '<REPLACE ME>', which is no valid name"),
        (pyproject("{{name}}"), "p/pyproject.toml: `project.name` is '{{name}}', which is no valid name"),
        (
            BUILD_SYSTEM + "[project]\nversion = '1'\n",
            "p/pyproject.toml: `project.name` is None, which is no valid name",
        ),
        (
            BUILD_SYSTEM + "[project]\nname = 'a'\n",
            "p/pyproject.toml: `project` has no version, and does not call it dynamic",
        ),
        (pyproject("a", version="$v"), "p/pyproject.toml: `project.version` is '$v', which is no valid version"),
        (
            pyproject("a", more="requires-python = '3.9+'"),
            "`project.requires-python` is '3.9+', which is no valid version spec",
        ),
        (
            pyproject("a", "b; extras == 'x'"),
            "which is no valid requirement: 'extras' in its marker means nothing here",
        ),
        (
            pyproject("a", "b=={version}"),
            "p/pyproject.toml: `project.dependencies` has 'b=={version}', which is no valid requirem",
        ),
        (
            pyproject("a", more="[project.optional-dependencies]\nx=['?']"),
            "`project.optional-dependencies.x` has '?', which",
        ),
        (pyproject("a", more="dynamic = 'version'"), "p/pyproject.toml: `project.dynamic` must be a list of strings"),
        ("[build-system]\nbuild-backend = 'x'\n", "p/pyproject.toml: `build-system.requires` is missing (PEP 518)"),
        (
            "[build-system]\nrequires = ['<x>']\n",
            "p/pyproject.toml: `build-system.requires` has '<x>', which is no valid requ",
        ),
        (
            POETRY + "[tool.poetry]\nname = 'a'\n",
            "p/pyproject.toml: `tool.poetry.version` is None, which is no valid version",
        ),
        (b"name = '\xe9'", "p/pyproject.toml is not UTF-8: 'utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_invalid_metadata_says_where(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(MetadataError) as caught:
        read(tmp_path, {"pyproject.toml": text})
    assert message in caught.value.message


DYNAMIC = "[project]\nname = 'some-name'\ndynamic = ['version']\n"


@pytest.mark.parametrize(
    ("build", "tables", "files"),
    [
        (HATCH, "[tool.hatch.version]\npath = 'src/x/v.py'\n", {"src/x/v.py": "'''d'''\n__version__ = 'v1.2'\n"}),
        (HATCH, "[tool.hatch.version]\npath = 'v.py'\nsource = 'regex'\n", {"v.py": 'VERSION="1.2"\n'}),
        (
            SETUPTOOLS,
            "[tool.setuptools.dynamic]\nversion = {attr = 'x.__version__'}\n",
            {"x/__init__.py": "__version__='1.2'"},
        ),
        (SETUPTOOLS, "[tool.setuptools.dynamic]\nversion = {attr = 'x.v.V'}\n", {"src/x/v.py": "V: str = '1.2'"}),
        (SETUPTOOLS, "[tool.setuptools.dynamic]\nversion = {file = 'VERSION'}\n", {"VERSION": "1.2\n"}),
        (SETUPTOOLS, "[tool.setuptools.dynamic]\nversion = {file = ['VERSION']}\n", {"VERSION": "1.2\n"}),
        (BUILD_SYSTEM, "", {"some_name.py": "__version__ = '1.2'"}),
        (BUILD_SYSTEM, "[tool.flit.module]\nname = 'a.b'\n", {"src/a/b/__init__.py": "__version__ = '1.2'"}),
        (POETRY, "[tool.poetry]\nversion = '1.2'\n", {}),
    ],
)
def test_a_dynamic_version_that_is_certain_is_read(
    tmp_path: Path, build: str, tables: str, files: dict[str, str | bytes]
) -> None:
    found = project(tmp_path, {"pyproject.toml": build + DYNAMIC + tables, **files})
    assert found.version == "1.2"
    # A new version in that file has to be noticed.
    assert set(found.build_files) == {"p/pyproject.toml", *(f"p/{name}" for name in files)}


@pytest.mark.parametrize(
    ("build", "tables", "files"),
    [
        (HATCH, "[tool.hatch.version]\nsource = 'vcs'\n", {}),
        (HATCH, "[tool.hatch.version]\npath = 'v.py'\npattern = 'x(?P<version>.)'\n", {"v.py": "__version__ = '1.2'"}),
        (HATCH, "[tool.hatch.version]\npath = 'v.py'\n", {"v.py": "__version__ = '1.2'", "hatch.toml": ""}),
        (HATCH, "[tool.hatch.version]\npath = 'v.py'\n", {"v.py": "version = compute()"}),
        (HATCH, "[tool.hatch.version]\npath = 'v.py'\n", {"v.py": "__version__ = 'not one'"}),
        (SETUPTOOLS, "[tool.setuptools_scm]\n", {}),
        (SETUPTOOLS, "[tool.setuptools.dynamic]\nversion = {attr = 'x.V'}\n", {"x.py": "V = '1'\nV = '2'"}),
        (SETUPTOOLS, "[tool.setuptools.dynamic]\nversion = {attr = 'x.V'}\n", {"x.py": "V = f()"}),
        (
            SETUPTOOLS,
            "[tool.setuptools.dynamic]\nversion = {attr = 'x.V'}\n",
            {"x.py": "V = '1'", "src/x.py": "V = '2'"},
        ),
        (SETUPTOOLS, "[tool.setuptools.dynamic]\nversion = {attr = 'x.V'}\n", {"x.py": "print 'x'"}),
        (SETUPTOOLS, "[tool.setuptools.dynamic]\nversion = {file = ['A', 'B']}\n", {"A": "1", "B": "2"}),
        (POETRY, "[tool.poetry]\nversion = '1'\n[tool.poetry-dynamic-versioning]\nenable = true\n", {}),
        ('[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n', "", {}),
    ],
)
def test_a_version_that_is_not_certain_is_asked_of_the_backend(
    tmp_path: Path, build: str, tables: str, files: dict[str, str | bytes]
) -> None:
    found = pending(tmp_path, {"pyproject.toml": build + DYNAMIC + tables, **files})
    assert (found.why, found.known.name, found.known.version) == ("dynamic version", "some-name", "")


def test_dynamic_dependencies_are_asked_for_and_their_files_watched(tmp_path: Path) -> None:
    text = (
        SETUPTOOLS
        + "[project]\nname = 'a'\nversion = '1'\ndynamic = ['dependencies', 'optional-dependencies', 'readme']\n"
    )
    text += "[tool.setuptools.dynamic]\ndependencies = {file = ['r.txt']}\noptional-dependencies.x = {file = 'x.txt'}\n"
    found = pending(tmp_path, {"pyproject.toml": text, "r.txt": "", "x.txt": "", "_version.py": ""})
    assert found.why == "dynamic dependencies, optional-dependencies"
    assert found.known.build_files == ("p/pyproject.toml", "p/r.txt", "p/x.txt", "p/_version.py")


def test_dynamic_fields_that_do_not_matter_are_left_alone(tmp_path: Path) -> None:
    more = "dynamic = ['readme', 'description', 'classifiers', 'license', 'urls', 'scripts']"
    assert project(tmp_path, {"pyproject.toml": pyproject("a", more=more)}).origin == "project"


def test_poetry_tables_are_read(tmp_path: Path) -> None:
    text = POETRY + "[tool.poetry]\nname = 'My_P'\nversion = '1.0'\npackages = [{include = 'x', from = 'lib'}]\n"
    text += "[tool.poetry.dependencies]\npython = '^3.9'\ncore = {path = '../core', develop = true}\n"
    found = project(tmp_path, {"pyproject.toml": text, "lib/x/__init__.py": ""})
    assert (found.name, found.origin, found.requires_python) == ("My_P", "poetry", ">=3.9,<4.0")
    assert found.dependencies == (f"core @ {(tmp_path / 'core').as_uri()}",)
    assert found.import_names == ("x",)
    unclear = pending(tmp_path, {"pyproject.toml": text + "other = '^1 || ^2'\n"})
    assert unclear.why == "poetry's '^1 || ^2' has no plain translation"


SETUP_CFG = """
[metadata]
name = My_Cfg
version = 1.0
[options]
python_requires = >=3.8
install_requires =
    core>=1  # why
    # nothing
    idna; python_version < "4"
[options.extras_require]
Test_X = pytest; pytest-cov
"""


def test_literals_of_setup_cfg_are_read(tmp_path: Path) -> None:
    script = "import setuptools\nsetuptools.setup(zip_safe=False, ext_modules=[])\n"
    found = project(tmp_path, {"setup.cfg": SETUP_CFG, "setup.py": script, "my_cfg/__init__.py": ""})
    assert (found.name, found.version, found.requires_python) == ("My_Cfg", "1.0", ">=3.8")
    assert found.dependencies == ("core>=1", 'idna; python_version < "4"')
    assert found.optional_dependencies == {"test-x": ("pytest", "pytest-cov")}
    assert (found.origin, found.metadata_file) == ("setup.cfg", "p/setup.cfg")
    assert found.build_requires == ("setuptools>=40.8.0",)
    assert found.build_backend == "setuptools.build_meta:__legacy__"


@pytest.mark.parametrize(
    ("setup_cfg", "setup_py"),
    [
        (SETUP_CFG.replace("1.0", "attr: my_cfg.__version__", 1), ""),
        (SETUP_CFG.replace("version = 1.0", "version = file: VERSION"), ""),
        (SETUP_CFG.replace("version = 1.0\n", ""), ""),
        (SETUP_CFG + "[options]\n", ""),  # a section twice
        (SETUP_CFG, "version='2'"),
        (SETUP_CFG, "use_scm_version=True"),
        (SETUP_CFG, "**arguments"),
    ],
)
def test_setup_cfg_with_more_than_literals_is_asked_of_the_backend(
    tmp_path: Path, setup_cfg: str, setup_py: str
) -> None:
    files = {"setup.cfg": setup_cfg, "setup.py": f"from setuptools import setup\nsetup({setup_py})", "helper.py": ""}
    found = pending(tmp_path, dict(files))
    assert found.why == "setup.py decides"
    assert found.known.build_files == ("p/setup.py", "p/setup.cfg", "p/helper.py")


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"pyproject.toml": ""}, "an empty pyproject.toml"),
        ({"pyproject.toml": "[tool.ruff]\n"}, "only the configuration of tools"),
        ({"pyproject.toml": "[dependency-groups]\ndev = []\n"}, "only dependency groups"),
        ({"pyproject.toml": SETUPTOOLS}, "[build-system] alone: no file says what it is called"),
        ({"setup.cfg": "[flake8]\n"}, "only the configuration of tools"),
        ({"setup.cfg": SETUP_CFG}, "setup.cfg without setup.py or pyproject.toml: pip does not install it"),
        ({"setup.py": "class Setup: ...\n"}, "its setup.py is no setup script"),
        ({"setup.py": "def setup(): ...\nsetup()\n"}, "its setup.py is no setup script"),
        ({"setup.py": "import setuptools\n"}, "its setup.py is no setup script"),
        ({"setup.py": "this is no Python\n"}, "its setup.py is no setup script"),
        ({"pyproject.toml": pyproject("a", more="[tool.uv]\npackage = false")}, "virtual: tool.uv.package = false"),
        (
            {"pyproject.toml": POETRY + "[tool.poetry]\npackage-mode = false"},
            "virtual: tool.poetry.package-mode = false",
        ),
        ({"pyproject.toml": POETRY + "[tool.poetry]\n"}, "virtual: [tool.poetry] has neither name nor version"),
        (
            {"pyproject.toml": "[tool.poetry]\nname = 'a'\nversion = '1'\n"},
            "[tool.poetry] without [build-system]: nothing would build it with poetry",
        ),
        (
            {"pyproject.toml": "[tool.interlock]\n", "setup.py": "from setuptools import setup\nsetup(name='a')\n"},
            "a workspace of its own: it has [tool.interlock]",
        ),
    ],
)
def test_what_is_no_project_says_why(tmp_path: Path, files: dict[str, str | bytes], why: str) -> None:
    assert reason(tmp_path, files) == why


def test_setup_scripts_of_any_age_and_coding_are_projects(tmp_path: Path) -> None:
    for number, text in enumerate(
        [
            b"from distutils.core import setup\nsetup(name='a')\n",
            b"#!/usr/bin/python\n# \xe9\nimport setuptools\nsetuptools.setup(name='a')\n",  # Latin-1 without saying so
            b"from setuptools import setup\nprint 'Python 2'\nsetup(name='a')\n",
            b"import setuptools\nif True:\n    setuptools.setup()\n",
        ]
    ):
        assert pending(tmp_path / str(number), {"setup.py": text}).why == "setup.py decides"


def test_an_unusable_group_is_left_out(tmp_path: Path) -> None:
    groups = "[dependency-groups]\na = [{include-group = 'b'}]\nb = [{include-group = 'a'}]\nc = ['{x}']\nd = [1]\ne = ['f']\n"
    assert project(tmp_path, {"pyproject.toml": pyproject("a", more=groups)}).groups == {"e": ("f",)}


NO_BUILD = "[project]\nname = 'a'\nversion = '1'\n"


@pytest.mark.parametrize(
    ("files", "is_project"),
    [
        ({}, False),
        ({"a/__init__.py": ""}, True),
        ({"src/a/x.py": ""}, True),
        ({"a.py": ""}, True),
        ({"a/__init__.py": "", "b/__init__.py": ""}, False),  # setuptools refuses to choose
        ({"a.py": "", "b.py": ""}, False),
        ({"a/x.py": ""}, False),
        ({"docs/__init__.py": "", "tests/__init__.py": "", "conftest.py": ""}, False),
        ({"setup.py": "from setuptools import setup\nsetup()\n", "x.py": "", "y.py": ""}, True),
    ],
)
def test_a_project_without_build_system_needs_code(
    tmp_path: Path, files: dict[str, str | bytes], is_project: bool
) -> None:
    found = read(tmp_path, {"pyproject.toml": NO_BUILD, **files})
    assert isinstance(found, Project if is_project else NotAProject)
    # The configuration's own members are projects in any case; pip would install them too.
    assert isinstance(read(tmp_path, {"pyproject.toml": NO_BUILD, **files}, explicit=True), Project)


def test_declarations_go_before_the_search_for_code(tmp_path: Path) -> None:
    for number, table in enumerate(["[tool.uv]\npackage = true\n", "[tool.setuptools]\npackages = []\n"]):
        assert project(tmp_path / str(number), {"pyproject.toml": NO_BUILD + table}).build_requires == (
            "setuptools>=40.8.0",
        )


@pytest.mark.parametrize(
    ("build", "files", "names"),
    [
        (HATCH, {"src/a/__init__.py": "", "src/b/c/__init__.py": "", "tests/__init__.py": ""}, ("a", "b.c")),
        (HATCH, {"a/__init__.py": "", "tests/__init__.py": ""}, ("a", "tests")),
        (SETUPTOOLS, {"a/__init__.py": "", "tests/__init__.py": ""}, ("a",)),
        (HATCH, {"src/n/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)"}, ()),
        (
            HATCH,
            {"src/n/__init__.py": "__import__('pkg_resources').declare_namespace(__name__)", "src/n/a/__init__.py": ""},
            ("n.a",),
        ),
        (HATCH, {}, ()),
    ],
)
def test_import_names(tmp_path: Path, build: str, files: dict[str, str | bytes], names: tuple[str, ...]) -> None:
    text = pyproject("a", build=build)
    assert project(tmp_path, {"pyproject.toml": text, **files}).import_names == names
