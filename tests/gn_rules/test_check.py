"""`interlock gn check`: real trees, a real GN, and what is printed, mended and left."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gn_samples import IMPORT, below, build_file
from gn_samples import project as sample
from interlock.cli import main
from interlock_gn.build_files import MARKER
from trees import pyproject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gn_trees import Tree

LEAF = """\
# Größe: µ
interlock_project("my.leaf") {
  # why core
  python_deps = [ "//core" ]  # because
}
"""
GENERATED = """\
interlock_project("f") {
  pyproject = target_gen_dir
  deps = [ ":generated" ]
}

action("generated") {
  script = "BUILD.gn"
  outputs = [ "$target_gen_dir/pyproject.toml" ]
}
"""


@pytest.fixture
def check(tree: Tree, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that runs `interlock gn check out` in the tree, and returns what it printed."""
    monkeypatch.chdir(tree.root)

    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["gn", "check", "out", "--gn", tree.gn, *words]) == code, capsys.readouterr()
        return capsys.readouterr().out

    return run


def venv(*projects: str, more: str = "") -> dict[str, str]:
    call = f'interlock_venv("venv") {{\n  path = "//.venv"\n  projects = {json.dumps(projects)}\n{more}}}\n'
    return {"build/venv/BUILD.gn": build_file(call), "BUILD.gn": 'group("default") {\n  deps = [ "//build/venv" ]\n}\n'}


def project(name: str, *requires: str, call: str | None = None, more: str = "") -> dict[str, str]:
    """Return the files of a project in a directory of its name."""
    call = f'interlock_project("{name}") {{\n}}\n' if call is None else call
    return {f"{name}/BUILD.gn": build_file(call), f"{name}/pyproject.toml": pyproject(name, *requires, more=more)}


def leaf_tree(tree: Tree) -> None:
    """Write a tree in which my.leaf requires core, which it declares, text, and numbers, by an extra of core."""
    tree.write(
        {
            **venv("//my.leaf", "//text", "//numbers"),
            **project("my.leaf", "text>=1", "core[fast]", call=LEAF),
            **project("core", more='[project.optional-dependencies]\nfast = ["numbers<9"]\n'),
            **project("text"),
            **project("numbers"),
        }
    )
    tree.gen()


def test_a_clean_tree(tree: Tree, check: Callable[..., str]) -> None:
    tree.write({**venv("//core"), **project("core", "requests")})
    tree.gen()
    assert check() == "1 project in 1 environment: no problems\n"
    assert check("--fix") == "1 project in 1 environment: no problems\n"


def test_all_that_is_undeclared_is_said_with_the_line_to_add(tree: Tree, check: Callable[..., str]) -> None:
    leaf_tree(tree)
    assert check(code=1) == (
        "my.leaf/BUILD.gn:4: //my.leaf:my.leaf does not declare //numbers:numbers, //text:text\n"
        "  core/pyproject.toml (core, in an extra that is asked of it,) requires numbers<9\n"
        "  my.leaf/pyproject.toml requires text>=1\n"
        '  Add to it: python_deps += [ "//numbers", "//text" ]\n'
        "4 projects in 1 environment: 1 problem\n"
    )


def test_json_says_the_same(tree: Tree, check: Callable[..., str]) -> None:
    leaf_tree(tree)
    said: dict[str, Any] = json.loads(check("--format", "json", code=1))
    (problem,) = said.pop("problems")
    assert problem == {
        "kind": "undeclared",
        "target": "//my.leaf:my.leaf",
        "file": "my.leaf/BUILD.gn",
        "line": 4,
        "message": "//my.leaf:my.leaf does not declare //numbers:numbers, //text:text",
        "details": [
            "core/pyproject.toml (core, in an extra that is asked of it,) requires numbers<9",
            "my.leaf/pyproject.toml requires text>=1",
        ],
        "add": ['python_deps += [ "//numbers", "//text" ]'],
        "not_fixed": "",
    }
    labels = ["//core:core", "//my.leaf:my.leaf", "//numbers:numbers", "//text:text"]
    assert said == {
        "out": str(tree.root / "out"),
        "root": str(tree.root),
        "environments": [{"label": "//build/venv:venv", "path": str(tree.root / ".venv"), "projects": labels}],
        "notes": [],
        "fixed": [],
    }


