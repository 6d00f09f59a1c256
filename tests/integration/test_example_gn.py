"""examples/gn_monorepo: a GN build with Python projects, a generator that runs from them, and C in two toolchains."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gn_trees import Tree
from interlock_runner import SCRIPTS, SUFFIX, interlock, script_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import RequireTool

TOOLCHAIN = "(//gntools/toolchains:gcc)"
# What Ninja shows of an edge, but for the stamps that GN of 2022 makes of groups.
EDGE = re.compile(r"^\[\d+/\d+\] (?!STAMP )(?:(?:ACTION|INTERLOCK|PYTHON) )?(.+)$", re.MULTILINE)

ENVIRONMENT = ["//build/venv:venv__venv", "//build/venv:setuptools", "//build/venv:venv__requirements"]
PROJECTS = ["my.core-package", "my.leaf-package", "my.other-package"]
GENERATOR = "//checksum:tables"
COMPILED_FROM_IT = [
    "CC gen/checksum/tables.c -> gcc_debug/obj/BUILD_DIR/gen/checksum/checksum.tables.o",
    "CC gen/checksum/tables.c -> obj/BUILD_DIR/gen/checksum/checksum.tables.o",
    "LINK checksum",
    "LINK gcc_debug/checksum",
]
COMPILED_BESIDE_IT = [
    "CC ../checksum/main.c -> gcc_debug/obj/checksum/checksum.main.o",
    "CC ../checksum/main.c -> obj/checksum/checksum.main.o",
]
CHECKSUMS = "crc32  cbf43926\ncrc32c e3069283\n"  # of "123456789", as every catalogue of checksums has them


@pytest.fixture
def example(tmp_path: Path, gn: str, ninja: str, repository: Path, require_tool: RequireTool) -> Tree:
    """Return a copy of the example for which GN has run, and which the interlock under test is to build."""
    require_tool("gcc", platforms=("linux", "darwin"))
    ignored = shutil.ignore_patterns("out", ".venv", "*.egg-info", "__pycache__", "*.interlock.lock")
    shutil.copytree(repository / "examples" / "gn_monorepo", tmp_path / "tree", ignore=ignored)
    tree = Tree(tmp_path / "tree", gn, ninja)
    tree.gen(program())
    return tree


def program() -> str:
    """Return the option of `gn gen` that names the interlock under test."""
    return f'--args=interlock_program="{Path(sys.executable).parent / f"interlock{SUFFIX}"}"'


def edges(output: str) -> list[str]:
    """Return what Ninja ran, sorted; targets of GN with their toolchains."""
    return sorted(EDGE.findall(output))


def ran(*labels: str, compiled: Iterable[str] = ()) -> list[str]:
    """Return what `edges` returns if Ninja ran these actions, once each, and no others."""
    return sorted([*(f"{label}{TOOLCHAIN}" for label in labels), *compiled])


def prepare(name: str) -> str:
    return f"//{name}:{name}__editable_prepare"


def install(name: str) -> str:
    return f"//{name}:{name}__editable_install"


def run(tree: Tree, program: str | Path, *arguments: str) -> str:
    done = subprocess.run([tree.root / program, *arguments], cwd=tree.root, capture_output=True, text=True, check=True)
    return done.stdout


def edit(tree: Tree, name: str, old: str, new: str) -> None:
    path = tree.root / name
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{name} does not have {old!r} once"
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.network
def test_it_is_built_once_for_both_toolchains(example: Tree, repository: Path) -> None:
    readme = (repository / "examples" / "gn_monorepo" / "README.md").read_text(encoding="utf-8")
    built = edges(example.build("-j128"))
    everything = [*ENVIRONMENT, *map(prepare, PROJECTS), *map(install, PROJECTS), GENERATOR]
    assert built == ran(*everything, compiled=[*COMPILED_FROM_IT, *COMPILED_BESIDE_IT])
    assert set(EDGE.findall(readme)) == set(built)
    assert "no work to do" in example.build("-j128")

    for program in ("out/checksum", "out/gcc_debug/checksum"):
        assert run(example, program) == f"{CHECKSUMS}tables by my.core-package 1.4.0\n"
    assert f"$ out/checksum\n{run(example, 'out/checksum')}$ " in readme
    assert "crc32  3610a686" in run(example, "out/checksum", "hello")
    made = example.root / "out" / "gen" / "checksum"
    header, implementation = example.root / "leaf.h", example.root / "leaf.c"
    run(example, script_of(Path(".venv"), "leaf"), "checksum/tables.ini", str(header), str(implementation))
    assert header.read_text(encoding="utf-8") == (made / "tables.h").read_text(encoding="utf-8")
    assert edges(example.build("build/venv:check")) == ran("//build/venv:check")


@pytest.mark.network
def test_an_edit_rebuilds_what_it_changes(example: Tree) -> None:
    example.build("-j128")
    core = "my.core-package/src/my_core/__init__.py"

    edit(example, "my.core-package/pyproject.toml", 'version = "1.4.0"', 'version = "1.4.1"')
    changed = [prepare("my.core-package"), install("my.core-package"), install("my.leaf-package"), GENERATOR]
    assert edges(example.build("-j128")) == ran(*changed, compiled=COMPILED_FROM_IT)
    assert run(example, "out/checksum") == f"{CHECKSUMS}tables by my.core-package 1.4.1\n"
    assert "no work to do" in example.build("-j128")

    edit(example, core, "for _ in range(8):", "for _bit in range(8):")
    assert edges(example.build("-j128")) == ran(GENERATOR)
    assert "no work to do" in example.build("-j128")

    edit(example, core, "byte & 1 else byte >> 1", "byte & 1 else (byte >> 1) | 0x10000000")
    assert edges(example.build("-j128")) == ran(GENERATOR, compiled=COMPILED_FROM_IT)
    assert CHECKSUMS not in run(example, "out/checksum")

    edit(example, "checksum/tables.ini", "[crc32c]", "[crc32c]\n; of Castagnoli")
    assert edges(example.build("-j128")) == ran(GENERATOR)
    assert "no work to do" in example.build("-j128")


@pytest.mark.network
def test_a_lost_environment_is_made_again(example: Tree) -> None:
    example.build("-j128")
    shutil.rmtree(example.root / ".venv")
    again = edges(example.build("-j128"))
    assert set(ran("//build/venv:venv__venv", *map(install, PROJECTS))) <= set(again)
    assert [edge for edge in again if edge.startswith(("CC", "LINK"))] == []
    assert (example.root / ".venv" / SCRIPTS / "leaf").exists()
    assert "no work to do" in example.build("-j128")


def test_gn_itself_has_nothing_to_say(example: Tree) -> None:
    assert "OK" in example.run_gn("check", "out")
    checked = interlock("gn", "check", "out", "--gn", example.gn, cwd=example.root)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    files = [str(path.relative_to(example.root)) for path in example.root.rglob("*.gn*") if path.is_file()]
    assert {".gn", "build/BUILDCONFIG.gn", "build/interlock/venv.gni", "checksum/BUILD.gn"} <= set(files)
    example.run_gn("format", "--dry-run", *files)


def test_the_other_toolchain_leads_to_the_same_python(example: Tree) -> None:
    listed = example.run_gn("ls", "out", "//checksum/*", "--all-toolchains").split()
    assert "//checksum:tables(//gntools/toolchains:gcc_debug)" in listed
    asked = "//checksum:checksum(//gntools/toolchains:gcc_debug)"
    path = example.run_gn("path", "out", asked, f"{install('my.core-package')}{TOOLCHAIN}")
    assert "//checksum:tables --[" in path


def test_its_templates_are_those_of_this_interlock(repository: Path) -> None:
    checked = interlock("gn", "update", "--check", cwd=repository / "examples" / "gn_monorepo")
    advice = "`interlock gn update --root examples/gn_monorepo` brings them there"
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}{advice}"


@pytest.mark.network
def test_a_build_that_called_uv_keeps_its_labels(example: Tree, repository: Path) -> None:
    """The files of docs/how-to/migrate-gn-from-uv.md, in the place of the example's."""
    all_of_it = {"BUILD.gn": 'group("default") {\n  deps = [\n    "//build/venv",\n    "//checksum:tables",\n  ]\n}\n'}
    example.write({**all_of_it, **documented(repository, "")})
    example.gen()
    before = labels(example)
    assert install("my.leaf-package") in before

    example.write(documented(repository, ", after"))
    shutil.rmtree(example.root / "out")
    (example.root / "gntools" / "run.py").unlink()
    example.gen(program())
    assert before - labels(example) == set()
    environment = [label for label in ENVIRONMENT if label != "//build/venv:setuptools"]
    everything = [*environment, *map(prepare, PROJECTS), *map(install, PROJECTS), GENERATOR]
    assert edges(example.build("-j128")) == ran(*everything)
    assert "no work to do" in example.build("-j128")

    example.write(documented(repository, ", with tests"))
    templates = documented(repository, ", after")["gntools/uv.gni"]
    other = documented(repository, ", with names of before")["gntools/uv.gni"]
    merged = re.sub(r'^template\("uv_editable_package".*?^}\n', other, templates, flags=re.DOTALL | re.MULTILINE)
    example.write({"gntools/uv.gni": merged})
    example.gen()
    assert "//my.core-package:my.core-package.install" in labels(example)
    files = documented(repository, "", ", after", ", with tests").keys() - {"gntools/run.py"}
    example.run_gn("format", "--dry-run", *files)


def labels(tree: Tree) -> set[str]:
    return {line for line in tree.run_gn("ls", "out").splitlines() if line.startswith("//")}


def documented(repository: Path, *marks: str) -> dict[str, str]:
    """Return the files of the how-to, by path, whose first line ends in one of these marks."""
    text = (repository / "docs" / "how-to" / "migrate-gn-from-uv.md").read_text(encoding="utf-8")
    found = re.findall(r"^```(?:gn|python)\n# ([\w./-]+)(, [^\n]+)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return {name: content for name, mark, content in found if mark in marks}
