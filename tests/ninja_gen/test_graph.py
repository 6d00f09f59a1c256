"""The graph of an environment: what is pulled in, in which order, and what is refused with every pair named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from interlock.errors import ConfigurationError, GraphError
from interlock.interpreter import Interpreter, Layout
from interlock_ninja.config import Configuration, EnvironmentConfig
from interlock_ninja.graph import EnvironmentGraph, environment_graph
from interlock_ninja.project import Project
from interlock_ninja.workspace import Workspace

MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.12.4",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_release": "6",
    "platform_system": "Linux",
    "platform_version": "1",
    "python_full_version": "3.12.4",
    "platform_python_implementation": "CPython",
    "python_version": "3.12",
    "sys_platform": "linux",
}
INTERPRETER = Interpreter(
    "/usr/bin/python3.12", "3.12.4", "cpython", "cp312", MARKERS, Layout("bin", "lib", "lib", ".", "include")
)


def project(name: str, *dependencies: str, version: str = "1.0", **more: Any) -> Project:
    fields: dict[str, Any] = {
        "name": name,
        "normalized": name.lower().replace("_", "-").replace(".", "-"),
        "version": version,
        "directory": name,
        "requires_python": "",
        "dependencies": dependencies,
        "optional_dependencies": {},
        "groups": {},
        "build_requires": (),
        "build_backend": "flit_core.buildapi",
        "origin": "project",
        "metadata_file": f"{name}/pyproject.toml",
        "build_files": (f"{name}/pyproject.toml",),
        "import_names": (),
    }
    return Project(**{**fields, **more})


def graph(
    *projects: Project,
    policy: str = "error",
    chosen: tuple[str, ...] | None = None,
    **choices: Mapping[str, tuple[str, ...]],
) -> EnvironmentGraph:
    environment = EnvironmentConfig(
        "venv", ".venv", None, chosen, choices.get("extras", {}), choices.get("groups", {}), (), (), (), {}
    )
    configuration = Configuration("/w", None, None, (), "out", "full", "auto", policy, (environment,))  # type: ignore[arg-type]
    workspace = Workspace(configuration, projects, (), (), (), ())
    return environment_graph(workspace, environment, interpreter=INTERPRETER)


def order(found: EnvironmentGraph) -> list[str]:
    return [node.project.normalized for node in found.nodes]


def test_dependencies_are_installed_first_by_normalised_name() -> None:
    found = graph(project("leaf", "My_Core.Package>=1"), project("my.core-package"), project("alone"))
    assert order(found) == ["alone", "my-core-package", "leaf"]
    assert found.nodes[-1].dependencies == ("my-core-package",)
    assert found.third_party == ()


def test_a_choice_of_projects_is_closed_over_its_dependencies() -> None:
    found = graph(project("leaf", "mid"), project("mid", "core"), project("core"), project("other"), chosen=("Leaf",))
    assert order(found) == ["core", "mid", "leaf"]


def test_an_unknown_choice_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"names 'croe', and no project is called that; did you mean 'core'\?"):
        graph(project("core"), chosen=("croe",))


def test_third_party_requirements_lose_their_markers_and_keep_the_rest() -> None:
    found = graph(
        project(
            "a",
            "idna>=3; python_version>='3.8'",
            "tomli; python_version<'3.11'",
            "requests[socks]==2.*",
            "x @ https://h/x.zip",
        ),
        project("b", "idna>=3"),
    )
    assert found.third_party == ("idna>=3", "requests[socks]==2.*", "x @ https://h/x.zip")


def test_an_extra_of_a_dependency_orders_the_one_that_asks_and_makes_no_cycle() -> None:
    hub = project("hub", optional_dependencies={"all": ("spoke", "third")})
    found = graph(hub, project("spoke", "hub"), project("app", "hub[all]"))
    assert found.cycles == ()
    assert order(found) == ["hub", "spoke", "app"]
    assert found.nodes[-1].dependencies == ("hub", "spoke")
    assert found.third_party == ("third",)


def test_a_chosen_extra_makes_hub_and_spoke_a_cycle_that_is_said_once() -> None:
    hub = project("hub", optional_dependencies={"all": ("spoke",)})
    found = graph(hub, project("spoke", "hub"), extras={"hub": ("all",)})
    assert found.cycles == (("hub", "spoke"),)
    assert [node.deferred for node in found.nodes] == [("spoke",), ("hub",)]
    assert found.nodes[0].extras == ("all",)
    assert found.warnings == (
        (
            "2 projects require each other (hub -> spoke -> hub): "
            "they are installed one after the other and verified after the last"
        ),
    )


def test_a_requirement_on_itself_is_no_cycle() -> None:
    own = project("a", "a[x]", optional_dependencies={"x": ("third",), "y": ("a[x]",)})
    found = graph(own, extras={"*": ("y",)})
    assert (found.cycles, found.nodes[0].dependencies, found.third_party) == ((), (), ("third",))


def test_groups_pull_in_without_ordering() -> None:
    found = graph(
        project("a", groups={"dev": ("tool", "pytest")}), project("tool", "a"), chosen=("a",), groups={"a": ("dev",)}
    )
    assert order(found) == ["a", "tool"]
    assert (found.cycles, found.third_party) == ((), ("pytest",))


def test_an_extra_that_nobody_declares_is_an_error() -> None:
    with pytest.raises(
        ConfigurationError, match=r"`environments.venv.extras` asks for 'x', and no project declares it"
    ):
        graph(project("a"), extras={"*": ("x",)})


def test_all_specifiers_that_exclude_the_workspace_are_named_at_once() -> None:
    projects = (project("core"), project("leaf", "core>=2"), project("other", "core==0.5", "leaf~=1.0"))
    with pytest.raises(GraphError) as caught:
        graph(*projects)
    assert str(caught.value) == (
        "environment 'venv': 2 requirements inside the workspace exclude the version that is there:\n"
        "  leaf/pyproject.toml wants core>=2, and core/pyproject.toml is core 1.0\n"
        "  other/pyproject.toml wants core==0.5, and core/pyproject.toml is core 1.0\n"
        '  Correct the specifiers, or set internal-specifiers = "warn" to install these projects regardless.'
    )
    found = graph(*projects, policy="warn")
    assert [node.any_version for node in found.nodes] == [(), ("core",), ("core",)]
    assert len(found.warnings) == 2


def test_a_development_version_satisfies() -> None:
    assert order(graph(project("core", version="0.66b0.dev0"), project("leaf", "core==0.66b0.dev"))) == ["core", "leaf"]


def test_a_direct_reference_to_a_project_is_internal() -> None:
    found = graph(project("core"), project("leaf", "core @ file:///elsewhere/core"))
    assert found.nodes[1].dependencies == ("core",)
    assert found.third_party == ()


def test_two_projects_of_one_name_are_named_with_both_paths() -> None:
    twin = project("Core", directory="twin", metadata_file="twin/setup.py")
    with pytest.raises(GraphError, match=r"core: core/pyproject.toml \(core\) and twin/setup.py \(Core\)"):
        graph(project("core"), twin)
    assert order(graph(project("core"), twin, project("alone"), chosen=("alone",))) == ["alone"]


def test_requires_python_that_excludes_the_interpreter_is_named() -> None:
    with pytest.raises(GraphError) as caught:
        graph(project("old", requires_python="<3.10"), project("new", requires_python=">=3.13"), project("fine"))
    assert str(caught.value) == (
        "environment 'venv' has Python 3.12.4 (/usr/bin/python3.12), which these projects exclude:\n"
        "  new/pyproject.toml (new): requires-python >=3.13\n"
        "  old/pyproject.toml (old): requires-python <3.10\n"
        "  Choose another interpreter with `python`, leave them out with `projects`, or exclude them with `exclude`."
    )


def test_a_shared_import_name_is_a_warning_in_one_line() -> None:
    projects = [project(f"p{n}", import_names=(f"p{n}", "tests")) for n in range(5)]
    assert graph(*projects).warnings == (
        "import name 'tests' is shipped by 5 projects (p0, p1, p2 and 2 more); only one of them is imported",
    )


def test_an_extra_that_a_project_does_not_have_is_a_warning() -> None:
    found = graph(project("core"), project("leaf", "core[nope]"))
    assert found.warnings == ("leaf/pyproject.toml wants 'core[nope]', and core has no extra 'nope'",)


def test_ten_thousand_projects_in_a_line_are_ordered() -> None:
    projects = [project(f"p{n:05}", *([f"p{n - 1:05}"] if n else [])) for n in range(10_000)]
    assert order(graph(*projects)) == [f"p{n:05}" for n in range(10_000)]


def test_an_extra_is_followed_through_others_to_what_it_requires() -> None:
    """The asker installs after all of it, and is told which versions don't matter there."""
    hub = project("hub", optional_dependencies={"all": ("hub[one]", "mid[x]"), "one": ("spoke>=9",)})
    mid = project("mid", optional_dependencies={"x": ("deep", "other; extra == 'x'", "never; extra == 'y'")})
    found = graph(hub, mid, project("spoke"), project("deep"), project("app", "hub[all]"), policy="warn")
    app = next(node for node in found.nodes if node.project.name == "app")
    assert app.dependencies == ("deep", "hub", "mid", "spoke")
    assert app.any_version == ("spoke",)
    assert found.third_party == ("other",)
    assert next(node for node in found.nodes if node.project.name == "hub").any_version == ()


