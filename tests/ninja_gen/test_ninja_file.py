"""The text of build.ninja: exact, escaped, and read by real Ninja."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import ConfigurationError
from interlock_ninja.build_file import parse_build_file
from interlock_ninja.ninja_file import escape_path, escape_value, ninja_text, quote
from interlock_ninja.plan import Alias, Edge, Plan

PLAN = Plan(
    (
        Edge(
            "venv",
            "venv__venv",
            "../.venv",
            ("../.venv", "--python", "/usr/bin/python3"),
            "i/venv.stamp",
            ("/usr/bin/python3",),
        ),
        Edge(
            "install",
            "core__editable_install",
            "core",
            ("i/core", "--venv", "../.venv"),
            "i/core.stamp",
            ("i/venv.stamp",),
        ),
        Edge(
            "prepare", "", "odd", ("../a b$c:d'e",), "i/odd.stamp", ("../a b$c:d'e/pyproject.toml",), ("i/venv.stamp",)
        ),
    ),
    (Alias("both", ("i/core.stamp", "i/odd.stamp")),),
)

GOLDEN = """
build i/venv.stamp: venv | /usr/bin/python3
  arguments = ../.venv --python /usr/bin/python3
  subject = ../.venv

build i/core.stamp: install | i/venv.stamp
  arguments = i/core --venv ../.venv
  subject = core

build i/odd.stamp: prepare | ../a$ b$$c$:d'e/pyproject.toml || i/venv.stamp
  arguments = '../a b$$c:d'"'"'e'
  subject = odd

build venv__venv: phony i/venv.stamp
build core__editable_install: phony i/core.stamp
build both: phony i/core.stamp i/odd.stamp

build all: phony i/venv.stamp i/core.stamp i/odd.stamp
default all
"""


def test_the_text_of_a_plan_is_exact() -> None:
    text = ninja_text(
        PLAN,
        command=["python", "-m", "interlock"],
        edge_command=["python", "edge.py"],
        regenerate=["--root", ".."],
        platform="linux",
    )
    assert text.endswith(GOLDEN)
    assert "interlock = python -m interlock\nbar = |\n" in text
    assert "  command = python edge.py venv $arguments --stamp $out --depfile $out.d\n" in text
    assert "build build.ninja: regenerate\n  arguments = --root ..\n" in text


@pytest.mark.parametrize("kind", ["venv", "build-env", "requirements", "prepare", "install"])
def test_every_rule_restats_and_reads_its_depfile(kind: str) -> None:
    text = ninja_text(PLAN, command=["interlock"], edge_command=["edge"], regenerate=[])
    rule = text.split(f"rule {kind}\n")[1].split("\n\n")[0].splitlines()
    assert f"  command = edge {kind} $arguments --stamp $out --depfile $out.d" in rule
    assert {"  depfile = $out.d", "  deps = gcc", "  restat = 1"} <= set(rule)
    assert ("  pool = interlock_install" in rule) == (kind == "install")


ENDS = st.lists(st.sampled_from(["-C", "a=1", "--venv", "/w/.venv", "it's $x"]), max_size=4)


@given(st.lists(ENDS, min_size=1, max_size=4), ENDS)
def test_words_that_all_edges_of_a_kind_end_with_are_said_once(own: list[list[str]], end: list[str]) -> None:
    """The command is the same, whatever other edges there are: Ninja would run it again if it were not."""
    edges = tuple(
        Edge("prepare", f"p{number}", "p", ("dir", *words, *end), f"p{number}", ()) for number, words in enumerate(own)
    )
    text = ninja_text(Plan(edges, ()), command=["interlock"], edge_command=["edge"], regenerate=[], platform="linux")
    found = parse_build_file(text.encode())
    for edge in edges:
        words = ["edge", "prepare", *edge.arguments, "--stamp", edge.stamp, "--depfile", f"{edge.stamp}.d"]
        assert found.edges[edge.stamp.encode()].command_line == shlex.join(words)
    if end and len(own) > 1:
        assert text.count(f" {escape_value(quote(end, 'linux'))} --stamp $out") == 1


def test_an_edge_whose_stamp_has_its_name_needs_no_other() -> None:
    named = Edge("install", "core__editable_install", "core", ("p",), "core__editable_install", ("p",))
    text = ninja_text(Plan((named,), ()), command=["interlock"], edge_command=["edge"], regenerate=[])
    assert text.count("build core__editable_install:") == 1


def test_windows_commands_are_quoted_for_createprocess() -> None:
    assert quote(["a b", 'say "x"', "c\\"], "win32") == '"a b" "say \\"x\\"" c\\'


def test_a_line_break_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="line break"):
        escape_path("a\nb")


@given(
    st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r\0"), min_size=1), max_size=4)
)
def test_a_shell_gives_back_the_words(words: list[str]) -> None:
    assert shlex.split(quote(words, "linux")) == words
    assert escape_value(quote(words, "linux")).replace("$$", "$") == quote(words, "linux")


@pytest.mark.skipif(sys.platform == "win32", reason="file names that Windows does not allow")
@pytest.mark.parametrize(
    "name", ["a b", "a$b", "a:b", "it's", 'say "x"', "naïve-ü", "a#b", "a|b", "a&b;c", "$in", "a\\b", "(x)"]
)
def test_real_ninja_hands_odd_names_through(name: str, tmp_path: Path, ninja: str) -> None:
    """The command sees the exact words, the input is found, and the second run has no work."""
    (tmp_path / name).write_text("")
    script = tmp_path / "edge.py"
    script.write_text(
        "import sys, pathlib\nwords = sys.argv[1:]\nstamp = words[words.index('--stamp') + 1]\n"
        "pathlib.Path(stamp).write_text(words[1], encoding='utf-8')\n",
        encoding="utf-8",
    )
    plan = Plan((Edge("prepare", "it", name, (name,), "it.stamp", (name,)),), ())
    text = ninja_text(plan, command=["interlock"], edge_command=[sys.executable, "edge.py"], regenerate=[])
    (tmp_path / "build.ninja").write_text(
        text.replace("build build.ninja: regenerate", "build other: regenerate"), encoding="utf-8"
    )
    environ = {**os.environ, "LC_ALL": "C.UTF-8"}
    first = subprocess.run([ninja, "-C", tmp_path, "it"], capture_output=True, text=True, env=environ)
    assert first.returncode == 0, first.stdout + first.stderr
    assert (tmp_path / "it.stamp").read_text(encoding="utf-8") == name
    second = subprocess.run([ninja, "-C", tmp_path, "it"], capture_output=True, text=True, env=environ)
    assert "no work to do" in second.stdout
