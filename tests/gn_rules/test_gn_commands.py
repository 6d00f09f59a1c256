"""What GN itself says of a tree that uses the templates: desc, refs, path, analyze, check, clean, args, files for IDEs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gn_samples import ACTIONS, EVERYTHING, below, build_file, install, prepare, project
from gn_trees import make_tree
from interlock_ninja.commands.build import ninja_program

if TYPE_CHECKING:
    from pathlib import Path

    from gn_trees import Tree

CORE, LEAF, OTHER = "my.core-package", "my.leaf-package", "other"
INSTALLS = [install(name) for name in (CORE, LEAF, OTHER)]


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory, gn: str) -> Tree:
    """Return a tree with all templates, generated, and a project beside that has nothing to do with the others."""
    tree = make_tree(tmp_path_factory.mktemp("commands") / "tree", gn, ninja_program())
    venv = EVERYTHING["build/venv/BUILD.gn"].replace('projects = [ "//libs" ]', 'projects = [ "//libs", "//other" ]')
    alone = build_file('interlock_project("other") {\n  testonly = true\n}\n')
    tree.write({**EVERYTHING, **below(OTHER, project(OTHER)), "other/BUILD.gn": alone, "build/venv/BUILD.gn": venv})
    tree.gen()
    return tree


def lines(tree: Tree, *words: str) -> list[str]:
    return tree.run_gn(words[0], "out", *words[1:]).split()


def analyze(tree: Tree, directory: Path, *files: str, targets: list[str]) -> list[str]:
    """Return those of the targets that a change of the files affects."""
    asked, answer = directory / "in.json", directory / "out.json"
    asked.write_text(json.dumps({"files": files, "test_targets": targets, "additional_compile_targets": []}))
    tree.run_gn("analyze", "out", str(asked), str(answer))
    said = json.loads(answer.read_text())
    assert "error" not in said
    return sorted(said.get("test_targets", []))


@pytest.mark.parametrize(
    ("file", "affected"),
    [
        ("//my.core-package/pyproject.toml", [CORE, LEAF]),
        ("//my.leaf-package/pyproject.toml", [LEAF]),
        ("//my.leaf-package/extra.txt", [LEAF]),
        ("//other/pyproject.toml", [OTHER]),
        ("//my.core-package/core.py", []),
        ("//build/venv/requirements.txt", [CORE, LEAF, OTHER]),
        ("//build/venv/BUILD.gn", [CORE, LEAF, OTHER]),
        ("//elsewhere/pyproject.toml", []),
    ],
)
def test_analyze_names_the_installs_that_are_affected(
    commands: Tree, tmp_path: Path, file: str, affected: list[str]
) -> None:
    assert analyze(commands, tmp_path, file, targets=INSTALLS) == [install(name) for name in affected]


def test_analyze_names_the_prepares_that_are_affected(commands: Tree, tmp_path: Path) -> None:
    prepares = [prepare(name) for name in (CORE, LEAF, OTHER)]
    assert analyze(commands, tmp_path, "//my.core-package/pyproject.toml", targets=prepares) == [prepare(CORE)]


def test_analyze_names_what_runs_in_the_environment(commands: Tree, tmp_path: Path) -> None:
    runs = ["//my.leaf-package:table", "//my.leaf-package:each", "//build/venv:check"]
    assert analyze(commands, tmp_path, "//my.core-package/pyproject.toml", targets=runs) == sorted(runs)
    assert analyze(commands, tmp_path, "//my.leaf-package/a.csv", targets=runs) == ["//my.leaf-package:each"]
    assert analyze(commands, tmp_path, "//other/pyproject.toml", targets=runs) == ["//build/venv:check"]


def test_desc_tells_what_an_install_waits_for_and_makes(commands: Tree) -> None:
    assert lines(commands, "desc", install(LEAF), "deps") == [
        "//build/venv:venv__requirements",
        install(CORE),
        prepare(LEAF),
    ]
    (stamp,) = lines(commands, "desc", install(LEAF), "outputs")
    assert stamp.startswith("//out/interlock/")
    assert lines(commands, "outputs", install(LEAF)) == [stamp.removeprefix("//out/")]


def test_desc_has_a_tree_of_dependencies(commands: Tree) -> None:
    tree = commands.run_gn("desc", "out", "//my.leaf-package", "deps", "--tree")
    assert tree.startswith("//my.core-package:my.core-package\n")
    assert f"\n{install(LEAF)}\n" in tree


def test_desc_of_everything_is_json(commands: Tree) -> None:
    described = json.loads(commands.run_gn("desc", "out", "//*", "--format=json"))
    assert {name for name, it in described.items() if it["type"].startswith("action")} == {
        *ACTIONS,
        install(OTHER),
        prepare(OTHER),
    }


def test_refs_of_a_file_are_the_edges_that_read_it(commands: Tree) -> None:
    assert lines(commands, "refs", "//my.core-package/pyproject.toml") == [prepare(CORE), "//my.core-package:wheel"]
    everything = lines(commands, "refs", "//my.core-package/pyproject.toml", "--all")
    assert {install(CORE), install(LEAF), "//my.leaf-package:table", "//:default"} <= set(everything)
    assert install(OTHER) not in everything


def test_refs_of_a_label_are_its_dependents(commands: Tree) -> None:
    assert lines(commands, "refs", "//my.core-package") == ["//my.leaf-package:my.leaf-package"]
    assert lines(commands, "refs", install(CORE)) == ["//my.core-package:my.core-package", install(LEAF)]


def test_path_tells_why_something_is_built(commands: Tree) -> None:
    path = commands.run_gn("path", "out", "//my.leaf-package", install(CORE))
    assert f"//my.leaf-package:my.leaf-package --[public]-->\n{install(LEAF)} --[private]-->\n{install(CORE)}" in path


def test_meta_tells_the_projects_of_an_environment(commands: Tree) -> None:
    found = commands.run_gn("meta", "out", "//build/venv:venv__projects", "--data=interlock_project")
    names = [line.split("\t")[0] for line in found.splitlines() if "\t" in line and not line.startswith("\t")]
    assert sorted(names) == ["My.Leaf-Package", "my.core-package", "other"]


def test_ide_file_has_every_edge(commands: Tree) -> None:
    commands.gen("--ide=json")
    targets = json.loads((commands.root / "out" / "project.json").read_text(encoding="utf-8"))["targets"]
    for label in ACTIONS:
        assert targets[f"{label}"]["type"] in {"action", "action_foreach"}
        assert targets[f"{label}"]["script"] == "//build/interlock/run_interlock.py"


def test_check_has_nothing_to_say(commands: Tree) -> None:
    assert "Header dependency check OK" in commands.run_gn("check", "out")
    commands.gen("--check")


def test_args_are_listed_with_their_documentation(commands: Tree) -> None:
    listed = json.loads(commands.run_gn("args", "out", "--list", "--json"))
    ours = {each["name"]: each for each in listed if each["name"].startswith("interlock_")}
    assert set(ours) == {
        "interlock_default_venv",
        "interlock_durability",
        "interlock_engine",
        "interlock_install_pool_depth",
        "interlock_offline",
        "interlock_program",
        "interlock_python",
        "interlock_toolchain",
    }
    assert all(each["comment"].strip() for each in ours.values())
    assert ours["interlock_engine"]["default"]["value"] == '"auto"'
    assert '"uv", "pip", or "auto"' in ours["interlock_engine"]["comment"]


def test_templates_run_no_script_while_gn_generates(commands: Tree) -> None:
    for path in (commands.root / "build" / "interlock").iterdir():
        assert path.suffix == ".py" or "exec_script" not in path.read_text(encoding="utf-8"), path


def test_clean_makes_the_tree_as_new(commands: Tree) -> None:
    planned = commands.build("-n").count("editable_install(")
    commands.run_gn("clean", "out")
    assert not (commands.root / "out" / "gen").exists()
    commands.build("build.ninja")
    assert commands.build("-n").count("editable_install(") == planned
    assert (commands.root / "out" / "gen" / "build" / "venv" / "venv.projects.txt").is_file()
