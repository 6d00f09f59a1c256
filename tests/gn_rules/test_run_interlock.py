"""The script that GN runs: how it finds interlock, and the arguments that it takes from files."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from gn_trees import TEMPLATES

LAUNCHER = TEMPLATES / "run_interlock.py"

# Stands for interlock, and says what it was given.
PROGRAM = """\
#!{python}
import json, os, sys
print(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]))
sys.exit(42)
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has nothing installed."""
    directory = tmp_path_factory.mktemp("bare") / "an environment"
    venv.create(directory, symlinks=os.name != "nt")
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    if os.name == "nt":
        pytest.skip("a script is no program there")
    path = tmp_path / "programs of mine" / "interlock"
    path.parent.mkdir()
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path


def launch(
    *words: str, python: Path | str = sys.executable, launcher: Path = LAUNCHER, cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    command = [str(python), str(launcher), *words]
    environment = {**os.environ, **environ}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False)


def given(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the arguments that the stand-in was run with."""
    assert done.returncode == 42, done.stderr
    words = json.loads(done.stdout)
    assert words[0] == "interlock"
    return list(words[1:])


def test_the_interpreter_that_runs_the_script_may_have_interlock() -> None:
    done = launch("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "interlock")


def test_errors_and_exit_codes_pass_through(tmp_path: Path) -> None:
    done = launch("check", "--venv", "nowhere", cwd=tmp_path)
    assert done.returncode not in {0, 1, 127}
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_interpreter_takes_the_program_on_path(bare: Path, program: Path) -> None:
    assert given(launch("list", "a b", python=bare, PATH=str(program.parent))) == ["list", "a b"]


def test_the_program_that_is_asked_for_wins(program: Path, tmp_path: Path) -> None:
    assert given(launch("--program", str(program), "list")) == ["list"]
    relative = os.path.relpath(program, tmp_path)
    assert given(launch("--program", relative, "list", cwd=tmp_path)) == ["list"]
    assert given(launch("--program", "interlock", "list", PATH=str(program.parent))) == ["list"]


def test_no_interlock_at_all_says_what_to_do(bare: Path, tmp_path: Path) -> None:
    done = launch("list", python=bare, PATH=str(tmp_path))
    assert done.returncode == 127
    assert f"{bare} does not have it (No module named 'interlock'), and there is none on PATH" in done.stderr
    assert f"`{bare} -m pip install interlock`" in done.stderr
    assert 'interlock_program = "//.interlock/bin/interlock"' in done.stderr


def test_a_program_that_is_not_there_says_so() -> None:
    done = launch("--program", "../nowhere/interlock", "list")
    assert done.returncode == 127
    assert "interlock_program, '../nowhere/interlock', is neither a program nor the name of one on PATH" in done.stderr


def test_arguments_come_from_files(program: Path, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes("--venv\n../a b\n-C\nx=\u2028y\x0cz\rw\n-C\n\n".encode())
    (tmp_path / "two").write_bytes(b"last")
    (tmp_path / "empty").write_bytes(b"")
    words = [
        "x",
        "--arguments",
        "one",
        "y",
        "--arguments",
        "empty",
        "--arguments",
        "two",
        "z",
        "--",
        "--arguments",
        "one",
    ]
    expected = [
        "x",
        "--venv",
        "../a b",
        "-C",
        "x=\u2028y\x0cz\rw",
        "-C",
        "",
        "y",
        "last",
        "z",
        "--",
        "--arguments",
        "one",
    ]
    assert given(launch("--program", str(program), *words, cwd=tmp_path)) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_arguments_may_be_any_bytes(program: Path, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"../\xff\n")
    assert given(launch("--program", str(program), "--arguments", "one", cwd=tmp_path)) == ["../\udcff"]


def test_files_beside_the_script_are_not_imported(tmp_path: Path) -> None:
    launcher = tmp_path / "run_interlock.py"
    launcher.write_bytes(LAUNCHER.read_bytes())
    for name in ("argparse", "interlock", "json", "interlock_gn"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)
    for path in (launcher, link / launcher.name):
        done = launch("--version", launcher=path)
        assert (done.returncode, done.stdout.split()[:1]) == (0, ["interlock"]), done.stderr


def test_a_safe_path_is_left_as_it_is(bare: Path, tmp_path: Path) -> None:
    package = tmp_path / "interlock"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "start.py").write_text("def main(words):\n    print(words)\n    return 0\n")
    done = launch("list", python=bare, PYTHONSAFEPATH="1", PYTHONPATH=str(tmp_path), PATH="")
    assert (done.returncode, done.stdout) == (0, "['list']\n"), done.stderr


def test_old_interpreters_can_read_the_script() -> None:
    ast.parse(LAUNCHER.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_only_the_standard_library_is_imported() -> None:
    tree = ast.parse(LAUNCHER.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"interlock"}
