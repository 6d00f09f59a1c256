"""`interlock run --depfile`: the program runs as `python` runs it, and what it imported is in the depfile."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock._imports_script import escaped, is_expressible
from interlock.stamp import escape_make
from interlock.stamp import is_expressible as is_expressible_there
from interlock_runner import interlock, python_of, succeed
from trees import write_tree

# Prints whatever a program can see of how it was started.
SHOW = """\
import json, sys
main = sys.modules["__main__"]
spec = main.__spec__
# As it is said, without addresses of memory.
facts = {name: str(value).split(" object at ")[0] for name, value in globals().items() if name != "__spec__"}
print(json.dumps([sys.argv, getattr(sys, "orig_argv", [])[1:], sys.path, __name__, main.__file__, spec and spec.name,
    globals() is main.__dict__, facts, sys.flags.safe_path]))
"""


# An end that no Python code is told of.
UNKNOWN = f"import {os.name}; {os.name}._exit(0)"
# A module that loads when something is asked of it, and cannot.
LAZY = """\
import sys, types
class Lazy(types.ModuleType):
    def __getattr__(self, name):
        raise ImportError(name)
sys.modules["lazy"] = Lazy("lazy")
"""
POSIX = pytest.mark.skipif(os.name == "nt", reason="exec and fork")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "tree" / ".venv"
    succeed("venv", path)
    return path


@pytest.fixture
def tree(environment: Path, tmp_path: Path) -> Path:
    """Return a source tree with a package, a script and an out directory."""
    files = {
        "lib/pkg/__init__.py": "",
        "lib/pkg/used.py": "import pkg.deeper\n",
        "lib/pkg/deeper.py": "",
        "lib/pkg/unused.py": "",
        "lib/pkg/__main__.py": SHOW,
        "lib/tool.py": SHOW,
        "gen.py": "import sys, json\nsys.path.insert(0, '../lib')\nimport pkg.used\nopen(sys.argv[1], 'w').close()\n",
        "show.py": SHOW,
        "out/keep": "",
    }
    return write_tree(tmp_path / "tree", files)


def run(environment: Path, tree: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    watched = ["--depfile", "it.d", "--target", "it", "--root", ".."]
    return interlock("run", "--venv", environment, *watched, "--", "python", *words, cwd=tree / "out", **environ)


def inputs(tree: Path) -> list[str]:
    """Return what Ninja's own parser reads in the depfile."""
    text = (tree / "out" / "it.d").read_text(encoding="utf-8")
    words = text.replace("\\\n", " ").replace("it:", " ").split()
    return sorted(words)


def test_the_depfile_names_what_was_imported_from_the_tree(environment: Path, tree: Path) -> None:
    assert run(environment, tree, "../gen.py", "it").returncode == 0
    assert inputs(tree) == ["../gen.py", "../lib/pkg/__init__.py", "../lib/pkg/deeper.py", "../lib/pkg/used.py"]


