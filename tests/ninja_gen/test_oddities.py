"""What real repositories hold: one test for each oddity of docs/reference/oddities.md that discovery decides."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from interlock.errors import ConfigurationError, GraphError, MetadataError
from interlock.interpreter import Interpreter, query
from interlock_ninja.graph import EnvironmentGraph, environment_graph
from interlock_ninja.workspace import Workspace, read_workspace
from trees import pyproject, write_tree

NO_BUILD = "[project]\nname = 'a'\nversion = '1'\n"
SETUP = "from setuptools import setup\nsetup(name='{}')\n"
VIRTUAL = NO_BUILD + "[tool.uv]\npackage = false\n"


def say_the_name(source: str) -> str:
    """Answer for a backend: what setup.py has as name, version 1."""
    text = (Path(source) / "setup.py").read_text(encoding="utf-8")
    match = re.search(r"name='([^']*)'", text)
    return f"Metadata-Version: 2.1\nName: {match[1] if match else 'UNKNOWN'}\nVersion: 1\n"


def read(root: Path, files: dict[str, str | bytes], configuration: str = "", *, strict: bool = False) -> Workspace:
    write_tree(root, {**files, **({"interlock.toml": configuration} if configuration else {})})
    return read_workspace(str(root), ask=say_the_name, strict=strict)


def found(workspace: Workspace) -> list[str]:
    return [project.directory for project in workspace.projects]


def skipped(workspace: Workspace) -> dict[str, str]:
    return {each.path: each.reason for each in workspace.skipped}


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    import sys

    return query(sys.executable)


def graph(workspace: Workspace, interpreter: Interpreter) -> EnvironmentGraph:
    return environment_graph(workspace, workspace.configuration.environments[0], interpreter=interpreter)


def test_01_tool_configuration_groups_and_emptiness_are_no_projects(tmp_path: Path) -> None:
    files = {
        "a/pyproject.toml": "",
        "b/pyproject.toml": "[tool.x]\n",
        "c/pyproject.toml": "[dependency-groups]\nd=[]\n",
    }
    workspace = read(tmp_path, dict(files))
    assert (found(workspace), workspace.warnings) == ([], ())
    assert skipped(workspace) == {
        "a": "an empty pyproject.toml",
        "b": "only the configuration of tools",
        "c": "only dependency groups",
    }


def test_02_a_project_without_build_system_needs_code_or_membership(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"bare/pyproject.toml": NO_BUILD, "code/pyproject.toml": NO_BUILD, "code/a.py": ""}
    assert found(read(tmp_path / "one", files)) == ["code"]
    assert found(read(tmp_path / "two", files, "members = ['bare']")) == ["bare"]


def test_03_virtual_projects_are_skipped_and_own_no_tests(tmp_path: Path) -> None:
    """opentelemetry-python has a real project below the tests of its virtual root."""
    workspace = read(tmp_path, {"pyproject.toml": VIRTUAL, "tests/util/pyproject.toml": pyproject("util")})
    assert found(workspace) == ["tests/util"]
    assert skipped(workspace) == {".": "virtual: tool.uv.package = false"}


def test_04_poetry_with_neither_name_nor_version_is_virtual(tmp_path: Path) -> None:
    text = "[build-system]\nrequires=['poetry-core']\nbuild-backend='poetry.core.masonry.api'\n[tool.poetry]\n"
    assert skipped(read(tmp_path, {"x/pyproject.toml": text})) == {
        "x": "virtual: [tool.poetry] has neither name nor version"
    }


def test_05_metadata_may_be_elsewhere(tmp_path: Path) -> None:
    build = "[build-system]\nrequires=['setuptools']\nbuild-backend='setuptools.build_meta'\n"
    files = {
        "cfg/pyproject.toml": build,
        "cfg/setup.cfg": "[metadata]\nname = pw_cli\nversion = 0.0.1\n[options]\ninstall_requires =\n  core  # TODO\n",
        "script/pyproject.toml": build,
        "script/setup.py": SETUP.format("girder"),
    }
    workspace = read(tmp_path, dict(files))
    assert [(project.name, project.origin) for project in workspace.projects] == [
        ("pw_cli", "setup.cfg"),
        ("girder", "backend"),
    ]
    assert workspace.projects[0].dependencies == ("core",)  # 35: the comment is none of it


def test_06_07_setup_py_alone_is_a_project_if_it_is_a_setup_script(tmp_path: Path) -> None:
    workspace = read(tmp_path, {"a/setup.py": SETUP.format("a"), "pdm/models/setup.py": "class Setup: ...\n"})
    assert found(workspace) == ["a"]
    assert skipped(workspace) == {"pdm/models": "its setup.py is no setup script"}


def test_08_a_project_table_has_the_last_word_over_an_old_setup_py(tmp_path: Path) -> None:
    workspace = read(tmp_path, {"a/pyproject.toml": pyproject("new"), "a/setup.py": SETUP.format("old")})
    assert [(project.name, project.origin) for project in workspace.projects] == [("new", "project")]


def test_09_directories_with_placeholders_are_templates(tmp_path: Path) -> None:
    broken = "[project]\nname = {{ name }}\n"
    workspace = read(
        tmp_path,
        {
            ".template/{{ cookiecutter.project_slug }}/pyproject.toml": broken,
            "templates/check/{check_name}/sub/pyproject.toml": broken,
            ".template/a b/pyproject.toml": pyproject("a"),
        },
    )
    assert (found(workspace), workspace.warnings) == ([".template/a b"], ())
    assert skipped(workspace) == {
        ".template/{{ cookiecutter.project_slug }}": "below a template's directory, {{ cookiecutter.project_slug }}",
        "templates/check/{check_name}/sub": "below a template's directory, {check_name}",
    }


def test_10_templates_inside_a_package_and_invalid_names(tmp_path: Path) -> None:
    workspace = read(
        tmp_path,
        {
            "cli/pyproject.toml": pyproject("cli"),
            "cli/src/cli/templates/crew/pyproject.toml": pyproject("{{folder_name}}"),
            "_template/pyproject.toml": pyproject("<REPLACE ME>"),
        },
    )
    assert found(workspace) == ["cli"]
    assert skipped(workspace)["cli/src/cli/templates/crew"] == "below the templates of cli"
    assert workspace.warnings == (
        (
            "_template/pyproject.toml: `project.name` is '<REPLACE ME>', which is no valid name; skipped "
            '(for good: exclude = ["_template"])'
        ),
    )
    assert read(tmp_path, {}, "exclude = ['_template']").warnings == ()


def test_11_what_is_broken_is_one_line_each_and_with_strict_one_error(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "demo-#-[x]/pyproject.toml": "[project\n",
        "none/setup.py": "from setuptools import setup\nsetup()\n",
        "latin/setup.py": b"# \xe9\n" + SETUP.format("latin").encode(),
        "ok/pyproject.toml": pyproject("ok"),
    }
    write_tree(tmp_path, files)

    def ask(source: str) -> str:
        return "Name: UNKNOWN\nVersion: 0\n" if source.endswith("none") else "Name: latin\nVersion: 1\n"

    with pytest.raises(MetadataError) as caught:
        read_workspace(str(tmp_path), strict=True, ask=ask)
    assert str(caught.value) == (
        "2 projects have metadata that cannot be read:\n"
        "  demo-#-[x]/pyproject.toml is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 9)\n"
        "  none/setup.py gives the project no name\n"
        '  Mend them, or exclude them: exclude = ["demo-#-[[]x]", "none"]'
    )
    excluded = read_workspace(
        str(write_tree(tmp_path, {"interlock.toml": 'exclude = ["demo-#-[[]x]", "none"]\n'})),
        strict=True,
        ask=ask,
    )
    assert found(excluded) == ["latin", "ok"]


def test_12_fixtures_that_shadow_an_index_are_no_projects(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "msk/pyproject.toml": pyproject("msk"),
        "msk/tests/mock_boto3/setup.py": SETUP.format("boto3"),
    }
    workspace = read(tmp_path, files)
    assert found(workspace) == ["msk"]
    assert skipped(workspace) == {"msk/tests/mock_boto3": "below the tests of msk"}
    # Whoever writes it out gets it.
    assert found(read(tmp_path, {}, "members = ['msk', 'msk/tests/*']")) == ["msk", "msk/tests/mock_boto3"]


def test_13_two_directories_of_one_name_are_an_error_in_one_environment(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    workspace = read(tmp_path, {"a/pyproject.toml": pyproject("My_Job"), "b/pyproject.toml": pyproject("my.job")})
    with pytest.raises(GraphError, match=r"my-job: a/pyproject.toml \(My_Job\) and b/pyproject.toml \(my.job\)"):
        graph(workspace, interpreter)


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")
def test_13_a_linked_pyproject_is_the_project_that_it_leads_to(tmp_path: Path) -> None:
    write_tree(tmp_path, {"lib/pyproject.toml": pyproject("lib"), "copies/x/README": ""})
    (tmp_path / "copies/x/pyproject.toml").symlink_to("../../lib/pyproject.toml")
    workspace = read(tmp_path, {})
    assert found(workspace) == ["lib"]
    assert skipped(workspace) == {"copies/x": "its pyproject.toml is a symbolic link to that of lib"}


def test_14_names_meet_normalised_and_stay_as_written(tmp_path: Path, interpreter: Interpreter) -> None:
    files = {
        "a/pyproject.toml": pyproject("odoo-addon-sale_order.X", "pw_CLI"),
        "b/pyproject.toml": pyproject("pw.cli"),
    }
    nodes = graph(read(tmp_path, dict(files)), interpreter).nodes
    assert [(node.project.name, node.dependencies) for node in nodes] == [
        ("pw.cli", ()),
        ("odoo-addon-sale_order.X", ("pw-cli",)),
    ]


def test_15_projects_below_dot_and_underscore_directories_are_found(tmp_path: Path) -> None:
    files = {f"{path}/pyproject.toml": pyproject(f"p{n}") for n, path in enumerate([".github/x", ".example", "_meta"])}
    assert found(read(tmp_path, dict(files))) == [".example", ".github/x", "_meta"]


def test_16_projects_inside_projects_are_found(tmp_path: Path) -> None:
    files = {
        path + "pyproject.toml": pyproject(f"p{n}") for n, path in enumerate(["", "a/", "a/src/a/vendored/", "b/"])
    }
    workspace = read(tmp_path, dict(files))
    assert found(workspace) == [".", "a", "a/src/a/vendored", "b"]
    # Watched: the ways from one project to another, and not what builds create elsewhere in them.
    assert workspace.directories == (".", "a", "a/src", "a/src/a")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")
def test_18_19_links_to_directories_are_not_followed_but_said(tmp_path: Path) -> None:
    write_tree(tmp_path, {"w/real/pyproject.toml": pyproject("real"), "outside/pyproject.toml": pyproject("outside")})
    (tmp_path / "w/linked").symlink_to("real", target_is_directory=True)
    (tmp_path / "w/away").symlink_to("../outside", target_is_directory=True)
    (tmp_path / "w/round").symlink_to(".", target_is_directory=True)
    workspace = read(tmp_path / "w", {})
    assert found(workspace) == ["real"]
    assert skipped(workspace) == {"away": "a symbolic link to ../outside", "linked": "a symbolic link to real"}
    members = read(tmp_path / "w", {}, "members = ['*']")
    assert found(members) == ["away", "real"]
    assert skipped(members) == {"linked": "a symbolic link to real"}


def test_21_22_shared_import_names_are_one_warning_each(tmp_path: Path, interpreter: Interpreter) -> None:
    files: dict[str, str | bytes] = {}
    for name in "abcde":
        files |= {
            f"{name}/pyproject.toml": pyproject(name),
            f"{name}/tests/__init__.py": "",
            f"{name}/n/{name}/__init__.py": "",
        }
        files |= {f"{name}/n/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)"}
    assert graph(read(tmp_path, files), interpreter).warnings == (
        "import name 'tests' is shipped by 5 projects (a, b, c and 2 more); only one of them is imported",
    )


def test_25_a_project_that_builds_with_itself_or_another_is_read(tmp_path: Path) -> None:
    build = '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\nbackend-path = ["."]\n'
    files = {"flit_core/pyproject.toml": pyproject("flit_core", build=build), "flit/pyproject.toml": pyproject("flit")}
    assert [project.build_requires for project in read(tmp_path, dict(files)).projects] == [
        ("flit_core>=3.11",),
        ("flit_core",),
    ]


def test_26_27_cycles_and_self_references_are_legal(tmp_path: Path, interpreter: Interpreter) -> None:
    basic = "[project.optional-dependencies]\nbasic = ['third']\nall = ['devel-common[basic]']\n"
    files = {
        "a/pyproject.toml": pyproject("a", "b"),
        "b/pyproject.toml": pyproject("b", "a"),
        "c/pyproject.toml": pyproject("devel-common", "devel-common[basic]", more=basic),
    }
    made = graph(read(tmp_path, dict(files)), interpreter)
    assert (made.cycles, made.third_party) == ((("a", "b"),), ("third",))
    assert len(made.warnings) == 1


def test_28_33_direct_references_and_placeholders(tmp_path: Path, interpreter: Interpreter) -> None:
    """A direct reference to a project of the workspace is that project; elsewhere a placeholder is a mistake."""
    files = {
        "kserve/pyproject.toml": pyproject("kserve"),
        "server/pyproject.toml": pyproject("server", "kserve @ file:///${PROJECT_ROOT}/../kserve"),
        "lost/pyproject.toml": pyproject("lost", "other @ file:///${PROJECT_ROOT}/../other"),
        "nat/pyproject.toml": pyproject("nat", "nat-core=={version}"),
    }
    workspace = read(tmp_path, dict(files))
    assert found(workspace) == ["kserve", "server"]
    assert [(node.project.name, node.dependencies) for node in graph(workspace, interpreter).nodes][1] == (
        "server",
        ("kserve",),
    )
    assert [each.reason.partition(": Expected")[0] for each in workspace.skipped] == [
        "lost/pyproject.toml requires 'other @ file:///${PROJECT_ROOT}/../other', in which nothing fills the placeholder",
        "nat/pyproject.toml: `project.dependencies` has 'nat-core=={version}', which is no valid requirement",
    ]


def test_29_30_internal_specifiers(tmp_path: Path, interpreter: Interpreter) -> None:
    files: dict[str, str | bytes] = {
        "core/pyproject.toml": pyproject("core", version="0.66b0.dev0"),
        "exact/pyproject.toml": pyproject("exact", "core==0.66b0.dev"),
        "old/pyproject.toml": pyproject("old", "core<0.5"),
    }
    with pytest.raises(
        GraphError, match=r"old/pyproject.toml wants core<0.5, and core/pyproject.toml is core 0.66b0.dev0"
    ):
        graph(read(tmp_path, files), interpreter)
    warned = graph(read(tmp_path, {}, "internal-specifiers = 'warn'"), interpreter)
    assert {node.project.name: node.any_version for node in warned.nodes} == {"core": (), "exact": (), "old": ("core",)}


def test_32_requires_python_rules_projects_out(tmp_path: Path, interpreter: Interpreter) -> None:
    workspace = read(tmp_path, {"tokumx/pyproject.toml": pyproject("tokumx", more="requires-python = '==2.7.*'")})
    with pytest.raises(GraphError, match=r"tokumx/pyproject.toml \(tokumx\): requires-python ==2.7.\*"):
        graph(workspace, interpreter)


UV = "[tool.uv.workspace]\nmembers = [{}]\nexclude = ['packages/native', 'packages/not-there']\n"


def test_37_the_workspace_of_uv_says_what_the_members_are(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "pyproject.toml": pyproject("root", more=UV.format("'packages/*', 'tmp/hello'")),
        "packages/a/pyproject.toml": pyproject("a"),
        "packages/native/pyproject.toml": pyproject("native"),
        "packages/virtual/pyproject.toml": VIRTUAL,
        "packages/notes/README": "",
        "outside/pyproject.toml": pyproject("outside"),
    }
    workspace = read(tmp_path, files)
    assert found(workspace) == [".", "packages/a"]
    assert skipped(workspace) == {
        "packages/native": "excluded by the configuration",
        "packages/virtual": "virtual: tool.uv.package = false",
    }
    assert workspace.warnings == (f"{tmp_path / 'pyproject.toml'}: tool.uv.workspace: 'tmp/hello' matches no project",)
    assert workspace.directories == ("packages",)
    assert found(read(tmp_path, {}, "members = ['outside', 'packages/*']")) == [
        "outside",
        "packages/a",
        "packages/native",
    ]


def test_37_a_workspace_inside_the_workspace_is_left_alone(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a/interlock.toml": "",
        "a/x/pyproject.toml": pyproject("x"),
        "b/pyproject.toml": "[tool.interlock]\n",
        "b/y/pyproject.toml": pyproject("y"),
        "c/pyproject.toml": pyproject("c"),
    }
    workspace = read(tmp_path, files)
    assert found(workspace) == ["c"]
    assert skipped(workspace) == {
        "a": "a workspace of its own: it has an interlock.toml",
        "b": "a workspace of its own: it has [tool.interlock]",
    }


def test_38_empty_submodules_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "external" / "submodule").mkdir(parents=True)
    assert (found(read(tmp_path, {})), skipped(read(tmp_path, {}))) == ([], {})


def test_39_long_and_non_ascii_paths_and_contents(tmp_path: Path) -> None:
    path = "größe/" + "/".join(["llama-index-integrations-x"] * 4)
    workspace = read(tmp_path, {f"{path}/pyproject.toml": pyproject("a", more="description = 'naïve ☃'")})
    assert (found(workspace), workspace.files_read) == ([path], (f"{path}/pyproject.toml",))


def test_directories_that_hold_no_projects_are_not_entered(tmp_path: Path) -> None:
    inside = pyproject("x")
    names = ["node_modules", ".git", "__pycache__", ".tox", "x.egg-info", "out", ".venv", "env", "worktree"]
    files: dict[str, str | bytes] = {f"{name}/d/pyproject.toml": inside for name in names}
    files |= {"env/pyvenv.cfg": "", "worktree/.git": "gitdir: /repo/.git/worktrees/x\n"}
    files |= {"p/pyproject.toml": pyproject("p"), "p/build/lib/v/setup.py": SETUP.format("v")}
    workspace = read(tmp_path, files)
    assert found(workspace) == ["p"]
    assert skipped(workspace) == {
        "env": "an environment",
        "worktree": "another working tree of a repository",
        "p/build": "what setuptools has built",
    }
    assert workspace.directories == (".",)


def test_outputs_elsewhere_are_not_entered(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        f"{name}/d/pyproject.toml": pyproject(name) for name in ("made", "envs/one", "libs")
    }
    workspace = read(tmp_path, files, "out = 'made'\n[environments.one]\npath = 'envs/one'\n")
    assert found(workspace) == ["libs/d"]


def test_a_new_project_directory_changes_a_directory_that_is_watched(tmp_path: Path) -> None:
    files = {
        "libs/a/pyproject.toml": pyproject("a"),
        "libs/a/src/a/__init__.py": "",
        "docs/x/y": "",
        "bare/pyproject.toml": NO_BUILD,
    }
    workspace = read(tmp_path, dict(files))
    assert workspace.directories == (".", "bare", "docs", "docs/x", "libs")
    assert workspace.files_read == ("bare/pyproject.toml", "libs/a/pyproject.toml")


def test_a_glob_that_matches_no_project_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, {"libs/a/README": "", "b/pyproject.toml": pyproject("b")}, "members = ['b', 'libs/*']")
    assert str(caught.value) == (
        f"{tmp_path / 'interlock.toml'}: `members` has 'libs/*', which matches no project\n"
        "  A member is a directory with a pyproject.toml, setup.cfg or setup.py; take the glob out if it is old."
    )


def test_exclude_wins_over_members_and_takes_what_lies_below(tmp_path: Path) -> None:
    files = {f"{path}/pyproject.toml": pyproject(f"p{n}") for n, path in enumerate(["a", "a/b", "c", "c/d"])}
    workspace = read(tmp_path, dict(files), "members = ['**']\nexclude = ['a', 'c/d']")
    assert found(workspace) == ["c"]
    walked = read(tmp_path, {}, "exclude = ['a']")
    assert (found(walked), skipped(walked)) == (["c", "c/d"], {"a": "excluded by the configuration"})


def test_a_root_that_is_excluded_leaves_what_is_in_it(tmp_path: Path) -> None:
    files = {"pyproject.toml": pyproject("root"), "a/pyproject.toml": pyproject("a")}
    assert found(read(tmp_path, dict(files), "exclude = ['.']")) == ["a"]


@pytest.mark.parametrize("name", ["with space", "dollar$", "quo'te", "naïve", "semi;colon", "100%", "a&b"])
def test_paths_of_any_kind_are_kept_as_they_are(tmp_path: Path, name: str) -> None:
    assert found(read(tmp_path, {f"{name}/pyproject.toml": pyproject("a")})) == [name]


def test_the_reference_has_each_oddity_and_the_tests_that_it_names_exist(repository: Path) -> None:
    reference = (repository / "docs" / "reference" / "oddities.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|", reference, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 40)]
    named = set(re.findall(r"`(test_\w+)(?:::(test_\w+))?`", reference))
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (repository / "tests").rglob("test_*.py"))
    modules = {path.stem for path in (repository / "tests").rglob("test_*.py")}
    assert {module for module, _ in named} <= modules
    assert [test for _, test in named if test and f"def {test}(" not in tests] == []
