"""BUILD.gn files that follow the workspace: `interlock gn gen` by hand, and by a real Ninja before it builds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gn_samples import IMPORT, below, everywhere, project, with_ninja
from gn_trees import make_tree
from interlock_ninja.commands.build import ninja_program
from interlock_runner import interlock, python_of, succeed

if TYPE_CHECKING:
    from pathlib import Path

    from gn_trees import Tree

NO_WORK = "no work to do"


def workspace(**libraries: tuple[str, ...]) -> dict[str, str]:
    """Return a workspace of libraries, each with what it depends on; `//build/venv` is the default target."""
    files = {"pyproject.toml": "[tool.interlock]\n", "BUILD.gn": everywhere("//build/venv")}
    for name, dependencies in libraries.items():
        files |= below(f"libs/{name}", project(name, *dependencies))
    return files


def generate(tree: Tree, *words: str, code: int = 0) -> str:
    """Run `interlock gn gen`; return what it printed."""
    done = interlock("gn", "gen", *words, cwd=tree.root)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def edit(tree: Tree, path: str, old: str, new: str) -> None:
    file = tree.root / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def installs(output: str) -> list[str]:
    """Return the projects that a build installed, in order."""
    return re.findall(r"//libs/\w+:(\w+)__editable_install\(", output)


def state(tree: Tree, *, gn_too: bool = True) -> dict[str, int]:
    """Return when each BUILD.gn was written, and when GN last ran."""
    files = [*tree.root.glob("**/BUILD.gn")] + ([tree.root / "out" / "build.ninja.stamp"] if gn_too else [])
    return {str(path): path.stat().st_mtime_ns for path in files}


def works(tree: Tree, code: str) -> None:
    subprocess.run([python_of(tree.root / ".venv"), "-c", code], check=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, gn: str) -> Tree:
    """Return a workspace of two projects, generated and built, to be copied."""
    tree = make_tree(tmp_path_factory.mktemp("template") / "tree", gn, ninja_program())
    tree.write(workspace(core=(), leaf=()))
    generate(tree)
    tree.gen()
    tree.build()
    return tree


@pytest.fixture
def copied(template: Tree, tmp_path: Path) -> Tree:
    """Return a workspace of two projects, core and leaf, with its BUILD.gn files."""
    root = tmp_path / "tree"
    shutil.copytree(template.root, root, symlinks=True, ignore=shutil.ignore_patterns("out", ".venv"))
    return replace(template, root=root)


@pytest.fixture
def built(copied: Tree) -> Tree:
    return finish(copied)


def finish(tree: Tree) -> Tree:
    tree.gen()
    tree.build()
    assert NO_WORK in tree.build()
    return tree


def test_a_dependency_is_there_after_one_ninja(copied: Tree, ninja: str) -> None:
    tree = finish(with_ninja(copied, ninja))
    edit(tree, "libs/leaf/pyproject.toml", "dependencies = []", 'dependencies = ["core>=2", "added"]')
    edit(tree, "libs/core/pyproject.toml", 'version = "1.0"', 'version = "2.0"')
    tree.write(below("libs/added", project("added")))
    output = tree.build()
    assert (
        'python_deps = [\n    "//libs/added",\n    "//libs/core",\n  ]'
        in (tree.root / "libs/leaf/BUILD.gn").read_text()
    )
    done = installs(output)
    assert sorted(done) == ["added", "core", "leaf"]
    assert done[-1] == "leaf"
    works(tree, "import added, core, leaf; from importlib.metadata import version; assert version('core') == '2.0'")
    assert NO_WORK in tree.build()
    assert "unchanged" in generate(tree)


def test_an_edit_that_changes_no_build_file_does_not_run_gn(copied: Tree, ninja: str) -> None:
    tree = finish(with_ninja(copied, ninja))
    before = state(tree)
    edit(tree, "libs/core/pyproject.toml", 'version = "1.0"', 'version = "1.1"')
    assert installs(tree.build()) == ["core"]
    assert state(tree) == before
    assert NO_WORK in tree.build()


def test_what_is_no_file_of_the_workspace_runs_nothing(built: Tree) -> None:
    built.build()
    edit(built, "libs/core/core.py", "NAME", "OTHER_NAME")
    assert "workspace" not in built.build()


def test_a_new_project_is_found(built: Tree) -> None:
    built.write(below("libs/added", project("added", "leaf")))
    assert "added" in installs(built.build())
    works(built, "import added")
    assert NO_WORK in built.build()


@pytest.mark.parametrize("whole", [True, False])
def test_a_project_that_goes_takes_its_build_file_along(built: Tree, whole: bool) -> None:
    if whole:
        shutil.rmtree(built.root / "libs" / "leaf")
    else:
        (built.root / "libs" / "leaf" / "pyproject.toml").unlink()
    built.build()
    assert not (built.root / "libs" / "leaf" / "BUILD.gn").exists()
    assert "leaf" not in (built.root / "build" / "venv" / "BUILD.gn").read_text()
    assert NO_WORK in built.build()


def test_a_generated_file_that_is_edited_or_removed_is_written_again(copied: Tree, ninja: str) -> None:
    tree = finish(with_ninja(copied, ninja))
    texts = {path: path.read_text() for path in tree.root.glob("**/BUILD.gn")}
    (tree.root / "libs" / "leaf" / "BUILD.gn").unlink()
    edit(tree, "libs/core/BUILD.gn", "interlock_project", "not_interlock_project")
    tree.build()
    assert {path: path.read_text() for path in tree.root.glob("**/BUILD.gn")} == texts
    assert NO_WORK in tree.build()


def test_a_mistake_stops_the_build_until_it_is_mended(built: Tree) -> None:
    edit(built, "libs/leaf/pyproject.toml", "dependencies = []", 'dependencies = ["core[x"]')
    edit(built, "pyproject.toml", "[tool.interlock]", "[tool.interlock]\nmember = 1")
    output = built.build(code=1)
    assert "member" in output
    assert "Traceback" not in output
    edit(built, "pyproject.toml", "member = 1", "")
    output = built.build()
    assert "interlock: warning: libs/leaf/pyproject.toml" in output
    edit(built, "libs/leaf/pyproject.toml", '["core[x"]', "[]")
    built.build()
    assert (built.root / "libs" / "leaf" / "BUILD.gn").is_file()
    assert NO_WORK in built.build()


def test_gn_gen_by_hand_and_clean_leave_nothing_to_do(built: Tree) -> None:
    built.gen()
    assert NO_WORK in built.build()
    built.run_gn("clean", "out")
    assert sorted(installs(built.build())) == ["core", "leaf"]
    assert NO_WORK in built.build()


def test_nothing_runs_while_gn_generates(built: Tree) -> None:
    for path in [*built.root.glob("**/BUILD.gn"), *built.root.glob("**/*.gni")]:
        assert "exec_script" not in path.read_text(encoding="utf-8")


def test_generated_files_are_formatted(built: Tree) -> None:
    for path in built.root.glob("**/BUILD.gn"):
        if path.parent.name in {"venv", "core", "leaf"}:
            subprocess.run([built.gn, "format", "--dry-run", path], check=True)


# By hand


def test_files_are_written_once(tree: Tree) -> None:
    tree.write(workspace(core=(), leaf=("core",)))
    files = ["build/venv/BUILD.gn", "libs/core/BUILD.gn", "libs/leaf/BUILD.gn"]
    assert generate(tree).splitlines() == [f"{file} written" for file in files]
    before = state(tree, gn_too=False)
    assert "unchanged: 2 projects" in generate(tree)
    assert state(tree, gn_too=False) == before


def test_check_writes_nothing(tree: Tree) -> None:
    tree.write(workspace(core=(), leaf=("core",)))
    before = state(tree, gn_too=False)
    assert "libs/core/BUILD.gn is out of date" in generate(tree, "--check", code=1)
    assert state(tree, gn_too=False) == before
    generate(tree)
    assert "unchanged" in generate(tree, "--check")
    edit(tree, "libs/leaf/pyproject.toml", '"core"', "")
    assert generate(tree, "--check", code=1).splitlines() == ["libs/leaf/BUILD.gn is out of date"]
    shutil.rmtree(tree.root / "libs" / "core")
    assert "libs/core/BUILD.gn" not in generate(tree, "--check", code=1)
    tree.write(workspace(core=()))
    generate(tree)
    (tree.root / "libs" / "core" / "pyproject.toml").unlink()
    assert "libs/core/BUILD.gn is of a project that is gone" in generate(tree, "--check", code=1)
    assert (tree.root / "libs" / "core" / "BUILD.gn").exists()


BY_HAND = f'{IMPORT}# Mine.\ninterlock_group("mine") {{\n  python_deps = []\n}}\n'


def test_a_file_of_people_is_never_touched(tree: Tree) -> None:
    tree.write({**workspace(core=(), leaf=("core",)), "libs/leaf/BUILD.gn": BY_HAND})
    said = generate(tree, code=1)
    assert "libs/leaf/BUILD.gn was written by hand and lacks what follows; add it:" in said
    assert (tree.root / "libs" / "leaf" / "BUILD.gn").read_text() == BY_HAND
    start = said.index('interlock_project("leaf") {')
    call = said[start : said.index("\n}\n", start) + 3]
    assert 'python_deps = [ "//libs/core" ]' in call
    (tree.root / "libs" / "leaf" / "BUILD.gn").write_text(f"{BY_HAND}\n{call}")
    assert "unchanged" in generate(tree)
    assert (tree.root / "libs" / "leaf" / "BUILD.gn").read_text() == f"{BY_HAND}\n{call}"
    tree.gen()
    tree.build()
    works(tree, "import core, leaf")
    assert NO_WORK in tree.build()


def test_a_file_of_people_that_lacks_a_project_stops_the_build(built: Tree) -> None:
    built.write({**below("libs/added", project("added")), "libs/added/BUILD.gn": BY_HAND})
    said = built.build(code=1)
    assert "libs/added/BUILD.gn was written by hand and lacks what follows; add it:" in said
    call = re.search(r'^interlock_project\("added"\) \{\n(?:.*\n)*?\}\n', said, re.MULTILINE)
    assert call
    (built.root / "libs" / "added" / "BUILD.gn").write_text(f"{BY_HAND}\n{call[0]}")
    assert "added" in installs(built.build())
    assert NO_WORK in built.build()


def test_a_single_file_has_all(tree: Tree, ninja: str) -> None:
    tree = with_ninja(tree, ninja)
    tree.write(workspace(core=(), leaf=("core",)))
    generate(tree)
    said = generate(tree, "--single-file").splitlines()
    assert said == ["build/venv/BUILD.gn written", "libs/core/BUILD.gn removed", "libs/leaf/BUILD.gn removed"]
    tree.gen()
    tree.build()
    works(tree, "import core, leaf")
    tree.write(below("libs/added", project("added", "leaf")))
    output = tree.build()
    assert "//build/venv:added__editable_install" in output
    assert not (tree.root / "libs" / "added" / "BUILD.gn").exists()
    works(tree, "import added")
    assert NO_WORK in tree.build()
    assert "unchanged" in generate(tree, "--single-file")


def test_other_directories_are_kept_when_files_are_written_again(tree: Tree) -> None:
    (tree.root / "build" / "interlock").rename(tree.root / "rules")
    tree.write({**workspace(core=()), "BUILD.gn": everywhere("//python:venv")})
    generate(tree, "--dir", "//rules", "--venv-dir", "//python")
    tree.gen('--args=interlock_default_venv="//python:venv"')
    tree.build()
    tree.write(below("libs/added", project("added")))
    tree.build()
    assert not (tree.root / "build" / "venv").exists()
    assert "//libs/added" in (tree.root / "python" / "BUILD.gn").read_text()
    works(tree, "import added, core")
    assert NO_WORK in tree.build()


def test_a_workspace_below_the_root_of_the_tree(tree: Tree) -> None:
    files = workspace(core=(), leaf=("core",))
    default = files.pop("BUILD.gn")
    tree.write({"BUILD.gn": default, **below("py", files)})
    done = succeed("gn", "gen", "--root", "py", cwd=tree.root)
    assert done.splitlines() == [
        "build/venv/BUILD.gn written",
        "py/libs/core/BUILD.gn written",
        "py/libs/leaf/BUILD.gn written",
    ]
    tree.gen()
    tree.build()
    edit(tree, "py/libs/leaf/pyproject.toml", 'dependencies = ["core"]', "dependencies = []")
    tree.build()
    assert "python_deps" not in (tree.root / "py" / "libs" / "leaf" / "BUILD.gn").read_text()
    assert NO_WORK in tree.build()
    assert os.path.isdir(tree.root / "py" / ".venv")


def test_directories_are_taken_from_the_working_directory_unless_they_are_gn_s(tree: Tree) -> None:
    tree.write(workspace(core=()))
    generate(tree, "--dir", "build/interlock", "--venv-dir", "./build/../python/")
    text = (tree.root / "libs" / "core" / "BUILD.gn").read_text(encoding="utf-8")
    assert 'import("//build/interlock/interlock.gni")' in text
    assert 'venv = "//python:venv"' in text
    assert "unchanged" in generate(tree, "--venv-dir", "//python")


def test_environments_stay_inside_of_the_source_tree(tree: Tree) -> None:
    tree.write(workspace(core=()))
    for outside in ("../elsewhere", "//../elsewhere"):
        assert "is not a directory of the source tree" in generate(tree, "--venv-dir", outside, code=10)
    assert not (tree.root.parent / "elsewhere").exists()


def test_environments_that_move_leave_nothing_behind(tree: Tree) -> None:
    tree.write({**workspace(core=(), leaf=("core",)), "a b/pyproject.toml": project("spaced")["pyproject.toml"]})
    generate(tree)
    said = generate(tree, "--venv-dir", "//python").splitlines()
    assert said == [
        "python/BUILD.gn written",
        "libs/core/BUILD.gn written",
        "libs/leaf/BUILD.gn written",
        "build/venv/BUILD.gn removed",
    ]


def test_environments_of_another_workspace_are_not_replaced(tree: Tree) -> None:
    for name in ("one", "two"):
        files = workspace(**{f"of_{name}": ()})
        del files["BUILD.gn"]
        tree.write(below(name, files))
    generate(tree, "--root", "one")
    before = state(tree, gn_too=False)
    said = generate(tree, "--root", "two", code=10)
    assert "//build/venv/BUILD.gn has the environments of another workspace, //one" in said
    assert state(tree, gn_too=False) == before
    generate(tree, "--root", "two", "--venv-dir", "//build/python")
    assert before.items() <= state(tree, gn_too=False).items()
