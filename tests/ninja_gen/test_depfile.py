"""Depfiles are read as Ninja reads them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.durable import Disk
from interlock.stamp import is_expressible, write_depfile
from interlock_ninja.build_file import canonical
from interlock_ninja.depfile import parse_depfile
from interlock_ninja.ninja_deps import DepsLog

NAMES = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1, max_size=12
)


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (b"out: a b\n", (b"a", b"b")),
        (b"out: \\\n  a \\\n  b \\\r\n c\n", (b"a", b"b", b"c")),
        (b"out: a b a\n", (b"a", b"b")),
        (b"out: a/../b ./c d//e /f/\n", (b"b", b"c", b"d/e", b"/f")),
        (b"out: a\\ b \\\\\\ c d\\\\ e\n", (b"a b", b"\\ c", b"d\\\\", b"e")),
        (b"out: a\\#b c$$d e\\:f C:\\g\n", (b"a#b", b"c$d", b"e:f", b"C:\\g")),
        (b"out: a\nother: b\n", (b"a", b"b")),
        (b"out:\n", ()),
        (b"", ()),
        (b"out : a\n", (b"a",)),
        (b"out: a\t;b|c\n", (b"a", b"b", b"c")),
    ],
)
def test_inputs(text: bytes, inputs: tuple[bytes, ...]) -> None:
    assert parse_depfile(text) == inputs


def test_without_a_target_it_is_none() -> None:
    with pytest.raises(ValueError, match="expected ':' in depfile"):
        parse_depfile(b"a b\n")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(NAMES, max_size=5))
def test_what_we_write_comes_back(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("depfile") / "d"
    write_depfile(str(path), "out", names, disk=Disk("fast"))
    expected = {canonical(name.encode()) for name in names if is_expressible(name)}
    assert set(parse_depfile(path.read_bytes())) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="the edges are shell scripts")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(bodies=st.lists(st.text(r"ab/.\ :#$;|'", max_size=14), min_size=20, max_size=20))
def test_any_text_is_read_as_by_ninja(bodies: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Twenty depfiles in one build; those that Ninja refuses, or that name nothing, have no record of inputs."""
    from interlock_ninja.commands.build import ninja_program

    out = tmp_path_factory.mktemp("depfiles")
    lines = ["rule r\n  command = cp $out.text $out.d && touch $out\n  depfile = $out.d\n  deps = gcc\n"]
    for number, body in enumerate(bodies):
        (out / f"o{number}.text").write_text(f"o{number}: {body}\n", encoding="utf-8")
        lines.append(f"build o{number}: r\n")
    (out / "build.ninja").write_text("".join(lines), encoding="utf-8")
    subprocess.run([ninja_program(), "-C", out, "-k0", "-j2"], stdout=subprocess.DEVNULL, check=False)
    deps = DepsLog(os.fspath(out), Disk("fast")).deps
    for number in range(len(bodies)):
        inputs = parse_depfile((out / f"o{number}.text").read_bytes())
        assert deps[b"o%d" % number][1] == inputs
