"""Links in the place of .pth files, with real backends, pip and uv: what these remove is a link, never what is behind it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from interlock.create import create_environment
from interlock.durable import Disk
from interlock.engine import find_engine
from interlock.environment import Environment
from interlock_runner import interlock, python_of, script_of, succeed, verify
from trees import pyproject, write_tree

pytestmark = [
    pytest.mark.network,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there"),
]

BACKENDS = Path(__file__).resolve().parents[1] / "data" / "backends"
HATCHLING = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
# name: the package of each project; those of ns and old share a namespace, of PEP 420 and in the style of pkgutil.
PACKAGES = {"alone": "alone", "ns-one": "ns/one", "ns-two": "ns/two", "old-one": "old/one", "old-two": "old/two"}
PKGUTIL = '"""Shared."""\n__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a python that has the newest pip."""
    path = tmp_path_factory.mktemp("pip") / "env"
    environment, _ = create_environment(str(path), python=None, disk=Disk("fast"))
    find_engine("uv").install(environment.python, ["pip"], what="pip")
    return environment.python


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=Disk("fast"))
    return environment


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a directory with the projects of PACKAGES."""
    root = tmp_path / "sources"
    for name, package in PACKAGES.items():
        top = package.partition("/")[0]
        files = {
            "pyproject.toml": pyproject(
                name, build=HATCHLING, more=f'[tool.hatch.build.targets.wheel]\npackages = ["src/{top}"]'
            ),
            f"src/{package}/__init__.py": f"NAME = {name!r}\n",
            f"src/{package}/deep/__init__.py": "",
            f"src/{package}/deep/data.txt": f"{name}\n",
        }
        if top == "old":
            files["src/old/__init__.py"] = PKGUTIL
        write_tree(root / name, files)
    return root


def install(source: Path, environment: Environment, *words: str) -> str:
    common = ["--venv", environment.path, "--durability", "fast"]
    output = Path(environment.path).parent / "prepared" / source.name
    line = succeed("prepare", source, "--output", output, *([] if "--no-links" in words else ["--links"]), *common)
    succeed("install", output, *common)
    return line


def digest_of(directory: Path) -> str:
    """Return a digest of all that is below a directory, links and their targets too, and nothing that interpreters write."""
    found = []
    for path in sorted(directory.rglob("*")):
        if "__pycache__" not in path.parts and not any(part.endswith(".egg-info") for part in path.parts):
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
            found.append(f"{path.relative_to(directory)} {hashlib.sha256(content).hexdigest()} {path.lstat().st_mode}")
    return "\n".join(found)


def links_of(environment: Environment) -> dict[str, str]:
    """Return all links beside site-packages and where they lead."""
    base = Path(environment.site_packages[0]).parent / "editable-packages"
    return {str(path.relative_to(base)): os.readlink(path) for path in base.rglob("*") if path.is_symlink()}


def run(*command: str | Path, cwd: Path | None = None) -> str:
    surroundings = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    words = list(map(str, command))
    result = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, env=surroundings)
    assert result.returncode == 0, f"{words}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def value(environment: Environment, code: str) -> str:
    return run(python_of(Path(environment.path)), "-I", "-c", f"print({code})").strip()


def loaded(environment: Environment, module: str) -> str:
    """Return the real path of a module that is imported, "" where it cannot be."""
    load = f"print(os.path.realpath(importlib.import_module({module!r}).__file__))"
    code = f"import os, importlib\ntry:\n    {load}\nexcept ImportError:\n    print()"
    return run(python_of(Path(environment.path)), "-I", "-c", code).strip()


def tool(name: str, pip: str, environment: Environment, *words: str | Path) -> str:
    """Run `uv pip` or `pip` on an environment."""
    python = python_of(Path(environment.path))
    if name == "uv":
        return run(find_engine("uv").command[0], "pip", words[0], "--python", python, *words[1:])
    yes = ["-y"] if words[0] == "uninstall" else []
    return run(pip, "-m", "pip", "--python", python, *words, *yes)


# What can be imported


def test_all_forms_of_packages_are_imported_from_their_sources(environment: Environment, sources: Path) -> None:
    for name in PACKAGES:
        assert ", no links" not in install(sources / name, environment)
    assert links_of(environment) == {
        package: str(sources / name / "src" / package) for name, package in PACKAGES.items()
    }
    for name, package in PACKAGES.items():
        module = package.replace("/", ".")
        assert loaded(environment, f"{module}.deep") == str(sources / name / "src" / package / "deep" / "__init__.py")
        text = f"__import__('importlib.resources').resources.files('{module}.deep').joinpath('data.txt').read_text()"
        assert value(environment, text) == name
    names = [path.name for path in Path(environment.site_packages[0]).glob("*.pth")]
    assert "interlock-editable-packages.pth" in names
    assert not [name for name in names if name.removeprefix("_").startswith(("alone", "ns", "old"))]
    verify(Path(environment.path), ["alone", "ns.one", "old.two"])
    assert "no problems" in succeed("check", "--venv", environment.path)


@pytest.mark.parametrize(
    "backend", sorted(path.name for path in BACKENDS.iterdir() if path.is_dir() and path.name != "meson-python")
)
def test_each_backend_with_links_runs_as_without(backend: str, environment: Environment, tmp_path: Path) -> None:
    """Where its answer is no plain path, all stays as it made it."""
    before = set(os.listdir(tmp_path / "env" / "bin"))
    shutil.copytree(BACKENDS / backend, tmp_path / "source")
    line = install(tmp_path / "source", environment)
    linked = bool(links_of(environment))
    assert linked == (" links" in line and "no links" not in line)
    assert linked == (backend not in {"setuptools-flat", "setup-py"}), line
    scripts = sorted(set(os.listdir(tmp_path / "env" / "bin")) - before)
    assert scripts
    with_links = [run(script_of(tmp_path / "env", name)) for name in scripts]
    install(tmp_path / "source", environment, "--no-links")
    assert links_of(environment) == {}
    assert [run(script_of(tmp_path / "env", name)) for name in scripts] == with_links


# Other tools


@pytest.mark.parametrize("name", ["pip", "uv"])
@pytest.mark.parametrize("first", ["alone", "ns-one"])
def test_an_uninstall_removes_the_links_and_nothing_behind_them(
    name: str, first: str, environment: Environment, sources: Path, pip: str
) -> None:
    for each in PACKAGES:
        install(sources / each, environment)
    before, links = digest_of(sources), links_of(environment)
    for package in PACKAGES.values():
        assert loaded(environment, package.replace("/", "."))
    tool(name, pip, environment, "uninstall", first)
    assert digest_of(sources) == before
    del links[PACKAGES[first]]
    assert links_of(environment) == links, "what is left of the others"
    for each, package in PACKAGES.items():
        assert bool(loaded(environment, package.replace("/", "."))) == (each != first)
    succeed("check", "--venv", environment.path)
    for each in PACKAGES:
        if each != first:
            tool(name, pip, environment, "uninstall", each)
    assert digest_of(sources) == before
    assert links_of(environment) == {}
    succeed("check", "--venv", environment.path)
    for each in PACKAGES:
        install(sources / each, environment)
    assert len(links_of(environment)) == len(PACKAGES)
    verify(Path(environment.path), ["alone", "ns.one", "old.two"])


@pytest.mark.parametrize("name", ["pip", "uv"])
def test_the_only_project_is_uninstalled(name: str, environment: Environment, sources: Path, pip: str) -> None:
    """Then pip takes away whole directories: it sees no file of anybody else."""
    install(sources / "ns-one", environment)
    before = digest_of(sources)
    tool(name, pip, environment, "uninstall", "ns-one")
    assert digest_of(sources) == before
    assert links_of(environment) == {}


@pytest.mark.parametrize("editable", [True, False], ids=["editable", "copied"])
@pytest.mark.parametrize("name", ["pip", "uv"])
def test_an_install_over_links_leaves_the_sources_alone(
    name: str, editable: bool, environment: Environment, sources: Path, pip: str
) -> None:
    """What comes is written elsewhere, and the links go; ours over theirs brings the links back."""
    for each in PACKAGES:
        install(sources / each, environment)
    before = digest_of(sources)
    for each in PACKAGES:
        words = ["-e", sources / each] if editable else [sources / each]
        tool(name, pip, environment, "install", "--no-deps", *words)
    assert digest_of(sources) == before
    assert links_of(environment) == {}
    for each, package in PACKAGES.items():
        where = str(sources / each) if editable else environment.path
        assert loaded(environment, package.replace("/", ".")).startswith(where)
    for each in PACKAGES:
        install(sources / each, environment)
    assert len(links_of(environment)) == len(PACKAGES)
    assert digest_of(sources) == before
    succeed("check", "--venv", environment.path)


def test_pip_that_ignores_what_is_installed_writes_through_no_link(
    environment: Environment, sources: Path, pip: str
) -> None:
    """`--ignore-installed` removes nothing first: in site-packages it would have written into the sources."""
    for each in PACKAGES:
        install(sources / each, environment)
    (sources / "alone" / "src" / "alone" / "__init__.py").write_text("NAME = 'edited'\n", encoding="utf-8")
    before = digest_of(sources)
    wheels = Path(environment.path).parent / "wheels"
    run(pip, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, sources / "alone", sources / "ns-one")
    (sources / "alone" / "src" / "alone" / "__init__.py").write_text("NAME = 'edited again'\n", encoding="utf-8")
    before = digest_of(sources)
    tool("pip", pip, environment, "install", "--no-deps", "--ignore-installed", *wheels.iterdir())
    assert digest_of(sources) == before


def test_what_tools_say_of_it(environment: Environment, sources: Path, pip: str) -> None:
    for each in PACKAGES:
        install(sources / each, environment)
    for name in ("pip", "uv"):
        listed = json.loads(tool(name, pip, environment, "list", "-e", "--format", "json"))
        assert {one["name"]: one["editable_project_location"] for one in listed} == {
            each: str(sources / each) for each in PACKAGES
        }
        tool(name, pip, environment, "check")
    assert "../editable-packages/ns/one" in tool("pip", pip, environment, "show", "-f", "ns-one")
    assert "Version: 1.0" in tool("uv", pip, environment, "show", "-f", "ns-one")
    code = "[str(path) for path in __import__('importlib.metadata').metadata.files('ns-one') if not path.locate().exists()]"
    assert value(environment, code) == "[]"
    assert value(environment, "__import__('importlib.metadata').metadata.version('old-two')") == "1.0"
    value(environment, "__import__('importlib.metadata').metadata.packages_distributions()")


def test_a_damaged_link_is_found_and_mended(environment: Environment, sources: Path) -> None:
    for each in PACKAGES:
        install(sources / each, environment)
    link = Path(environment.site_packages[0]).parent / "editable-packages" / "ns" / "one"
    link.unlink()
    link.symlink_to(sources)
    result = interlock("check", "--venv", environment.path)
    assert result.returncode != 0
    assert "editable-packages/ns/one" in result.stdout + result.stderr
    install(sources / "ns-one", environment)
    succeed("check", "--venv", environment.path)
    assert os.readlink(link) == str(sources / "ns-one" / "src" / "ns" / "one")
