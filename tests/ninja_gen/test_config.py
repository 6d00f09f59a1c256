"""The configuration: where it is found, what it means, and each error's text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.errors import ConfigurationError
from interlock_ninja.config import ENVIRONMENT_KEYS, KEYS, EnvironmentConfig, load_configuration
from trees import write_tree

DEFAULT = EnvironmentConfig("venv", ".venv", None, None, {}, {}, (), (), (), {})


def configured(directory: Path, text: str) -> EnvironmentConfig:
    """Return the one environment of a configuration."""
    write_tree(directory, {"interlock.toml": text, "a.txt": "", "deep/b.txt": ""})
    (environment,) = load_configuration(str(directory)).environments
    return environment


def refused(directory: Path, text: str) -> str:
    """Return the error that a configuration gives, the directory taken out of it."""
    write_tree(directory, {"interlock.toml": text})
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(str(directory))
    return str(caught.value).replace(str(directory) + os.sep, "").replace(str(directory), "ROOT")


def test_a_root_without_configuration_works_on_defaults(tmp_path: Path) -> None:
    found = load_configuration(str(tmp_path))
    assert (found.root, found.file, found.members, found.exclude) == (str(tmp_path), None, None, ())
    assert (found.out, found.durability, found.engine, found.internal_specifiers) == ("out", "full", "auto", "error")
    assert found.environments == (DEFAULT,)


def test_the_root_is_found_by_walking_up(tmp_path: Path) -> None:
    write_tree(tmp_path, {"interlock.toml": "", "libs/core/src/x": "", "libs/core/pyproject.toml": "[tool.other]\n"})
    found = load_configuration(start=str(tmp_path / "libs" / "core" / "src"))
    assert (found.root, found.file) == (str(tmp_path), str(tmp_path / "interlock.toml"))


def test_a_pyproject_configures_with_the_same_keys(tmp_path: Path) -> None:
    keys = 'out = "build/x"\nengine = "pip"\n[{}environments.dev]\npython = "3.12"\n'
    own = write_tree(tmp_path / "own", {"interlock.toml": keys.format("")})
    shared = write_tree(tmp_path / "shared", {"pyproject.toml": "[tool.interlock]\n" + keys.format("tool.interlock.")})
    one, other = load_configuration(str(own)), load_configuration(start=str(shared))
    assert other.file == str(shared / "pyproject.toml")
    assert (one.out, one.engine, one.environments) == (other.out, other.engine, other.environments)


def test_a_template_on_the_way_up_is_passed_over(tmp_path: Path) -> None:
    write_tree(tmp_path, {"interlock.toml": "", "t/pyproject.toml": "name = {{ name }}\n", "t/x/y": ""})
    assert load_configuration(start=str(tmp_path / "t" / "x")).root == str(tmp_path)


def test_no_workspace_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(start=str(tmp_path))
    assert caught.value.message == (
        f"no workspace here: neither {tmp_path} nor a directory above it has an interlock.toml, or a pyproject.toml with "
        "[tool.interlock]"
    )
    assert caught.value.advice == "Create an empty interlock.toml at the root of the workspace, or pass --root DIR."


def test_a_root_that_is_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no directory .*nowhere"):
        load_configuration("nowhere", start=str(tmp_path))


def test_two_configurations_in_one_directory_are_an_error(tmp_path: Path) -> None:
    write_tree(tmp_path, {"pyproject.toml": "[tool.interlock]\n"})
    assert refused(tmp_path, "") == (
        "ROOT has two configurations: interlock.toml, and [tool.interlock] in pyproject.toml\n  Keep one of them."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("members = [\n", "interlock.toml is not valid TOML: Invalid value (at end of document)"),
        ("a = 1\n\nb = ?\n", "interlock.toml is not valid TOML: Invalid value (at line 3, column 5)"),
        ("member = []", "interlock.toml: unknown key `member`; did you mean 'members'?\n  Known keys: "),
        ("[environments.dev]\nptyhon = ''", "unknown key `environments.dev.ptyhon`; did you mean 'python'?"),
        ("[env.dev]\n", "interlock.toml: unknown key `env`\n"),
        ('members = "libs/*"', '`members` must be a list of strings, not a string\n  Write `members = ["libs/*"]`.'),
        ("exclude = [1]", "interlock.toml: `exclude` must be a list of strings; one item is an integer"),
        ('exclude = [""]', "interlock.toml: `exclude` must not hold an empty string"),
        ("out = true", "interlock.toml: `out` must be a string, not a boolean"),
        (
            '[environments.dev]\nlinks = "yes"',
            "`environments.dev.links` must be a boolean, not a string\n  Write `links = true`, without quotes.",
        ),
        ('out = ""', "interlock.toml: `out` must not be empty"),
        ('out = "."', "`out` is '.', which holds the workspace itself\n  Name a directory of its own for it."),
        ('engine = "pipp"', """`engine` must be "auto" or "uv" or "pip", not "pipp"; did you mean 'pip'?"""),
        ('durability = "none"', '`durability` must be "full" or "fast", not "none"'),
        ('internal-specifiers = "ignore"', '`internal-specifiers` must be "error" or "warn", not "ignore"'),
        ('members = ["../x"]', "`members` must stay below the root of the workspace: '../x' does not"),
        ("environments = []", "interlock.toml: `environments` must be a table, not a list"),
        ("[environments]\ndev = 1979-05-27", "`environments.dev` must be a table, not a date or a time"),
        ('[environments."a b"]', '`environments."a b"` is no name for an environment\n  Letters, digits, `_`, `-` and'),
        (
            "[environments.a]\npath='x'\n[environments.b]\npath='./x'",
            "`environments.b` has the path of environment 'a': x",
        ),
        ("[environments.metadata]", "`environments.metadata` is no name for an environment"),
        (
            "[environments.a]\n[environments.A]\n",
            "`environments.A` differs from 'a' in case alone, which not every file",
        ),
        ("out='e/o'\n[environments.a]\npath='e'", "`environments.a.path` is 'e', which holds the out directory 'e/o'"),
        ("out='e'\n[environments.a]\npath='e'", "`environments.a.path` is 'e', which holds the out directory 'e'"),
        ("[environments.a]\npath = '..'", "`environments.a.path` is '..', which holds the workspace itself"),
        (
            "[environments.a]\nrequirements = ['r.txt']",
            "`environments.a.requirements` names 'r.txt', and there is no such file",
        ),
        (
            "[environments.a]\nconstraints = ['c']",
            "`environments.a.constraints` names 'c', and there is no such file\n  Paths",
        ),
        (
            "[environments.a.config-settings]\nx = 1",
            "`environments.a.config-settings.x` must be a string or a list of strings",
        ),
        ("[environments.a.extras]\ncore = 'x'", "`environments.a.extras.core` must be a list of strings, not a string"),
    ],
)
def test_each_mistake_names_its_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    assert message in refused(tmp_path, text)


def test_unknown_keys_list_the_known_ones(tmp_path: Path) -> None:
    assert refused(tmp_path, "x = 1") == f"interlock.toml: unknown key `x`\n  Known keys: {', '.join(sorted(KEYS))}."


def test_every_key_of_an_environment_is_read(tmp_path: Path) -> None:
    found = configured(
        tmp_path,
        """
        [environments.dev]
        path = "envs/dev/"
        python = ">=3.11"
        projects = ["Core", "leaf"]
        extras = { "*" = ["Test_Extra"], My_Core = ["x", "x"] }
        groups = ["dev", "lint"]
        requirements = ["a.txt", "./a.txt", "deep/../deep/b.txt"]
        constraints = ["deep/b.txt"]
        build-constraints = ["a.txt"]
        links = true
        [environments.dev.config-settings]
        editable_mode = "compat"
        "--flags" = ["-x", "-y"]
        My_Core = { editable_mode = "strict" }
        """,
    )
    assert found == EnvironmentConfig(
        name="dev",
        path="envs/dev",
        python=">=3.11",
        projects=("Core", "leaf"),
        extras={"*": ("test-extra",), "my-core": ("x",)},
        groups={"*": ("dev", "lint")},
        requirements=("a.txt", "deep/b.txt"),
        constraints=("deep/b.txt",),
        build_constraints=("a.txt",),
        config_settings={
            "*": {"editable_mode": "compat", "--flags": ("-x", "-y")},
            "my-core": {"editable_mode": "strict"},
        },
        links=True,
    )


def test_environments_that_are_named_are_the_only_ones(tmp_path: Path) -> None:
    write_tree(tmp_path, {"interlock.toml": "[environments.dev]\n[environments.venv]\n"})
    found = load_configuration(str(tmp_path)).environments
    assert [(environment.name, environment.path) for environment in found] == [("dev", ".venv-dev"), ("venv", ".venv")]


NAMES = st.sampled_from(["*", "core", "Core", "my.core", "my_core"])
VALUES = st.one_of(st.sampled_from(["a", "b"]), st.lists(st.sampled_from(["a", "b"]), max_size=2))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, st.dictionaries(st.sampled_from(["k1", "k2"]), VALUES, max_size=2), max_size=5))
def test_settings_of_one_project_under_several_spellings_are_merged(
    tmp_path: Path, tables: dict[str, dict[str, str | list[str]]]
) -> None:
    """What is written last for a key wins, whatever spelling of the project it stands under."""
    import json

    text = "[environments.dev.config-settings]\n" + "".join(
        f"{json.dumps(name)} = {{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in inner.items())} }}\n"
        for name, inner in tables.items()
    )
    expected: dict[str, dict[str, str | tuple[str, ...]]] = {}
    for name, inner in tables.items():
        scope = name.lower().replace(".", "-").replace("_", "-")
        for key, value in inner.items():
            expected.setdefault(scope, {})[key] = value if isinstance(value, str) else tuple(value)
    found = configured(tmp_path, text).config_settings
    assert {scope: inner for scope, inner in found.items() if inner} == expected


def test_the_reference_documents_each_key(repository: Path) -> None:
    reference = (repository / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    for key in (*KEYS, *ENVIRONMENT_KEYS):
        assert f"`{key}`" in reference, key
