"""The GN files run the same edges as build.ninja: the commands that GN writes are compared with those of the plan."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gn_trees import make_tree
from interlock_ninja.commands.build import ninja_program
from interlock_ninja.graph import environment_graph
from interlock_ninja.plan import make_plan
from interlock_ninja.workspace import read_workspace
from interlock_runner import succeed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gn_trees import Tree

# Where they are is what differs: stamps, what was prepared, files of names, and what GN adds for its own labels.
ELSEWHERE = {
    "--stamp",
    "--depfile",
    "--output",
    "--workspace",
    "--private",
    "--label",
    "--labels",
    "--declared",
    "--project",
}
# An interpreter is named by the plan, and by an environment of that interpreter in GN.
SAME_INTERPRETER = {"--python", "--venv"}
PATHS = {"-r", "-c", "--build-constraint", "--constraint", "--directory"}
SECOND = """
[tool.interlock.environments.docs]
path = "docs/.venv"
projects = ["report"]
build-constraints = ["constraints.txt"]
config-settings = { text-tools = { x = "1" } }
links = true
editable = { "*" = "static", text-tools = "backend" }
"""


@pytest.fixture
def example(tmp_path: Path, gn: str, repository: Path) -> Tree:
    root = tmp_path / "tree"
    ignored = shutil.ignore_patterns("out", ".venv", "*.egg-info", "__pycache__", "build", "*.interlock.lock")
    shutil.copytree(repository / "examples" / "monorepo", root, ignore=ignored)
    with (root / "pyproject.toml").open("a", encoding="utf-8") as configuration:
        configuration.write(SECOND)
    return make_tree(root, gn, ninja_program())


def test_gn_runs_the_edges_of_the_plan(example: Tree) -> None:
    succeed("gn", "gen", cwd=example.root)
    (example.root / "BUILD.gn").write_text(
        'group("all") {\n  deps = [ "//build/venv", "//build/venv:docs" ]\n}\n', encoding="utf-8"
    )
    example.gen()
    assert sorted(map(str, of_gn(example))) == sorted(map(str, of_plan(example.root)))


def of_gn(tree: Tree) -> Iterator[list[str]]:
    out = tree.root / "out"
    for line in tree.build("-t", "commands").splitlines():
        words = shlex.split(line)
        if not any(word.endswith("run_interlock.py") for word in words):
            continue
        words = list(expanded(words[2:], out))
        if words[0] != "gn":
            yield canonical(words, out)


def expanded(words: list[str], out: Path) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        if word == "--arguments":
            yield from (out / next(rest)).read_text(encoding="utf-8").splitlines()
        else:
            yield word


def of_plan(root: Path) -> Iterator[list[str]]:
    workspace = read_workspace(str(root))
    graphs = [environment_graph(workspace, each) for each in workspace.configuration.environments]
    for edge in make_plan(workspace.configuration, graphs).edges:
        words = [edge.kind, *edge.arguments]
        if edge.kind == "requirements":
            # The plan's file of collected requirements has its counterpart in GN's gen directory.
            position = words.index(f"interlock/{edge.environment}/requirements.txt")
            words[position] = f"gen/build/venv/{edge.environment}.requirements.txt"
        yield canonical(words, root / "out")


def canonical(words: list[str], out: Path) -> list[str]:
    """Return a command as sorted words, paths absolute, without what may differ."""
    kind, *rest = words
    found = []
    position = 0
    editable = "backend"  # of several, the last one counts
    while position < len(rest):
        word = rest[position]
        if word in ELSEWHERE or (word in SAME_INTERPRETER and kind in {"build-env", "venv"}):
            position += 2
        elif word == "--editable":
            editable = rest[position + 1]
            position += 2
        elif word == "--links":
            found.append(word)
            position += 1
        elif word.startswith("-"):
            value = rest[position + 1]
            path = word in PATHS and not (kind == "build-env" and word == "-r")
            name = "--constraint" if word == "--build-constraint" else word
            found.append(f"{name} {absolute(value, out) if path or word == '--venv' else value}")
            position += 2
        else:
            found.append("PREPARED" if kind == "install" else absolute(word, out))
            position += 1
    return [kind, editable, *sorted(found)]


def absolute(path: str, out: Path) -> str:
    return os.path.normpath(os.path.join(out, path))
