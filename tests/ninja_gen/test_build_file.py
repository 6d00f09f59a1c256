"""What a build.ninja says, compared with the plan that it was written from and with what a real Ninja makes of it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from interlock.errors import ConfigurationError, UsageError
from interlock_ninja.build_file import BuildFile, canonical, parse_build_file, read_build_file
from interlock_ninja.ninja_file import ninja_text
from interlock_ninja.plan import Alias, Edge, Plan

ODD = "a b/c:d|e$f'g\"h#é"


def small(text: str) -> BuildFile:
    return parse_build_file(text.encode())


def written(*edges: Edge, aliases: tuple[Alias, ...] = ()) -> str:
    words = ["/usr/bin/py thon", "-I", "a$b"]
    return ninja_text(
        Plan(edges, aliases), command=words, edge_command=words, regenerate=["--root", ".."], platform="linux"
    )


def test_a_plan_comes_back() -> None:
    edge = Edge(
        "install", "core__editable_install", "core", ("--venv", ODD), f"s/{ODD}.stamp", (ODD, "x"), (f"{ODD}2",)
    )
    found = small(written(edge, aliases=(Alias("v__all", (edge.stamp,)),)))
    again = found.edges[edge.stamp.encode()]
    assert again.rule == "install"
    assert again.inputs == (ODD.encode(), b"x")
    assert again.order_only == (f"{ODD}2".encode(),)
    assert again.description == "install core"
    assert again.depfile == f"{edge.stamp}.d".encode()
    assert found.pools[again.pool] > 0
    words = ["install", "--venv", ODD, "--stamp", edge.stamp, "--depfile", f"{edge.stamp}.d"]
    assert shlex.split(again.command_line) == ["/usr/bin/py thon", "-I", "a$b", *words]
    assert found.defaults == (b"all",)
    assert found.edges[b"v__all"].inputs == (edge.stamp.encode(),)


def test_commands_are_those_of_ninja(tmp_path: Path, ninja: str) -> None:
    """To the byte: Ninja keeps their hashes."""
    edges = [
        Edge("prepare", "", "core", ("--flag", ODD, "$HOME", "a\\b", "é"), f"s/{name}.stamp", ("build.ninja",))
        for name in ("plain", "with space", ODD.replace("/", "-"), "it's", "ünï", "semi;colon&(x)")
    ]
    (tmp_path / "build.ninja").write_text(written(*edges), encoding="utf-8")
    listed = subprocess.run(
        [ninja, "-C", tmp_path, "-t", "compdb", "prepare"], capture_output=True, encoding="utf-8", check=True
    )
    compdb = {
        entry["output"]: entry["command"] for entry in json.loads(listed.stdout.partition("\n[")[0] or listed.stdout)
    }
    found = read_build_file(os.fspath(tmp_path / "build.ninja"))
    ours = {os.fsdecode(edge.output): edge.command_line for edge in found.edges.values() if edge.rule == "prepare"}
    assert len(ours) == len(edges)
    assert ours == compdb


def test_names_that_are_no_utf_8_stay_bytes() -> None:
    found = parse_build_file(b"rule r\n  command = x $out\nbuild \xff$ \xfe: r | \xfd\n")
    edge = found.edges[b"\xff \xfe"]
    assert edge.inputs == (b"\xfd",)
    assert edge.command == b"x '\xff \xfe'"


def test_variables_are_looked_up_in_the_edge_then_the_rule_then_the_file() -> None:
    found = small(
        "a = file\nb = $a!\nrule r\n  command = $a ${b} $depfile $$ $none.\n  depfile = $out.d\n"
        "build one: r\nbuild two: r\n  a = edge $b\n  depfile = own\n"
    )
    assert found.edges[b"one"].command == b"file file! one.d $ ."
    assert found.edges[b"two"].command == b"edge file! file! own $ ."


@pytest.mark.parametrize(
    "text",
    [
        "include other.ninja\n",
        "build a: unknown\n",
        "rule r\n  command = x\nbuild a b: r\n",
        "rule r\n  command = x\nbuild a\n",
        "nonsense\n",
    ],
)
def test_what_interlock_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="says what interlock does not write") as caught:
        small(text)
    assert "interlock gen" in caught.value.advice


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b", "a/b"),
        ("../a", "../a"),
        ("../../a/b.c", "../../a/b.c"),
        ("./a", "a"),
        ("a/./b", "a/b"),
        ("a/../b", "b"),
        ("a//b", "a/b"),
        ("a/", "a"),
        ("/a/../b", "/b"),
        ("//a/b", "/a/b"),
        ("/..", "/.."),
        ("/../a/../..", "/../.."),
        ("a/../../b", "../b"),
        ("/", "/"),
        (".", "."),
        ("a/..", "."),
        ("..a/.b/c..", "..a/.b/c.."),
    ],
)
def test_canonical_paths(path: str, expected: str) -> None:
    assert canonical(path.encode()) == expected.encode()


def test_targets() -> None:
    found = small("rule r\n  command = x\nbuild one: r | s\nbuild two: r | one s\nbuild all: phony two\ndefault all\n")
    assert found.targets([]) == (b"all",)
    assert found.targets(["one", "./two"]) == (b"one", b"two")
    assert found.targets(["s^"]) == (b"one",)
    assert found.targets(["s"]) == (b"s",)
    with pytest.raises(UsageError, match=r"there is no target 'xyz'\n"):
        found.targets(["xyz"])