def test_fix_adds_it_and_nothing_else(tree: Tree, check: Callable[..., str]) -> None:
    leaf_tree(tree)
    path = tree.root / "my.leaf" / "BUILD.gn"
    path.chmod(0o640)
    assert check("--fix") == (
        "my.leaf/BUILD.gn: fixed my.leaf: python_deps has //numbers, //text too\n"
        "4 projects in 1 environment: no problems\n"
    )
    assert path.read_text(encoding="utf-8") == IMPORT + LEAF.replace(
        '[ "//core" ]', '[\n    "//core",\n    "//numbers",\n    "//text",\n  ]'
    )
    assert path.stat().st_mode & 0o777 == 0o640
    assert check() == "4 projects in 1 environment: no problems\n"
    assert tree.run_gn("format", "--dry-run", "//my.leaf/BUILD.gn") == ""
    assert list(tree.root.rglob(".*.tmp")) == []


def test_fix_says_it_in_json(tree: Tree, check: Callable[..., str]) -> None:
    leaf_tree(tree)
    said = json.loads(check("--fix", "--format", "json"))
    line = 'python_deps += [ "//numbers", "//text" ]'
    assert said["fixed"] == [{"file": "my.leaf/BUILD.gn", "target": "my.leaf", "line": line}]
    assert said["problems"] == []


def test_a_line_to_add_where_there_is_no_variable_yet(tree: Tree, check: Callable[..., str]) -> None:
    tree.write({**venv("//a", "//core"), **project("a", "core"), **project("core")})
    tree.gen()
    line = 'python_deps = [ "//core" ]'
    assert f"  Add to it: {line}\n" in check(code=1)
    # GN takes the line as it stands.
    tree.write({"a/BUILD.gn": build_file(f'interlock_project("a") {{\n  {line}\n}}\n')})
    check()


def test_targets_of_one_file_are_named_without_the_directory(tree: Tree, check: Callable[..., str]) -> None:
    calls = 'interlock_project("a") {\n  pyproject = "a"\n}\n\ninterlock_project("other_name") {\n'
    calls += '  project_name = "b"\n  pyproject = "b"\n}\n'
    files = {"libs/BUILD.gn": build_file(calls), "libs/a/pyproject.toml": pyproject("a", "B")}
    tree.write({**venv("//libs:a", "//libs:other_name"), **files, "libs/b/pyproject.toml": pyproject("b")})
    tree.gen()
    assert "libs/BUILD.gn:3: //libs:a does not declare //libs:other_name\n" in check(code=1)
    check("--fix")
    assert '"a"\n  python_deps = [ ":other_name" ]\n}' in (tree.root / "libs" / "BUILD.gn").read_text()


def test_a_file_of_windows_that_a_link_leads_to(tree: Tree, check: Callable[..., str]) -> None:
    tree.write({**venv("//a", "//core"), **project("a", "core"), **project("core")})
    path = tree.root / "a" / "BUILD.gn"
    real = tree.root / "a" / "real.txt"
    real.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    path.unlink()
    path.symlink_to(real)
    tree.gen()
    check("--fix")
    assert path.is_symlink()
    text = IMPORT + 'interlock_project("a") {\n  python_deps = [ "//core" ]\n}\n'
    assert real.read_bytes() == text.replace("\n", "\r\n").encode()


UNFIXABLE = [
    (
        'foreach(name, [ "leaf" ]) {\n  interlock_project(name) {\n  }\n}\n',
        4,
        "the name in line 4 is an expression",
    ),
    (
        'template("ours") {\n  interlock_project(target_name) {\n    not_needed(invoker, "*")\n  }\n}\n\nours("leaf") {\n}\n',
        9,
        "ours in line 9 makes it",
    ),
    (
        'interlock_project("leaf") {\n  if (true) {\n    python_deps = []\n  }\n}\n',
        3,
        "python_deps is set only under a condition",
    ),
    (f'# {MARKER}\ninterlock_project("leaf") {{\n}}\n', 2, "the file is written by `interlock gn gen`: run that"),
]