def test_real_ninja_runs_it_again_after_an_edit(environment: Path, tree: Path, ninja: str) -> None:
    command = f"{sys.executable} -P -m interlock run --venv {environment} --depfile $out.d --target $out --root .. -- "
    (tree / "out" / "build.ninja").write_text(
        f"rule gen\n  command = {command} python ../gen.py $out\n  depfile = $out.d\n  deps = gcc\nbuild it: gen ../gen.py\n"
    )

    def runs() -> bool:
        done = subprocess.run([ninja, "-C", tree / "out"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        return "no work to do" not in done.stdout

    assert (runs(), runs()) == (True, False)
    (tree / "lib" / "pkg" / "unused.py").write_text("1\n")
    assert not runs()
    (tree / "lib" / "pkg" / "deeper.py").write_text("1\n")
    assert (runs(), runs()) == (True, False)


@pytest.mark.parametrize(
    "words", [["../show.py", "a", "-m"], ["-m", "tool", "b"], ["-m", "pkg", "--", "x"], ["../lib/pkg"]]
)
@pytest.mark.parametrize("safe", ["", "1"])
def test_the_program_sees_what_python_shows_it(environment: Path, tree: Path, words: list[str], safe: str) -> None:
    environ = {"PYTHONPATH": str(tree / "lib"), "PYTHONSAFEPATH": safe}
    plain = subprocess.run(
        [python_of(environment), *words],
        cwd=tree / "out",
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
    )
    watched = run(environment, tree, *words, **environ)
    assert (watched.returncode, watched.stdout, watched.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert plain.returncode == 0, plain.stderr


@pytest.mark.parametrize(
    "text",
    [
        "raise SystemExit(3)",
        "import sys; sys.exit('a word')",
        "def f():\n    raise ValueError('x')\ntry:\n    f()\nexcept ValueError as error:\n    raise KeyError('y') from error",
        "syntax error",
        "import no_such_module",
        "import os; os._exit(0)",
        UNKNOWN,
        pytest.param("import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'print(1)'])", marks=POSIX),
        "raise KeyboardInterrupt",
        "import atexit; atexit.register(print, 'bye')",
        "import atexit, sys; atexit.register(lambda: print(sys.last_value, sys.last_traceback.tb_lineno))\n1 / 0",
        LAZY,
        "import enum",
        "import sys; sys.excepthook = lambda *error: print('hooked', error[0])\n1 / 0",
    ],
)
def test_it_ends_as_under_python(environment: Path, tree: Path, text: str) -> None:
    (tree / "ends.py").write_text(text + "\n")
    (tree / "enum.py").write_text("print('not the standard one')\n")
    plain = subprocess.run([python_of(environment), "../ends.py"], cwd=tree / "out", capture_output=True, text=True)
    watched = run(environment, tree, "../ends.py")
    assert (watched.returncode, watched.stdout, watched.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    # Where nobody could say what was imported: a file that is never there, so that it runs again.
    assert ("it.d.unknown" if text == UNKNOWN else "../ends.py") in inputs(tree)


def test_what_the_program_wrote_itself_stays(environment: Path, tree: Path) -> None:
    (tree / "own.py").write_text("open('it.d', 'w').write('it: ../table.csv')\n")
    assert run(environment, tree, "../own.py").returncode == 0
    assert inputs(tree) == ["../own.py", "../table.csv"]
    # Of an earlier run nothing stays.
    (tree / "own.py").write_text("")
    assert run(environment, tree, "../own.py").returncode == 0
    assert inputs(tree) == ["../own.py"]


def test_what_the_program_added_stays(environment: Path, tree: Path) -> None:
    (tree / "own.py").write_text("open('it.d', 'a').write('it: ../table.csv\\n')\n")
    assert run(environment, tree, "../own.py").returncode == 0
    assert inputs(tree) == ["../own.py", "../table.csv"]


def test_a_script_that_is_missing(environment: Path, tree: Path) -> None:
    plain = subprocess.run([python_of(environment), "../no.py"], cwd=tree / "out", capture_output=True, text=True)
    watched = run(environment, tree, "../no.py")
    assert (watched.returncode, watched.stderr) == (2, plain.stderr)


def test_an_archive_with_a_program(environment: Path, tree: Path) -> None:
    with zipfile.ZipFile(tree / "tool.pyz", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    plain = subprocess.run([python_of(environment), "../tool.pyz"], cwd=tree / "out", capture_output=True, text=True)
    assert run(environment, tree, "../tool.pyz").stdout == plain.stdout
    assert inputs(tree) == ["../tool.pyz"]


@pytest.mark.parametrize(
    "ending",
    ["os._exit(0)", pytest.param("os.execv(sys.executable, [sys.executable, '-c', ''])", marks=POSIX), "sys.exit()"],
)
def test_what_was_imported_is_known_however_it_ends(environment: Path, tree: Path, ending: str) -> None:
    (tree / "ends.py").write_text(f"import os, sys\nsys.path.insert(0, '../lib')\nimport pkg.used\n{ending}\n")
    assert run(environment, tree, "../ends.py").returncode == 0
    assert inputs(tree) == ["../ends.py", "../lib/pkg/__init__.py", "../lib/pkg/deeper.py", "../lib/pkg/used.py"]


def test_what_the_program_made_is_no_input(environment: Path, tree: Path, ninja: str) -> None:
    (tree / "made.py").write_text(
        "import sys\nsys.path.insert(0, '.')\nfor name in ('one', 'two'):\n    open(f'{name}.py', 'w').close()\n"
        "import one, two, earlier\n"
    )
    (tree / "out" / "earlier.py").write_text("")
    command = (
        f"{sys.executable} -P -m interlock run --venv {environment} --depfile $out.d --target one.py --root .. -- "
    )
    (tree / "out" / "build.ninja").write_text(
        f"rule gen\n  command = {command} python ../made.py\n  depfile = $out.d\n  deps = gcc\nbuild one.py: gen ../made.py\n"
    )
    for last in ("[1/1]", "ninja: no work to do."):
        done = subprocess.run([ninja, "-C", tree / "out"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        assert done.stdout.splitlines()[-1].startswith(last)
    (tree / "out" / "it.d").unlink(missing_ok=True)
    assert run(environment, tree, "../made.py").returncode == 0
    assert inputs(tree) == ["../made.py", "earlier.py"]


@POSIX
def test_a_child_that_was_forked_does_not_write_it(environment: Path, tree: Path) -> None:
    (tree / "fork.py").write_text(
        "import os, sys\nsys.path.insert(0, '../lib')\nimport pkg\n"
        "child = os.fork()\nif child:\n    os.waitpid(child, 0)\n    import pkg.used\nelse:\n    import pkg.unused\n"
    )
    assert run(environment, tree, "../fork.py").returncode == 0
    assert "../lib/pkg/used.py" in inputs(tree)
    assert "../lib/pkg/unused.py" not in inputs(tree)


def test_multiprocessing_finds_the_program(environment: Path, tree: Path) -> None:
    (tree / "pool.py").write_text(
        "import multiprocessing\ndef double(number):\n    return 2 * number\n"
        "if __name__ == '__main__':\n    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(double, [1, 2]))\n"
    )
    assert run(environment, tree, "../pool.py").stdout == "[2, 4]\n"


def test_the_program_may_change_the_directory(environment: Path, tree: Path) -> None:
    (tree / "moves.py").write_text(
        "import os, sys\nsys.path.insert(0, os.path.abspath('../lib'))\nos.chdir('/')\nimport pkg.used\n"
    )
    assert run(environment, tree, "../moves.py").returncode == 0
    assert inputs(tree) == ["../lib/pkg/__init__.py", "../lib/pkg/deeper.py", "../lib/pkg/used.py", "../moves.py"]


def test_nothing_of_the_environment_is_named(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"show.py": "import pip\n", "out/keep": ""})
    succeed("venv", root / ".venv", "--seed")
    assert run(root / ".venv", root, "../show.py").returncode == 0
    assert inputs(root) == ["../show.py"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--depfile", "d", "--", "python", "x.py"], "--target"),
        (["--depfile", "d", "--target", "t", "--root", ".", "--", "echo"], "only a module or a script"),
        (["--depfile", "d", "--target", "t", "--root", ".", "--", "python", "-c", "1"], "only a module or a script"),
        (["--depfile", "d", "--target", "t", "--root", ".", "--", "python", "-m"], "without a module"),
    ],
)
def test_what_cannot_be_watched_is_refused(environment: Path, words: list[str], message: str) -> None:
    done = interlock("run", "--venv", environment, *words)
    assert (done.returncode, message in done.stderr) == (2, True)


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1))
def test_names_are_escaped_as_everywhere(path: str) -> None:
    assert escaped(path) == escape_make(path)


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\\\n a;`"), min_size=1))
def test_what_cannot_be_named_is_what_cannot_be_named_elsewhere(path: str) -> None:
    assert is_expressible(path) == is_expressible_there(path)
