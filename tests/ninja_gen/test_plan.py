"""The plan: edges, what they need, how they are called; and the whole text of a build.ninja, as a golden file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from interlock.errors import GraphError
from interlock.interpreter import Interpreter, Layout
from interlock_ninja.config import Configuration, EnvironmentConfig
from interlock_ninja.graph import EnvironmentGraph, Node
from interlock_ninja.ninja_file import ninja_text
from interlock_ninja.plan import Edge, Plan, make_plan
from interlock_ninja.project import Project

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden" / "two_environments.ninja"
INTERPRETER = Interpreter(
    "/usr/bin/python3.99", "3.99.0", "cpython", "x", {}, Layout("bin", "lib", "lib", ".", "include")
)


def project(name: str, **more: Any) -> Project:
    fields: dict[str, Any] = {
        "name": name,
        "normalized": name.lower().replace(".", "-"),
        "version": "1.0",
        "directory": f"libs/{name}",
        "requires_python": "",
        "dependencies": (),
        "optional_dependencies": {},
        "groups": {},
        "build_requires": ("setuptools>=77",),
        "build_backend": "setuptools.build_meta",
        "origin": "project",
        "metadata_file": f"libs/{name}/pyproject.toml",
        "build_files": (f"libs/{name}/pyproject.toml",),
        "import_names": (),
    }
    return Project(**{**fields, **more})


def environment(name: str, **more: Any) -> EnvironmentConfig:
    fields: dict[str, Any] = {
        "name": name,
        "path": f".{name}",
        "python": None,
        "projects": None,
        "extras": {},
        "groups": {},
        "requirements": (),
        "constraints": (),
        "build_constraints": (),
        "config_settings": {},
    }
    return EnvironmentConfig(**{**fields, **more})


def plan(*graphs: EnvironmentGraph, **more: Any) -> Plan:
    fields: dict[str, Any] = {
        "root": "/w",
        "file": None,
        "members": None,
        "exclude": (),
        "out": "out",
        "durability": "full",
        "engine": "auto",
        "internal_specifiers": "error",
        "environments": tuple(graph.environment for graph in graphs),
    }
    return make_plan(Configuration(**{**fields, **more}), graphs)


def graph(of: EnvironmentConfig, *nodes: Node, cycles: tuple[tuple[str, ...], ...] = ()) -> EnvironmentGraph:
    return EnvironmentGraph(of, INTERPRETER, nodes, cycles, (), ())


def node(of: Project, *dependencies: str, deferred: tuple[str, ...] = (), **more: Any) -> Node:
    return Node(of, more.get("extras", ()), dependencies, deferred, more.get("any_version", ()))


def edge(of: Plan, stamp: str) -> Edge:
    return next(one for one in of.edges if one.stamp in {stamp, f"interlock/venv/{stamp}"})


def test_an_install_needs_its_prepare_the_requirements_and_its_dependencies() -> None:
    made = plan(graph(environment("venv"), node(project("core")), node(project("leaf"), "core", any_version=("core",))))
    leaf = edge(made, "leaf__editable_install")
    assert leaf.inputs == (
        "leaf__editable_prepare",
        "interlock/venv/requirements.stamp",
        "core__editable_install",
    )
    assert leaf.arguments == ("interlock/venv/projects/leaf/prepared", "--any-version", "core", "--venv", "/w/.venv")
    assert leaf.stamp == leaf.target == "leaf__editable_install"


def test_a_prepare_waits_for_the_environment_but_does_not_depend_on_it() -> None:
    settings = {"*": {"editable_mode": "compat"}, "core": {"--opt": ("a", "b")}}
    made = plan(graph(environment("venv", config_settings=settings), node(project("core"), extras=("x",))))
    core = edge(made, "core__editable_prepare")
    assert core.order_only == ("interlock/venv/venv.stamp",)
    assert core.inputs[1:] == ("../libs/core/pyproject.toml",)
    assert core.inputs[0].startswith("interlock/build-env/")
    assert core.arguments[3:] == (
        *("--extra", "x"),
        *("-C", "--opt=a", "-C", "--opt=b", "-C", "editable_mode=compat"),
        *("--venv", "/w/.venv"),
        *("--workspace", "interlock/workspace-names.txt"),
    )


def test_links_are_asked_of_every_prepare_of_the_environment() -> None:
    with_links, without = environment("venv", links=True), environment("other")
    made = plan(graph(with_links, node(project("core"))), graph(without, node(project("core"))))
    prepares = [one for one in made.edges if one.kind == "prepare"]
    assert [(one.environment, "--links" in one.arguments) for one in prepares] == [("venv", True), ("other", False)]


def test_requirements_know_the_private_names_and_where_paths_start() -> None:
    of = environment("venv", requirements=("req.txt",), constraints=("build/c.txt",))
    made = edge(plan(graph(of, node(project("core")))), "requirements.stamp")
    assert made.arguments == (
        *("--venv", "/w/.venv", "-r", "interlock/venv/requirements.txt", "-r", "../req.txt", "-c", "../build/c.txt"),
        *("--directory", "..", "--private", "interlock/workspace-names.txt"),
    )
    assert {"../req.txt", "../build/c.txt", "interlock/venv/venv.stamp", "interlock/workspace-names.txt"} <= set(
        made.inputs
    )


def test_projects_of_one_kind_share_a_build_environment() -> None:
    other = project("other", build_requires=("hatchling",))
    made = plan(graph(environment("venv"), node(project("a")), node(project("b")), node(other)))
    assert [one.subject for one in made.edges if one.kind == "build-env"] == ["setuptools>=77", "hatchling"]


def test_what_builds_knows_the_workspace_and_only_build_environments_wait_for_news_of_it() -> None:
    user = project("user", build_requires=("Core", "setuptools"))
    made = plan(graph(environment("venv"), node(project("core")), node(user)))
    names = "interlock/workspace-names.txt"
    build_environment = next(one for one in made.edges if one.subject == "Core, setuptools")
    for one in (build_environment, edge(made, "user__editable_prepare")):
        assert ("--workspace", names) in zip(one.arguments, one.arguments[1:], strict=False)
    assert names in build_environment.inputs
    prepare = edge(made, "user__editable_prepare")
    assert names not in (*prepare.inputs, *prepare.order_only)
    assert build_environment.stamp in prepare.inputs


def test_members_of_a_cycle_follow_each_other_and_the_last_verifies() -> None:
    nodes = (
        node(project("a"), deferred=("b",)),
        node(project("b"), "base", deferred=("a",)),
        node(project("base")),
        node(project("user"), "a"),
    )
    made = plan(graph(environment("venv"), *nodes, cycles=(("a", "b"),)))
    first, last = edge(made, "projects/a/install.stamp"), edge(made, "projects/b/install.stamp")
    assert first.arguments[1:3] == ("--defer", "b")
    assert first.stamp in last.inputs
    assert last.arguments[1:7] == ("--defer", "a", "--verify", "a", "--verify", "b")
    # Whoever asks for a member, or depends on one, gets the whole cycle.
    assert last.stamp in edge(made, "user__editable_install").inputs
    alias = {one.name: one.stamps for one in made.aliases}
    assert alias["a__editable_install"] == (first.stamp, last.stamp)


def test_the_last_of_a_cycle_knows_the_extras_and_the_lenience_of_all() -> None:
    nodes = (
        node(project("a"), deferred=("b",), extras=("x", "y"), any_version=("b",)),
        node(project("b"), deferred=("a",)),
    )
    made = plan(graph(environment("venv"), *nodes, cycles=(("a", "b"),)))
    assert edge(made, "projects/b/install.stamp").arguments[1:-2] == (
        *("--defer", "a", "--verify", "a[x,y]", "--verify", "b", "--any-version", "b"),
    )


def test_a_project_in_two_environments_has_a_name_for_each_and_one_for_both() -> None:
    core = project("core")
    made = plan(graph(environment("dev"), node(core)), graph(environment("test"), node(core)))
    assert {one.target for one in made.edges if one.kind == "install"} == {
        "dev__core__editable_install",
        "test__core__editable_install",
    }
    shared = next(one for one in made.aliases if one.name == "core__editable_install")
    assert len(shared.stamps) == 2


def test_two_edges_of_one_name_are_refused() -> None:
    shared, other = project("b"), project("a__b", normalized="a-b")
    with pytest.raises(GraphError, match=r"a__b__editable_prepare: b in environment 'a' and a-b in environment 'c'"):
        plan(graph(environment("a"), node(shared)), graph(environment("c"), node(shared), node(other)))


def test_an_edge_that_is_called_as_what_stands_for_several_are_is_refused() -> None:
    shared, other = node(project("b")), node(project("a__b", normalized="a-b"))
    environments = [graph(environment(name), shared, other) for name in ("a", "c")]
    with pytest.raises(GraphError, match=r"one name, a__b__editable_install: b in environment 'a' and a project that"):
        plan(*environments)


def test_stamps_that_differ_in_their_capitals_alone_are_refused() -> None:
    """They are files in one directory, and some file systems take them for one."""
    shared, other = project("b"), project("A__B", normalized="a-b")
    with pytest.raises(GraphError, match=r"A__B__editable_prepare: b in environment 'a' and a-b in environment 'c'"):
        plan(graph(environment("a"), node(shared)), graph(environment("c"), node(shared), node(other)))


def test_a_named_engine_reaches_every_edge_that_runs_one() -> None:
    made = plan(graph(environment("venv"), node(project("core"))), engine="pip")
    for one in made.edges:
        assert (one.arguments[-2:] == ("--engine", "pip")) is (one.kind in {"requirements", "build-env", "prepare"})


def test_a_durability_of_fast_reaches_every_edge() -> None:
    made = plan(graph(environment("venv"), node(project("core"))), durability="fast")
    assert {one.arguments[-2:] for one in made.edges} == {("--durability", "fast")}


def test_the_text_of_a_workspace_is_the_golden_file() -> None:
    """INTERLOCK_TEST_UPDATE=1 writes the file anew; look at the difference before you commit it."""
    core, leaf = project("my.core-package"), project("my.leaf-package", directory="libs/with space/leaf")
    dev = environment("dev", requirements=("requirements.txt",), config_settings={"*": {"editable_mode": "compat"}})
    made = plan(
        graph(dev, node(core), node(leaf, "my-core-package")),
        graph(environment("small"), node(core)),
    )
    text = ninja_text(
        made,
        command=["python", "-m", "interlock"],
        edge_command=["python", "edge.py"],
        regenerate=["--root", ".."],
        platform="linux",
    )
    # Where the interpreter really lies depends on the machine.
    text = text.replace(os.path.realpath("/usr/bin/python3.99"), "/usr/bin/python3.99")
    if os.environ.get("INTERLOCK_TEST_UPDATE"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")
