"""A plan as calls of the templates: each edge's meaning arrives, in labels that GN and Ninja can carry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.errors import ConfigurationError, GraphError
from interlock_gn.calls import Calls, Place, ProjectCall, make_calls
from interlock_ninja.graph import environment_graph
from interlock_ninja.plan import make_plan
from interlock_ninja.workspace import read_workspace
from trees import pyproject, write_tree


def calls(root: Path, files: dict[str, str], *, single_file: bool = False, inside: str = "") -> Calls:
    write_tree(root / inside, {"interlock.toml": "", **files})
    workspace = read_workspace(str(root / inside))
    graphs = [environment_graph(workspace, each) for each in workspace.configuration.environments]
    plan = make_plan(workspace.configuration, graphs)
    return make_calls(workspace, graphs, plan, Place(str(root), "//build/venv", single_file))


def project(of: Calls, target: str) -> ProjectCall:
    return next(each for each in of.projects if each.target == target)


def test_a_project_names_what_is_installed_before_it(tmp_path: Path) -> None:
    made = calls(
        tmp_path,
        {
            "my.core-package/pyproject.toml": pyproject("my.core-package"),
            "libs/a/pyproject.toml": pyproject("tool", "my_core_package>=1", "colorama"),
        },
    )
    tool = project(made, "tool")
    assert (tool.directory, tool.python_deps) == ("//libs/a", ("//my.core-package",))
    assert (tool.project_name, tool.pyproject, tool.venv, tool.build_files) == ("", "", "", ())
    assert tool.build_env.startswith("//build/venv:venv__build_env_flit_core_")
    (environment,) = made.environments
    assert environment.projects == ("//libs/a:tool", "//my.core-package")
    assert environment.dependencies == ("colorama",)
    assert [each.requires for each in made.build_environments] == [("flit_core>=3.11",)]


def test_a_workspace_below_the_root_of_the_tree(tmp_path: Path) -> None:
    configuration = '[environments.venv]\nrequirements = ["r.txt"]\n'
    made = calls(
        tmp_path,
        {"interlock.toml": configuration, "r.txt": "", "a/pyproject.toml": pyproject("a")},
        inside="python",
    )
    (environment,) = made.environments
    assert (environment.path, environment.directory) == ("//python/.venv", "//python")
    assert environment.requirements == ("//python/r.txt",)
    assert environment.projects == ("//python/a",)


def test_in_a_single_file_labels_are_local(tmp_path: Path) -> None:
    files = {"a/pyproject.toml": pyproject("a"), "b/pyproject.toml": pyproject("b", "a")}
    made = calls(tmp_path, files, single_file=True)
    assert {each.directory for each in made.projects} == {"//build/venv"}
    b = project(made, "b")
    assert (b.pyproject, b.python_deps, b.build_files) == ("//b", (":a",), ())
    assert b.build_env.startswith(":venv__build_env_")
    assert made.environments[0].projects == (":a", ":b")


def test_a_directory_that_can_be_part_of_no_rule_is_named_from_elsewhere(tmp_path: Path) -> None:
    files = {"a b+c/pyproject.toml": pyproject("a"), "d/pyproject.toml": pyproject("d", "a")}
    made = calls(tmp_path, files)
    a = project(made, "a")
    assert (a.directory, a.pyproject) == ("//build/venv", "//a b+c")
    assert project(made, "d").python_deps == ("//build/venv:a",)


@pytest.mark.parametrize("name", ["c:d", "lib(y)", "a@b"])
def test_a_directory_that_can_be_part_of_no_label_is_named_from_elsewhere(tmp_path: Path, name: str) -> None:
    made = calls(tmp_path, {f"{name}/pyproject.toml": pyproject("a")})
    assert [(each.directory, each.pyproject) for each in made.projects] == [("//build/venv", f"//{name}")]


def test_labels_that_make_one_rule_are_named_both(tmp_path: Path) -> None:
    files = {"a/b/pyproject.toml": pyproject("c"), "a/pyproject.toml": pyproject("b_c")}
    with pytest.raises(GraphError) as caught:
        calls(tmp_path, files)
    assert (
        "//a/b:c__editable_install and //a:b_c__editable_install make one Ninja rule"
        in caught.value.message.replace(
            "//a:b_c__editable_install and //a/b:c__editable_install",
            "//a/b:c__editable_install and //a:b_c__editable_install",
        )
    )
    assert "--single-file" in str(caught.value)
    assert calls(tmp_path, files, single_file=True).projects


def test_projects_of_two_environments_have_a_target_in_each_and_a_group(tmp_path: Path) -> None:
    configuration = '[environments.venv]\n[environments.docs]\nprojects = ["b"]\n'
    files = {
        "interlock.toml": configuration,
        "a/pyproject.toml": pyproject("a"),
        "b/pyproject.toml": pyproject("b", "a"),
        "c/pyproject.toml": pyproject("c"),
    }
    made = calls(tmp_path, files)
    assert sorted(each.target for each in made.projects) == ["c", "docs__a", "docs__b", "venv__a", "venv__b"]
    b = project(made, "docs__b")
    assert (b.project_name, b.venv, b.python_deps) == ("b", "//build/venv:docs", ("//a:docs__a",))
    assert [(each.target, each.python_deps) for each in made.groups] == [
        ("a", ("//a:docs__a", "//a:venv__a")),
        ("b", ("//b:docs__b", "//b:venv__b")),
    ]


def test_a_cycle_is_installed_in_order_and_verified_at_its_end(tmp_path: Path) -> None:
    files = {
        "a/pyproject.toml": pyproject("a", "b"),
        "b/pyproject.toml": pyproject("b", "a"),
        "c/pyproject.toml": pyproject("c", "a"),
    }
    made = calls(tmp_path, files)
    first, last = project(made, "a"), project(made, "b")
    assert (first.python_deps, first.deferred, first.verify) == ((), ("b",), ())
    assert (last.python_deps, last.deferred, last.verify) == (("//a",), ("a",), ("a", "b"))
    # Whoever needs one of a cycle needs all of it.
    assert project(made, "c").python_deps == ("//a", "//b")


def test_settings_of_all_projects_are_the_environment_s(tmp_path: Path) -> None:
    settings = '[environments.venv]\nconfig-settings = { x = "1" }\n'
    files = {"interlock.toml": settings, "a/pyproject.toml": pyproject("a"), "b/pyproject.toml": pyproject("b")}
    made = calls(tmp_path, files)
    assert made.environments[0].config_settings == ("x=1",)
    assert {each.config_settings for each in made.projects} == {()}


def test_settings_of_one_project_replace_those_of_all(tmp_path: Path) -> None:
    settings = '[environments.venv]\nconfig-settings = { x = "1", a = { x = "2" } }\n'
    files = {"interlock.toml": settings, "a/pyproject.toml": pyproject("a"), "b/pyproject.toml": pyproject("b")}
    made = calls(tmp_path, files)
    assert made.environments[0].config_settings == ()
    assert project(made, "a").config_settings == ("x=2",)
    assert project(made, "b").config_settings == ("x=1",)


def test_what_builds_a_project_is_named_where_it_is_not_the_pyproject(tmp_path: Path) -> None:
    cfg = "[metadata]\nname = old\nversion = 1\n"
    made = calls(tmp_path, {"old/setup.cfg": cfg, "old/setup.py": "import setuptools\nsetuptools.setup()\n"})
    assert set(project(made, "old").build_files) == {"setup.cfg", "setup.py"}


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
@pytest.mark.parametrize("name", ["a\\b", "a\tb"])
def test_a_directory_that_gn_cannot_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="GN cannot name"):
        calls(tmp_path, {f"{name}/pyproject.toml": pyproject("a")})
