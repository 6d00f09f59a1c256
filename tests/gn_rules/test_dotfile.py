from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock_gn.dotfile import Line, assignments, missing_lines, running_program
from interlock_gn.gn_format import quoted

COMPLETE = """\
ninja_required_version = "1.11.0"
script_executable = "python3"
default_args = {
  interlock_program = "//tools/interlock"
}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a source tree with a program `interlock` in it."""
    root = tmp_path / "tree"
    make_program(root / "tools")
    return root


def make_program(directory: Path) -> str:
    directory.mkdir(parents=True)
    program = directory / f"interlock{'.exe' if os.name == 'nt' else ''}"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


def lines(root: Path, text: str, program: str | None = None) -> list[tuple[str, str]]:
    (root / ".gn").write_text(text, encoding="utf-8")
    found = missing_lines(str(root), program or shutil.which("interlock", path=root / "tools"))
    return [(line.text, line.current) for line in found]


def test_assignments_of_literals() -> None:
    text = 'buildconfig="//conf/BUILDCONFIG.gn" script_executable =\n"a\\"b\\\\c\\$d"\ncheck_targets = [ "//x" ]\nx = 1'
    assert assignments(text) == {
        "buildconfig": "//conf/BUILDCONFIG.gn",
        "script_executable": 'a"b\\c$d',
        "check_targets": None,
        "x": None,
    }


@pytest.mark.parametrize(
    "value", ['"a" + "b"', '"$name"', '"${name}b"', "name", 'read_file("x", "string")', '["a"]', '"a" == "b"', "1"]
)
def test_what_is_no_literal_is_unknown(value: str) -> None:
    assert assignments(f"script_executable = {value}") == {"script_executable": None}


def test_comments_assign_nothing() -> None:
    assert assignments('# script_executable = "a"\nroot = "//:x" # script_executable = "b"\n#') == {"root": "//:x"}


def test_a_comment_sign_in_a_string_starts_none() -> None:
    assert assignments('root = "//#x"\nscript_executable = "a"') == {"root": "//#x", "script_executable": "a"}


def test_conditions_make_unknown() -> None:
    text = 'a = "1" if (host_os == "mac") { a = "2" b = "3" } b = "4"'
    assert assignments(text) == {"a": None, "b": "4"}


def test_appending_makes_unknown() -> None:
    assert assignments('a = "1" a += "2"') == {"a": None}


def test_members_of_default_args() -> None:
    text = 'default_args = { # {\n a = "}" b = { c = "1" } if (a == "x") { d = "2" } } e = "3" default_args.f = "4"'
    assert assignments(text) == {
        "default_args": None,
        "default_args.a": "}",
        "default_args.b": None,
        "default_args.c": None,
        "default_args.d": None,
        "e": "3",
        "default_args.f": "4",
    }


@pytest.mark.parametrize("text", ["", "}", "}}} a", "= = =", "{ {", '"', 'a = "', "a =", ". = b", "default_args = {"])
def test_broken_text_is_no_error(text: str) -> None:
    assignments(text)


@given(st.text(st.sampled_from('ab_ =+.{}"#\\$\n'), max_size=40))
def test_any_text_is_no_error(text: str) -> None:
    assignments(text)


@given(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), max_size=20))
def test_a_string_is_read_as_it_was_written(value: str) -> None:
    assert assignments(f"a = {quoted(value)}") == {"a": value}


def test_nothing_is_missing(root: Path) -> None:
    assert lines(root, COMPLETE) == []


def test_all_is_missing(root: Path) -> None:
    assert lines(root, 'buildconfig = "//x"\n') == [
        ('ninja_required_version = "1.11.0"', ""),
        ('script_executable = "python3"', ""),
        (f'default_args = {{\n  interlock_program = "{in_tree()}"\n}}', ""),
    ]


def in_tree() -> str:
    return f"//tools/interlock{'.exe' if os.name == 'nt' else ''}"


@pytest.mark.parametrize("version", ["1.7.2", "1.9", "1.10.2"])
def test_an_older_ninja_is_not_enough(root: Path, version: str) -> None:
    text = COMPLETE.replace("1.11.0", version)
    assert lines(root, text) == [('ninja_required_version = "1.11.0"', f'"{version}"')]


@pytest.mark.parametrize("version", ["1.11", "1.11.1", "1.13.0", "2.0"])
def test_a_newer_ninja_may_be_required(root: Path, version: str) -> None:
    assert lines(root, COMPLETE.replace("1.11.0", version)) == []


@pytest.mark.parametrize("executable", ["", "python", "/opt/python/bin/python3"])
def test_an_executable_of_scripts_is_left_alone(root: Path, executable: str) -> None:
    assert lines(root, COMPLETE.replace("python3", executable)) == []


def test_default_args_get_a_member(root: Path) -> None:
    text = COMPLETE.replace("interlock_program =", "is_debug =")
    assert lines(root, text) == [(f'default_args.interlock_program = "{in_tree()}"', "")]


def test_another_program_is_replaced(root: Path) -> None:
    text = COMPLETE.replace("//tools/interlock", "//gone/interlock")
    assert lines(root, text) == [(f'default_args.interlock_program = "{in_tree()}"', '"//gone/interlock"')]


def test_a_program_by_another_name_is_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root / "tools"), prepend=os.pathsep)
    assert lines(root, COMPLETE.replace("//tools/interlock", "interlock")) == []


def test_a_program_outside_is_named_as_on_path(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make_program(tmp_path / "bin")
    text = COMPLETE[: COMPLETE.index("default_args")]
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert lines(root, text, program) == [(f"default_args = {{\n  interlock_program = {quoted(program)}\n}}", "")]
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert lines(root, text, program) == [('default_args = {\n  interlock_program = "interlock"\n}', "")]


def test_without_a_program_scripts_run_with_our_python(root: Path) -> None:
    (root / ".gn").write_text(COMPLETE, encoding="utf-8")
    expected = Line("script_executable", f"script_executable = {quoted(sys.executable)}", '"python3"')
    assert missing_lines(str(root), None) == (expected,)


def test_the_running_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = make_program(tmp_path / "bin")
    assert running_program(program) == program
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "bin"))
    assert running_program("/somewhere/interlock/__main__.py") == program
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "empty"))
    assert running_program("/somewhere/interlock/__main__.py") is None
