"""BUILD.gn files: exact texts, which `gn format` leaves as they are, and which real GN reads back as the same values."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gn_calls import calls_of, environment_call, project_call
from interlock.errors import ConfigurationError
from interlock_gn.build_files import (
    MARKER,
    Regeneration,
    build_file_texts,
    call_text,
    has_call,
    is_generated,
    labels_in,
)
from interlock_gn.calls import BuildEnvironmentCall, Calls, GroupCall, Place

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden" / "gn"
PLACE = Place("/tree", "//build/venv", single_file=False)
AGAIN = Regeneration("", ())

EVERYTHING = Calls(
    environments=(
        environment_call("venv", projects=("//core", "//libs/leaf:my.leaf")),
        environment_call(
            "docs",
            path="/elsewhere/docs",
            python=">=3.12",
            requirements=("//docs/requirements.txt", "//more.txt"),
            constraints=("//constraints.txt",),
            dependencies=('sphinx>=8; sys_platform != "win32"', "furo"),
            build_constraints=("//build-constraints.txt",),
            config_settings=("editable_mode=compat", "--global-option=--$x"),
            links=True,
            editable="static",
            directory="//python",
        ),
    ),
    build_environments=(BuildEnvironmentCall("venv__build_env_setuptools_1", "", ("setuptools>=77", "wheel")),),
    groups=(GroupCall("my.leaf", (":docs__my.leaf", ":venv__my.leaf")),),
    projects=(
        project_call("//core", "core"),
        project_call(
            "//libs/leaf",
            "my.leaf",
            project_name="My.Leaf",
            pyproject="//libs/leaf dir",
            venv="//build/venv:docs",
            python_deps=("//core", "//libs/other:x"),
            build_files=("setup.py",),
            build_env="//build/venv:venv__build_env_setuptools_1",
            config_settings=("a=b",),
            editable="proof",
            extras=("x", "y"),
            deferred=("z",),
            verify=("my-leaf[x]", "z"),
            any_version=("core",),
        ),
        project_call("//build/venv", "inside", pyproject="//odd+name"),
    ),
)


def texts(calls: Calls = EVERYTHING, again: Regeneration = AGAIN) -> dict[str, str]:
    return build_file_texts(calls, PLACE, "//build/interlock", again)


@pytest.mark.parametrize(("directory", "name"), [("//build/venv", "venv"), ("//core", "core"), ("//libs/leaf", "leaf")])
def test_the_text_is_exact(directory: str, name: str) -> None:
    golden = GOLDEN / f"{name}.BUILD.gn"
    text = texts(again=Regeneration("//python", ("--single-file",)))[directory]
    if os.environ.get("INTERLOCK_TEST_UPDATE"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def formatted(gn: str, text: str) -> str:
    done = subprocess.run([gn, "format", "--stdin"], input=text.encode(), capture_output=True, check=True)
    return done.stdout.decode()


def test_gn_format_has_nothing_to_do(gn: str) -> None:
    for text in texts().values():
        assert formatted(gn, text) == text
    text = call_text(EVERYTHING.projects, "//build/interlock")
    assert formatted(gn, text) == text


# What people put into names, versions and settings; no control characters, which nothing on the way allows.
VALUES = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(VALUES, max_size=4).map(tuple), VALUES)
def test_gn_format_has_nothing_to_do_for_any_values(gn: str, values: tuple[str, ...], path: str) -> None:
    environment = environment_call("venv", path=path, dependencies=values, projects=values[:1])
    text = texts(calls_of(environment))["//build/venv"]
    assert formatted(gn, text) == text


@pytest.mark.parametrize("character", ["a", "é"])
def test_gn_format_has_nothing_to_do_at_any_width(gn: str, character: str) -> None:
    for length in range(8, 100):
        value = character * length
        calls = Calls(
            environments=(environment_call("venv", path=value, dependencies=(value,), build_constraints=(value,)),),
            build_environments=(BuildEnvironmentCall(value, value, (value, value)),),
            groups=(GroupCall(value, (f"//{value}",)),),
            projects=(project_call("//build/venv", value, python_deps=(f"//{value}",), build_env=value),),
        )
        again = Regeneration(f"//{value}", (value,))
        text = build_file_texts(calls, PLACE, f"//{value}", again)["//build/venv"]
        assert formatted(gn, text) == text


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, min_size=1, max_size=8))
def test_gn_reads_the_same_values(gn: str, values: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("values")
    call = texts(calls_of(environment_call("venv", dependencies=tuple(values))))["//build/venv"]
    keyed = call[call.index("interlock_venv(") :]
    (root / ".gn").write_text('buildconfig = "//B.gn"\n')
    (root / "B.gn").write_text('set_default_toolchain("//:t")\n')
    (root / "BUILD.gn").write_text(
        'template("interlock_venv") {\n  not_needed(invoker, "*")\n'
        '  write_file("$root_build_dir/it.txt", invoker.dependencies)\n  group(target_name) {\n  }\n}\n'
        'toolchain("t") {\n  tool("stamp") {\n    command = "true"\n  }\n}\n' + keyed,
        encoding="utf-8",
    )
    subprocess.run([gn, "gen", "out", "-q"], cwd=root, check=True, capture_output=True)
    assert (root / "out" / "it.txt").read_bytes().decode().split("\n")[:-1] == values


def test_a_line_break_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="line break"):
        texts(calls_of(environment_call("venv", dependencies=("a\nb",))))


def test_generated_files_are_told_from_those_of_people() -> None:
    assert all(is_generated(text) for text in texts().values())
    assert not is_generated(f"# Not this one.\n# {MARKER}\n")
    assert not is_generated("")


def test_a_call_is_found_in_a_file_of_people() -> None:
    text = 'interlock_project("my.leaf") {\n}\ninterlock_project( "b" ) {\n}\n'
    assert has_call(text, "my.leaf")
    assert has_call(text, "b")
    assert not has_call(text, "my-leaf")
    assert not has_call(text, "leaf")
    assert not has_call('other_interlock_project("a") {\n}', "a")


def test_the_projects_of_a_generated_file_are_read_back() -> None:
    assert {"//core", "//libs/leaf"} <= labels_in(texts()["//build/venv"])
