"""The key `editable`: for the workspace, for an environment, for one project of it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from interlock_ninja.build_file import read_build_file
from interlock_runner import interlock, succeed

PROJECT = """\
[build-system]
requires = ["uv_build>=0.13,<0.14"]
build-backend = "uv_build"
[project]
name = "{}"
version = "1.0"
"""


def modes(root: Path, configuration: str) -> dict[str, str]:
    """Return what `--editable` says in the prepare edge of each project, "" where it is not said."""
    for name in ("core", "My.Leaf"):
        (root / name).mkdir(exist_ok=True)
        (root / name / "pyproject.toml").write_text(PROJECT.format(name), encoding="utf-8")
    (root / "interlock.toml").write_text(configuration, encoding="utf-8")
    succeed("gen", "--root", root)
    found = {}
    for edge in read_build_file(str(root / "out" / "build.ninja")).edges.values():
        words = shlex.split(edge.command_line)
        if edge.rule == "prepare":
            mode = words[words.index("--editable") + 1] if "--editable" in words else ""
            found[Path(words[words.index("--output") + 1]).parent.name] = mode
    return found


@pytest.mark.parametrize(
    ("configuration", "core", "leaf"),
    [
        ("", "", ""),
        ('editable = "static"', "static-if-possible", "static-if-possible"),
        ('editable = "proof"', "proof", "proof"),
        ('editable = { core = "static" }', "static", ""),
        ('editable = { "*" = "static", "my.leaf" = "backend" }', "static-if-possible", ""),
        ('editable = "static"\n[environments.venv]\neditable = { core = "proof" }', "proof", "static-if-possible"),
        ('editable = "static"\n[environments.venv]\neditable = "backend"', "", ""),
    ],
)
def test_it_reaches_the_edges(tmp_path: Path, configuration: str, core: str, leaf: str) -> None:
    assert modes(tmp_path, configuration) == {"core": core, "my-leaf": leaf}


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ('editable = "statick"', "`editable` must be"),
        ('editable = { croe = "static" }', "names 'croe', and no project is called that"),
        ("editable = true", "`editable` must be a string"),
    ],
)
def test_what_makes_no_sense_is_an_error(tmp_path: Path, configuration: str, message: str) -> None:
    modes(tmp_path, "")
    (tmp_path / "interlock.toml").write_text(configuration, encoding="utf-8")
    result = interlock("gen", "--root", tmp_path)
    assert result.returncode == 10
    assert message in result.stderr
