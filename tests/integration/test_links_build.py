"""A workspace with `links = true`: what is built again when, with real Ninjas."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from interlock_runner import python_of, succeed, verify
from trees import pyproject, write_tree

pytestmark = [
    pytest.mark.network,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there"),
]

SETUPTOOLS = '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
HATCHLING = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a workspace of two projects, the first of which has egg-info written into its sources."""
    files = {
        "interlock.toml": 'members = ["libs/*"]\n[environments.venv]\nlinks = true\n',
        "libs/core/pyproject.toml": pyproject("core", build=SETUPTOOLS),
        "libs/core/setup.py": "import setuptools\n\nsetuptools.setup()\n",  # so it is asked what it requires
        "libs/core/src/core/__init__.py": "",
        "libs/leaf/pyproject.toml": pyproject(
            "leaf", "core", build=HATCHLING, more='[tool.hatch.build.targets.wheel]\npackages = ["src/ns"]'
        ),
        "libs/leaf/src/ns/leaf/__init__.py": "import core\n",
    }
    return write_tree(tmp_path, files)


def built(root: Path) -> list[str]:
    """Build and return what was done."""
    lines = succeed("build", "--root", root, "--durability", "fast").splitlines()
    return [line.partition("] ")[2] for line in lines if line.startswith("[")]


def value(root: Path, code: str) -> str:
    command = [python_of(root / ".venv"), "-I", "-c", f"print({code})"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_build_is_done_after_the_first_and_knows_of_new_modules(root: Path) -> None:
    assert {"prepare core", "install core", "prepare leaf", "install leaf"} <= set(built(root))
    links = root / ".venv" / "lib"
    assert {path.name for path in links.rglob("*") if path.is_symlink()} == {"core", "leaf"}
    verify(root / ".venv", ["core", "ns.leaf"])
    # The backend has made a directory beside the package since the build started.
    assert (root / "libs" / "core" / "src" / "core.egg-info").is_dir()
    assert built(root) == []
    write_tree(root, {"libs/core/src/core/new.py": "x = 1\n", "libs/leaf/src/ns/leaf/new.py": "x = 2\n"})
    assert built(root) == []
    assert value(root, "__import__('core.new').new.x + __import__('ns.leaf.new').leaf.new.x") == "3"


@pytest.mark.parametrize("path", ["libs/leaf/src/extra.py", "libs/leaf/src/ns/extra.py"])
def test_a_new_module_beside_the_packages_is_linked_by_the_next_build(path: str, root: Path) -> None:
    built(root)
    write_tree(root, {path: "x = 1\n"})
    assert built(root) == ["prepare leaf", "install leaf"]
    module = "extra" if "ns" not in path else "ns.extra"
    assert value(root, f"__import__('importlib').import_module('{module}').x") == "1"
    (root / path).unlink()
    assert built(root) == ["prepare leaf", "install leaf"]
    assert built(root) == []


def test_a_namespace_that_becomes_a_package_is_linked_as_one(root: Path) -> None:
    built(root)
    write_tree(root, {"libs/leaf/src/ns/__init__.py": ""})
    assert built(root) == ["prepare leaf", "install leaf"]
    assert os.readlink(next((root / ".venv" / "lib").glob("python*/editable-packages/ns"))).endswith("libs/leaf/src/ns")
    (root / "libs/leaf/src/ns/__init__.py").unlink()
    assert built(root) == ["prepare leaf", "install leaf"]
    verify(root / ".venv", ["core", "ns.leaf"])


def test_without_the_key_the_pth_come_back(root: Path) -> None:
    built(root)
    (root / "interlock.toml").write_text('members = ["libs/*"]\n', encoding="utf-8")
    assert {"prepare core", "install core", "prepare leaf", "install leaf"} <= set(built(root))
    assert not [path for path in (root / ".venv" / "lib").rglob("*") if path.is_symlink()]
    verify(root / ".venv", ["core", "ns.leaf"])
    succeed("check", "--venv", root / ".venv", "--stamps", root / "out")