def test_markers_are_those_of_the_environments_interpreter() -> None:
    leaf = project(
        "leaf", "core; python_version < '3.12'", "mac; sys_platform == 'darwin'", "new; python_version >= '3.12'"
    )
    found = graph(project("core"), project("mac"), project("new"), leaf)
    assert {node.project.name: node.dependencies for node in found.nodes}["leaf"] == ("new",)


def test_a_cycle_of_many_is_described_by_its_shortest_way() -> None:
    ring = [project(f"p{n}", f"p{(n + 1) % 5}") for n in range(5)]
    found = graph(*ring, project("p9", "p0", "p8"), project("p8", "p9"))
    assert found.cycles == (("p0", "p1", "p2", "p3", "p4"), ("p8", "p9"))
    assert [line.partition("(")[2].partition(")")[0] for line in found.warnings] == [
        "p0 -> p1 -> p2 -> p3 -> p4 -> p0",
        "p8 -> p9 -> p8",
    ]
    assert [node.dependencies for node in found.nodes if node.project.name == "p9"] == [("p0",)]


def test_a_star_is_no_choice_of_projects() -> None:
    with pytest.raises(ConfigurationError, match=r"names '\*', and no project is called that"):
        graph(project("core"), chosen=("*",))


def test_config_settings_for_nobody_are_an_error() -> None:
    environment = EnvironmentConfig("dev", "e", None, None, {}, {}, (), (), (), {"croe": {"a": "b"}})
    configuration = Configuration("/w", "/w/interlock.toml", None, (), "out", "full", "auto", "error", (environment,))
    workspace = Workspace(configuration, (project("core"),), (), (), (), ())
    with pytest.raises(ConfigurationError) as caught:
        environment_graph(workspace, environment, interpreter=INTERPRETER)
    assert caught.value.message == (
        "/w/interlock.toml: `environments.dev.config-settings` names 'croe', "
        "and no project is called that; did you mean 'core'?"
    )


def test_the_order_does_not_depend_on_the_order_of_the_projects() -> None:
    projects = [project(f"p{n}", *(f"p{m}" for m in range(n) if (n * 7 + m) % 3 == 0)) for n in range(30)]
    assert order(graph(*projects)) == order(graph(*reversed(projects)))
