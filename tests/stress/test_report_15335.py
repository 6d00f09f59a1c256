"""uv #15335: 128 editable installs at once, where the leaf does not see the core and an index is asked for it.

The report's build: a venv, requirements, constraints, `editable_mode=compat`, my.core-package, my.other-package and
my.leaf-package; here with more spokes, so that -j128 has work. Each build starts from nothing, against an index that
knows one third-party package and counts who is asked for.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gn_trees import make_tree
from index_server import serve
from interlock_runner import succeed, verify

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "20"))
SPOKES = 12


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_clean_builds_in_a_row_never_ask_an_index_for_the_workspace(tmp_path: Path) -> None:
    names = write_workspace(tmp_path)
    # The build environment comes from the real index, once; after that nothing but the test's own is there to be asked.
    succeed("build", "--root", tmp_path, "my.core-package__editable_prepare")
    with serve() as index:
        # It requires a name of the workspace, as a plugin of one's own product does: nobody may look that up.
        index.add("third-party", "1.5", requires=("my-core-package", "my.spoke00>=1"))
        for _ in range(ROUNDS):
            start_from_nothing(tmp_path)
            succeed("build", "--root", tmp_path, "-j128", **index.environ)
            verify(tmp_path / ".venv", [module(name) for name in names])
            succeed("check", "--venv", tmp_path / ".venv")
        assert set(index.asked) == {"third-party"}


@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_nor_do_those_of_gn(tmp_path: Path, gn: str, ninja: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = make_tree(tmp_path / "tree", gn, ninja)
    names = write_workspace(tree.root)
    succeed("gn", "gen", cwd=tree.root)
    tree.write({"BUILD.gn": 'group("all") {\n  deps = [ "//build/venv" ]\n}\n'})
    tree.gen()
    tree.build("my.core-package:my.core-package__editable_prepare")
    with serve() as index:
        index.add("third-party", "1.5", requires=("my-core-package", "my.spoke00>=1"))
        for name, value in index.environ.items():
            monkeypatch.setenv(name, value)
        for _ in range(max(2, ROUNDS // 8)):
            start_from_nothing(tree.root)
            tree.gen()
            tree.build("-j128")
            verify(tree.root / ".venv", [module(name) for name in names])
        assert set(index.asked) == {"third-party"}


def write_workspace(tmp_path: Path) -> list[str]:
    """Write the projects and the configuration; return the names."""
    names = ["my.core-package", "my.other-package", "my.leaf-package", *(f"my.spoke{n:02}" for n in range(SPOKES))]
    write(tmp_path, "my.core-package", ["third-party>=1"])
    write(tmp_path, "my.other-package", [])
    write(tmp_path, "my.leaf-package", ["my.core-package>=1", "my.other-package"])
    for name in names[3:]:
        write(tmp_path, name, ["my-core-package"])
    (tmp_path / "requirements.txt").write_text("third-party\n", encoding="utf-8")
    (tmp_path / "constraints.txt").write_text("third-party==1.5\n", encoding="utf-8")
    (tmp_path / "interlock.toml").write_text(
        '[environments.venv]\npath = ".venv"\nrequirements = ["requirements.txt"]\nconstraints = ["constraints.txt"]\n'
        '[environments.venv.config-settings]\neditable_mode = "compat"\n',
        encoding="utf-8",
    )
    return names


def start_from_nothing(root: Path) -> None:
    shutil.rmtree(root / ".venv", ignore_errors=True)
    shutil.rmtree(root / "out")
    for egg_info in root.glob("*/src/*.egg-info"):
        shutil.rmtree(egg_info)


def module(name: str) -> str:
    return name.replace(".", "_").replace("-", "_")


def write(root: Path, name: str, dependencies: list[str]) -> None:
    source = root / name / "src" / module(name)
    source.mkdir(parents=True)
    imports = "".join(f"    import {module(one.split('>')[0])}\n" for one in dependencies if one.startswith("my"))
    (source / "__init__.py").write_text(f"def main():\n{imports}    print({name!r})\n", encoding="utf-8")
    listed = "".join(f'"{one}", ' for one in dependencies)
    (root / name / "pyproject.toml").write_text(
        f'[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "{name}"\n'
        f'version = "1.0"\ndependencies = [{listed}]\n[tool.setuptools]\npackages = ["{module(name)}"]\n'
        'package-dir = {"" = "src"}\n',
        encoding="utf-8",
    )
