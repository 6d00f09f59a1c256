"""Trees that use the templates, built by real GN and Ninja: what is made, what runs again, and what does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gn_samples import (
    EVERYTHING,
    STAMP_FILES,
    below,
    build_file,
    everywhere,
    gn_version,
    install,
    minimal,
    prepare,
    project,
    with_ninja,
)
from gn_trees import make_tree
from interlock_ninja.commands.build import ninja_program
from interlock_runner import python_of, verify

if TYPE_CHECKING:
    from gn_trees import Tree

NO_WORK = "no work to do"
LEAF = "my.leaf-package/BUILD.gn"
TABLE = "out/gen/my.leaf-package/table.txt"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, gn: str) -> Tree:
    tree = make_tree(tmp_path_factory.mktemp("everything") / "tree", gn, ninja_program())
    tree.write(EVERYTHING)
    tree.gen()
    return tree


@pytest.fixture
def everything(shared: Tree) -> Tree:
    """Return a tree with every template and every argument, built; the same one for all tests, which may edit it."""
    edited = {name: text for name, text in EVERYTHING.items() if (shared.root / name).read_text() != text}
    shared.write(edited)
    shared.build()
    return shared


def edit(tree: Tree, path: str, old: str, new: str) -> None:
    file = tree.root / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def done(output: str) -> list[str]:
    """Return the labels of the actions that a build ran."""
    words = ("ACTION", "INTERLOCK", "PYTHON")
    return [
        line.split()[2].partition("(")[0]
        for line in output.splitlines()
        if line.split()[1:2] and line.split()[1] in words
    ]


def works(tree: Tree, code: str) -> None:
    subprocess.run([python_of(tree.root / ".venv"), "-c", code], check=True)


def failed(tree: Tree) -> str:
    """Build; insist that it fails. The exit code is 1, or with Ninja since 1.13 that of the command."""
    output = tree.build(code=None)
    assert "FAILED: " in output
    return output


def built_twice(tree: Tree) -> None:
    """Build; insist that the second build has nothing to do, and nothing to explain."""
    tree.build()
    again = tree.build("-d", "explain")
    assert NO_WORK in again
    assert "explain" not in again


# Everything at once


@pytest.mark.parametrize("required", ["", "1.11.0"])
def test_a_second_build_has_no_work(tree: Tree, ninja: str, required: str) -> None:
    tree.write(EVERYTHING)
    dotfile = tree.root / ".gn"
    lines = [line for line in dotfile.read_text().splitlines() if "ninja_required_version" not in line]
    lines += [f'ninja_required_version = "{required}"'] if required else []
    dotfile.write_text("".join(f"{line}\n" for line in lines))
    tree = with_ninja(tree, ninja)
    tree.gen()
    built_twice(tree)
    assert "No missing dependencies on generated files found" in tree.build("-t", "missingdeps")


@pytest.mark.parametrize("without", ["true", "false"])
def test_gn_may_do_without_stamp_files(tree: Tree, without: str) -> None:
    if gn_version(tree.gn) < STAMP_FILES:
        pytest.skip("this GN has no no_stamp_files")
    tree.write(EVERYTHING)
    with (tree.root / ".gn").open("a") as dotfile:
        dotfile.write(f"no_stamp_files = {without}\n")
    tree.gen()
    built_twice(tree)


def test_the_environment_holds_what_was_asked_for(everything: Tree) -> None:
    verify(everything.root / ".venv", ["core", "leaf", "iniconfig", "packaging"])


def test_an_action_runs_as_if_the_environment_were_activated(everything: Tree) -> None:
    facts = json.loads((everything.root / TABLE).read_text())
    environment = str(everything.root / ".venv")
    assert facts["argument"] == "a b"
    assert facts["response"].split() == ["c\\", "d", "e"] or facts["response"].split("'") == ["", "c d", " e"]
    assert facts["core"] == "my.core-package"
    assert facts["prefix"] == environment
    assert facts["VIRTUAL_ENV"] == environment
    assert Path(facts["PATH"]).parent == Path(environment)
    inputs = everything.build("-t", "deps", TABLE.removeprefix("out/"))
    assert "../my.core-package/core.py" in inputs
    assert "../my.leaf-package/leaf.py" in inputs


def test_an_action_runs_for_each_source(everything: Tree) -> None:
    assert [(everything.root / f"out/gen/my.leaf-package/{name}.txt").read_text() for name in "ab"] == ["A\n", "B\n"]


def test_an_edit_of_an_imported_module_runs_the_actions_again(everything: Tree) -> None:
    edit(everything, "my.core-package/core.py", 'NAME = "my.core-package"', 'NAME = "edited"')
    ran = done(everything.build())
    assert "//my.leaf-package:table" in ran
    assert install("my.leaf-package") not in ran
    assert json.loads((everything.root / TABLE).read_text())["core"] == "edited"
    assert NO_WORK in everything.build()


def test_an_edit_of_the_script_or_one_source_runs_what_it_must(everything: Tree) -> None:
    edit(everything, "my.leaf-package/a.csv", "a", "a2")
    assert done(everything.build()) == ["//my.leaf-package:each"]
    assert (everything.root / "out/gen/my.leaf-package/a.txt").read_text() == "A2\n"
    edit(everything, "my.leaf-package/each.py", "upper()", "upper() + '!'")
    assert done(everything.build()) == ["//my.leaf-package:each"] * 2
    assert (everything.root / "out/gen/my.leaf-package/b.txt").read_text() == "B\n!"
    assert NO_WORK in everything.build()


def test_an_edit_of_a_version_runs_the_project_and_what_depends_on_it(everything: Tree) -> None:
    edit(everything, "my.core-package/pyproject.toml", 'version = "1.0"', 'version = "1.1"')
    ran = done(everything.build())
    assert set(ran) == {
        prepare("my.core-package"),
        install("my.core-package"),
        install("my.leaf-package"),
        "//my.core-package:wheel",
        "//my.leaf-package:table",
        "//my.leaf-package:each",
        "//build/venv:check",
    }
    works(everything, "from importlib.metadata import version; assert version('my.core-package') == '1.1'")
    assert NO_WORK in everything.build()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"x=y z"', '"x=z"', {prepare("my.core-package"), prepare("my.leaf-package")}),
        (
            '[ "build-constraints.txt" ]',
            "[]",
            {prepare("my.core-package"), "//build/venv:flit", "//my.core-package:wheel"},
        ),
        ('[ "iniconfig>=2" ]', '[ "iniconfig>=2.0" ]', {"//build/venv:venv__requirements"}),
    ],
    ids=["config_settings", "build_constraints", "dependencies"],
)
def test_an_edit_of_the_environment_runs_what_it_concerns(
    everything: Tree, old: str, new: str, expected: set[str]
) -> None:
    edit(everything, "build/venv/BUILD.gn", old, new)
    ran = set(done(everything.build()))
    assert expected <= ran
    assert "//build/venv:venv__venv" not in ran
    assert NO_WORK in everything.build()


def test_a_wheel_can_be_installed_elsewhere(everything: Tree, tmp_path: Path) -> None:
    (wheel,) = (everything.root / "out" / "wheels").glob("*.whl")
    assert wheel.name.startswith("my_core_package-1.0-")
    assert "core.py" in zipfile.ZipFile(wheel).namelist()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target", tmp_path, wheel]
    subprocess.run(pip, check=True)
    code = "import core; from importlib.metadata import version; print(core.NAME, version('my.core-package'))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert shown.stdout == "my.core-package 1.0\n"


def test_a_wheel_of_an_earlier_version_is_replaced(everything: Tree) -> None:
    edit(everything, "my.core-package/pyproject.toml", 'version = "1.0"', 'version = "1.2"')
    everything.build("wheel")
    (wheel,) = (everything.root / "out" / "wheels").glob("*.whl")
    assert wheel.name.startswith("my_core_package-1.2-")


def test_a_check_fails_when_a_file_was_changed(everything: Tree) -> None:
    stamp = everything.root / "out" / everything.run_gn("outputs", "out", "//build/venv:check").strip()
    (installed,) = (everything.root / ".venv").glob("lib/python*/site-packages/iniconfig/__init__.py")
    kept = installed.rename(installed.with_suffix(".kept"))
    installed.write_text("changed = True\n")  # another file: the one that is there may be a link into the cache of uv
    stamp.unlink()
    assert "iniconfig/__init__.py" in failed(everything)
    assert not stamp.exists()
    kept.replace(installed)
    everything.build()
    assert stamp.exists()
    assert NO_WORK in everything.build()


def test_clean_and_build_again(everything: Tree) -> None:
    everything.run_gn("clean", "out")
    everything.build()
    assert NO_WORK in everything.build()
    assert (everything.root / TABLE).is_file()


# Dependencies


@pytest.mark.parametrize(
    ("before", "operator"), [("", "="), ('\n  python_deps = [ "//other" ]', "+=")], ids=["the first", "one more"]
)
def test_an_undeclared_dependency_fails_with_the_line_that_mends_it(tree: Tree, before: str, operator: str) -> None:
    venv = (
        'interlock_venv("venv") {\n  path = "//.venv"\n  projects = [ "//my.leaf-package", "//my.core-package" ]\n}\n'
    )
    tree.write(
        {
            **minimal(),
            **below("other", project("other")),
            "other/BUILD.gn": build_file('interlock_project("other") {\n}\n'),
            "build/venv/BUILD.gn": build_file(venv),
            LEAF: build_file(f'interlock_project("my.leaf-package") {{{before}\n}}\n'),
        }
    )
    tree.gen()
    said = failed(tree)
    assert "my.leaf-package requires projects that //my.leaf-package:my.leaf-package does not declare" in said
    (line,) = [line.partition(": ")[2] for line in said.splitlines() if "Add to //my.leaf-package" in line]
    assert line == f'python_deps {operator} [ "//my.core-package" ]'
    edit(tree, LEAF, "\n}", f"\n  {line}\n}}")
    built_twice(tree)
    works(tree, "import core, leaf")


def test_a_group_declares_its_members(tree: Tree) -> None:
    tree.write(
        {
            **minimal(),
            "libs/BUILD.gn": build_file(
                'interlock_group("inner") {\n  python_deps = [ "//my.core-package" ]\n}\n',
                'interlock_group("libs") {\n  python_deps = [ ":inner" ]\n}\n',
            ),
            LEAF: build_file('interlock_project("my.leaf-package") {\n  python_deps = [ "//libs" ]\n}\n'),
        }
    )
    tree.gen()
    output = tree.build()
    assert output.index(install("my.core-package")) < output.index(install("my.leaf-package"))
    works(tree, "import core, leaf")
    assert NO_WORK in tree.build()


def test_a_dependency_cycle(tree: Tree) -> None:
    tree.write(
        {
            **below("one", project("one", "two")),
            "one/BUILD.gn": build_file('interlock_project("one") {\n  deferred = [ "two" ]\n}\n'),
            **below("two", project("two", "one")),
            "two/BUILD.gn": build_file(
                'interlock_project("two") {\n  python_deps = [ "//one" ]\n  verify = [ "one" ]\n}\n'
            ),
            "build/venv/BUILD.gn": build_file(
                'interlock_venv("venv") {\n  path = "//.venv"\n  projects = [ "//two" ]\n}\n'
            ),
            "BUILD.gn": everywhere("//build/venv"),
        }
    )
    tree.gen()
    built_twice(tree)
    works(tree, "import one, two")
    edit(tree, "one/pyproject.toml", '"two"', '"two>=2"')
    assert "one (in a dependency cycle) needs two>=2, but two 1.0 is installed" in failed(tree)


def test_two_environments_of_one_tree(tree: Tree) -> None:
    files = minimal()
    venvs = (
        files["build/venv/BUILD.gn"]
        + '\ninterlock_venv("tools") {\n  path = "$root_build_dir/tools"\n  projects = [ ":tool" ]\n}\n'
    )
    venvs += '\ninterlock_project("tool") {\n  pyproject = "//tool"\n  venv = ":tools"\n}\n'
    tree.write(
        {
            **files,
            "build/venv/BUILD.gn": venvs,
            **below("tool", project("tool")),
            "BUILD.gn": everywhere("//build/venv", "//build/venv:tools"),
        }
    )
    tree.gen()
    built_twice(tree)
    works(tree, "import core, leaf")
    subprocess.run([python_of(tree.root / "out" / "tools"), "-c", "import tool"], check=True)
    assert subprocess.run([python_of(tree.root / ".venv"), "-c", "import tool"], capture_output=True).returncode == 1


# Elsewhere


def test_work_in_another_toolchain(tree: Tree) -> None:
    tree.write(EVERYTHING)
    tree.gen('--args=interlock_toolchain="//conf:third"')
    output = tree.build()
    assert output.count(f"{install('my.leaf-package')}(//conf:third)") == 1
    assert (tree.root / "out/third/gen/my.leaf-package/table.txt").is_file()
    assert NO_WORK in tree.build()


def test_a_tree_at_a_path_with_a_space(tree: Tree, tmp_path: Path) -> None:
    spaced = tmp_path / "a + b" / "the tree"
    spaced.parent.mkdir()
    tree.root.rename(spaced)
    tree = replace(tree, root=spaced)
    tree.write(EVERYTHING)
    tree.gen()
    built_twice(tree)
    assert json.loads((spaced / TABLE).read_text())["VIRTUAL_ENV"] == str(spaced / ".venv")


def test_a_project_at_a_path_with_a_space(tree: Tree) -> None:
    tree.write(
        {
            **below("odd +dir", project("odd")),
            "odd/BUILD.gn": build_file(
                'interlock_project("odd") {\n  pyproject = "//odd +dir"\n}\n',
                'interlock_wheel("wheel") {\n  pyproject = "//odd +dir"\n}\n',
                'interlock_action("run") {\n  script = "//odd +dir/a script.py"\n  python_deps = [ ":odd" ]\n'
                '  outputs = [ "$target_gen_dir/an output+.txt" ]\n  args = rebase_path(outputs, root_build_dir)\n}\n',
            ),
            "odd +dir/a script.py": "import odd, sys\nopen(sys.argv[1], 'w').write(odd.NAME)\n",
            "build/venv/BUILD.gn": build_file(
                'interlock_venv("venv") {\n  path = "//a venv"\n  projects = [ "//odd" ]\n}\n'
            ),
            "BUILD.gn": everywhere("//build/venv", "//odd:wheel", "//odd:run"),
        }
    )
    tree.gen()
    built_twice(tree)
    assert (tree.root / "out/gen/odd/an output+.txt").read_text() == "odd"
    edit(tree, "odd +dir/odd.py", 'NAME = "odd"', 'NAME = "even"')
    assert "//odd:run" in done(tree.build())
    assert (tree.root / "out/gen/odd/an output+.txt").read_text() == "even"


def test_a_tree_that_was_moved_is_built_again(tree: Tree, tmp_path: Path) -> None:
    tree.write(minimal())
    tree.gen()
    tree.build()
    moved = replace(tree, root=tmp_path / "moved")
    shutil.move(tree.root, moved.root)
    moved.build()
    works(moved, "import core, leaf; assert core.__file__.startswith('" + str(moved.root) + "')")
    assert NO_WORK in moved.build()