@pytest.mark.parametrize(("text", "line", "why"), UNFIXABLE, ids=["foreach", "template", "condition", "generated"])
def test_what_cannot_be_fixed(tree: Tree, check: Callable[..., str], text: str, line: int, why: str) -> None:
    text = text.replace("\n", f"\n{IMPORT.strip()}\n", 1) if text.startswith("#") else IMPORT + text
    line += text.startswith("#")
    tree.write({**venv("//leaf", "//core"), **project("leaf", "core"), **project("core"), "leaf/BUILD.gn": text})
    tree.gen()
    before = (tree.root / "leaf" / "BUILD.gn").read_bytes()
    said = check("--fix", code=1)
    assert f"leaf/BUILD.gn:{line}: //leaf:leaf does not declare //core:core\n" in said
    assert '[ "//core" ]\n' in said
    assert f"  Not fixed: {why}\n" in said
    assert (tree.root / "leaf" / "BUILD.gn").read_bytes() == before


def test_what_is_fixed_and_what_is_left(tree: Tree, check: Callable[..., str]) -> None:
    tree.write(
        {
            **venv("//a", "//b", "//core"),
            **project("a", "core"),
            **project("b", "core", call='foreach(name, [ "b" ]) {\n  interlock_project(name) {\n  }\n}\n'),
            **project("core"),
        }
    )
    tree.gen()
    said = check("--fix", code=1)
    assert said.startswith("a/BUILD.gn: fixed a: python_deps has //core too\nb/BUILD.gn:4: //b:b does not declare")
    assert said.endswith("3 projects in 1 environment: 1 problem\n")


def test_edits_that_gn_refuses_are_taken_back(
    tree: Tree, check: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    deps = 'interlock_project("core") {\n  deps = [ "//a" ]\n}\n'
    tree.write({**venv("//a", "//core"), **project("a", "core"), **project("core", call=deps)})
    tree.gen()
    before = (tree.root / "a" / "BUILD.gn").read_bytes()
    assert main(["gn", "check", "out", "--fix", "--gn", tree.gn]) == 10
    said = capsys.readouterr().err
    assert "GN refuses the tree with these edits, which were taken back:\n  a/BUILD.gn: a\n" in said
    assert "Dependency cycle" in said
    assert (tree.root / "a" / "BUILD.gn").read_bytes() == before


def test_a_cycle_gets_an_order(tree: Tree, check: Callable[..., str]) -> None:
    tree.write({**venv("//a", "//b", "//c"), **project("a", "b"), **project("b", "c[x]"), **project("c", "a", more="")})
    tree.gen()
    assert check(code=1) == (
        "a/BUILD.gn:3: //a:a is one of 3 that require each other: //a:a, //b:b, //c:c\n"
        "  a/pyproject.toml requires b\n"
        '  Add to it: deferred = [ "b" ]\n'
        "b/BUILD.gn:3: //b:b is one of 3 that require each other: //a:a, //b:b, //c:c\n"
        "  b/pyproject.toml requires c[x]\n"
        '  Add to it: deferred = [ "c" ]\n'
        "c/BUILD.gn:3: //c:c is one of 3 that require each other: //a:a, //b:b, //c:c\n"
        "  c/pyproject.toml requires a\n"
        '  Add to it: python_deps = [ "//a", "//b" ]\n'
        '  Add to it: verify = [ "a", "b" ]\n'
        "3 projects in 1 environment: 3 problems\n"
    )
    check("--fix")
    assert (tree.root / "c" / "BUILD.gn").read_text() == IMPORT + (
        'interlock_project("c") {\n  python_deps = [\n    "//a",\n    "//b",\n  ]\n  verify = [\n    "a",\n    "b",\n  ]\n}\n'
    )
    tree.gen()  # no cycle of targets


def test_who_needs_one_of_a_cycle_waits_for_all_of_it(tree: Tree, check: Callable[..., str]) -> None:
    first = 'interlock_project("a") {\n  deferred = [ "b" ]\n}\n'
    last = 'interlock_project("b") {\n  python_deps = [ "//a" ]\n  verify = [ "a" ]\n}\n'
    leaf = 'interlock_project("leaf") {\n  python_deps = [ "//a" ]\n}\n'
    cycle = {**project("a", "b", call=first), **project("b", "a", call=last)}
    tree.write({**venv("//leaf", "//b"), **cycle, **project("leaf", "a", call=leaf)})
    tree.gen()
    assert check(code=1) == (
        "leaf/BUILD.gn:3: //leaf:leaf does not declare //b:b\n"
        "  //a:a is complete only with //b:b, the last of their dependency cycle\n"
        '  Add to it: python_deps += [ "//b" ]\n'
        "3 projects in 1 environment: 1 problem\n"
    )
    assert check("--fix").endswith("3 projects in 1 environment: no problems\n")


def test_a_fixed_cycle_builds(tree: Tree, check: Callable[..., str]) -> None:
    tree.write({**venv("//a", "//b"), **project("a", "b"), **project("b", "a")})
    tree.write({**below("a", sample("a", "b")), **below("b", sample("b", "a"))})
    tree.gen()
    check("--fix")
    tree.build()
    assert "no work to do" in tree.build()
    main_of = [str(tree.root / ".venv" / "bin" / "python"), "-c", "import a, b"]
    assert subprocess.run(main_of).returncode == 0


def test_names_directories_and_metadata_that_are_wrong(tree: Tree, check: Callable[..., str]) -> None:
    tree.write(
        {
            **venv("//a", "//b", "//c", "//d", "//e", "//f"),
            "a/pyproject.toml": pyproject("real.a"),
            "a/BUILD.gn": build_file('interlock_project("a") {\n}\n'),
            "b/pyproject.toml": pyproject("real-b"),
            "b/BUILD.gn": build_file('interlock_project("b") {\n  project_name = "Real_B"\n}\n'),
            "c/BUILD.gn": build_file('interlock_project("c") {\n}\n'),
            "d/pyproject.toml": "[project]\nname = 3\n",
            "d/BUILD.gn": build_file('interlock_project("d") {\n}\n'),
            "e/pyproject.toml": pyproject("real.a", version="2"),
            "e/BUILD.gn": build_file('interlock_project("e") {\n  project_name = "Real.A"\n}\n'),
            "f/BUILD.gn": build_file(GENERATED),
        }
    )
    tree.gen()
    said = check(code=1)
    assert (
        "a/BUILD.gn:3: //a:a calls its project a, and a/pyproject.toml says real.a\n"
        '  Rename the target, or set its project_name = "real.a"\n'
    ) in said
    assert "//b:b" not in said
    assert f"c/BUILD.gn:3: there is no project in {tree.root / 'c'}: neither" in said
    assert "d/BUILD.gn:3: the metadata of //d:d: d/pyproject.toml: `project.name`" in said
    assert "//a:a and //e:e install two projects of one name, real-a, into one environment" in said
    assert f"f/BUILD.gn:3: note: {tree.root / 'out' / 'gen' / 'f'} is made by the build" in said
    assert said.endswith("6 projects in 1 environment: 4 problems\n")


def test_two_environments(tree: Tree, check: Callable[..., str]) -> None:
    other = 'interlock_venv("venv") {\n  path = "//.other"\n  projects = [ "//tool", "//text" ]\n}\n'
    tree.write(
        {
            **venv("//leaf"),
            "BUILD.gn": 'group("default") {\n  deps = [ "//build/venv", "//other:venv", "//lonely" ]\n}\n',
            "other/BUILD.gn": build_file(other),
            **project("leaf", "tool", call='interlock_project("leaf") {\n}\n'),
            **project("tool", call='interlock_project("tool") {\n  venv = "//other:venv"\n}\n'),
            **project("text"),
            **project("lonely"),
        }
    )
    tree.gen()
    assert check(code=1) == (
        "leaf/BUILD.gn:3: //leaf:leaf requires what has no target in //build/venv:venv: //tool:tool installs it into "
        "//other:venv\n"
        "  leaf/pyproject.toml requires tool\n"
        '  Give it one more interlock_project, with venv = "//build/venv", and declare that.\n'
        "text/BUILD.gn:3: //other:venv leads to //text:text, which is installed into //build/venv:venv\n"
        '  Set its venv = "//other:venv", or take it out of `projects` and `python_deps`.\n'
        "lonely/BUILD.gn:3: note: //lonely:lonely is installed into //build/venv:venv, whose `projects` do not lead to it\n"
        '  To build it with all others, add to these: "//lonely"\n'
        "text/BUILD.gn:3: note: //text:text is installed into //build/venv:venv, whose `projects` do not lead to it\n"
        '  To build it with all others, add to these: "//text"\n'
        "4 projects in 2 environments: 2 problems\n"
    )


def test_what_no_requirement_asks_for_is_a_note(tree: Tree, check: Callable[..., str]) -> None:
    tree.write({**venv("//my.leaf"), **project("my.leaf", call=LEAF), **project("core")})
    tree.gen()
    assert check() == (
        "my.leaf/BUILD.gn:4: note: //my.leaf:my.leaf declares //core, which no requirement of its project asks for\n"
        "2 projects in 1 environment: no problems\n"
    )


def test_the_interpreter_of_the_environment_decides_on_markers(tree: Tree, check: Callable[..., str]) -> None:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    requires = (f"core; python_version == '{here}'", f"text; python_version != '{here}'")
    more = f'  python = "{here}"\n'
    tree.write({**venv("//a", "//core", "//text", more=more), **project("a", *requires)})
    tree.write({**project("core"), **project("text")})
    tree.gen()
    assert "does not declare //core:core\n" in check(code=1)


def test_a_project_whose_metadata_only_its_backend_knows(tree: Tree, check: Callable[..., str]) -> None:
    setup = "from setuptools import setup\nsetup(name='a', version='1', install_requires=['co' + 're'])\n"
    tree.write({**venv("//a", "//core"), **project("a"), **project("core"), "a/setup.py": setup})
    (tree.root / "a" / "pyproject.toml").unlink()
    tree.write({"a/BUILD.gn": build_file('interlock_project("a") {\n  build_files = [ "setup.py" ]\n}\n')})
    tree.gen()
    assert "//a:a does not declare //core:core\n  a/setup.py requires core\n" in check(code=1)


def test_rules_that_ninja_refuses(tree: Tree, check: Callable[..., str]) -> None:
    action = 'action("NAME") {\n  script = "BUILD.gn"\n  outputs = [ "$target_gen_dir/NAME" ]\n}\n'
    tree.write(
        {
            "BUILD.gn": 'group("default") {\n  deps = [ "//x/y:c", "//x:y_c", "//x:a b" ]\n}\n',
            "x/BUILD.gn": action.replace("NAME", "y_c") + action.replace("NAME", "a b"),
            "x/y/BUILD.gn": action.replace("NAME", "c"),
        }
    )
    tree.gen()
    assert check(code=1) == (
        "x/y/BUILD.gn:1: //x/y:c and //x:y_c make one rule of Ninja, __x_y_c: it refuses the second one\n"
        "  Rename one of the targets, or move it.\n"
        "x/BUILD.gn:5: //x:a b makes no rule of Ninja: ' ' is in the name\n"
        "  Rename one of the targets, or move it.\n"
        "0 projects in 0 environments: 2 problems\n"
    )
    assert re.search(r"ninja: error: toolchain\.ninja:\d+", tree.build(code=1))


def test_build_files_with_another_extension(tree: Tree, check: Callable[..., str]) -> None:
    tree.write({**venv("//a", "//core"), **project("a", "core"), **project("core")})
    for path in tree.root.rglob("BUILD.gn"):
        path.rename(path.with_name("BUILD.py.gn"))
    dotfile = (tree.root / ".gn").read_text(encoding="utf-8")
    tree.write({".gn": dotfile + 'build_file_extension = "py"\n'})
    tree.gen()
    assert "a/BUILD.py.gn:3: //a:a does not declare" in check(code=1)
    check("--fix")
    assert "//core" in (tree.root / "a" / "BUILD.py.gn").read_text(encoding="utf-8")


def test_an_out_directory_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gn", "check", str(tmp_path)]) == 10
    assert "is no out directory of GN" in capsys.readouterr().err
