"""The rules of the house that a reader cannot be asked to check: who imports whom, who writes, how long things get."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import interlock
from interlock import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"interlock": "installer", "interlock_ninja": "ninja_gen", "interlock_gn": "gn_rules"}
FORBIDDEN = {
    "interlock": {"interlock_ninja", "interlock_gn"},
    "interlock_ninja": {"interlock_gn"},
    "interlock_gn": set[str](),
}
LONGEST_MODULE = 400
LONGEST_FUNCTION = 49

MUTATION = re.compile(
    r"os\.(chmod|chown|lchown|link|makedirs|mkdir|mkfifo|remove|removedirs|rename|renames|replace|rmdir|symlink"
    r"|truncate|unlink|utime)"
    r"|shutil\.(chown|copy|copy2|copyfile|copymode|copystat|copytree|move|rmtree|unpack_archive)"
    r"|tempfile\.(NamedTemporaryFile|SpooledTemporaryFile|TemporaryDirectory|TemporaryFile|mkdtemp|mkstemp)"
)
# Methods of pathlib and archives. `replace` is missing because str has it, and `extract` because it has other meanings.
METHOD_MUTATION = re.compile(
    "extractall|hardlink_to|lchmod|mkdir|rename|rmdir|symlink_to|touch|unlink|write_bytes|write_text"
)
WRITE_FLAG = re.compile(r"\bO_(APPEND|CREAT|RDWR|TRUNC|WRONLY)\b")

# Programs, and the processes that workers fork: what ends there is a process of their own.
PROGRAMS = {
    *(f"interlock/_worker_{name}.py" for name in ("jobs", "programs", "script", "server")),
    *("interlock/edge.py", "interlock/own_worker.py"),
}

# The mutations that may stand outside of durable.py, each with its reason.
ALLOWED = {
    "interlock/_worker_jobs.py os.open": "the null device, in the place of the output of a job that has ended",
    "interlock/_worker_programs.py tempfile.mkdtemp": "the made-up project that a backend's worker builds once, by a process "
    "that may not import durable",
    "interlock/_worker_programs.py os.makedirs": "a directory of it",
    "interlock/_worker_programs.py open": "a file of it",
    "interlock/_worker_programs.py shutil.rmtree": "all of it",
    "interlock/_worker_server.py os.open": "a lock file, which guards the start and the end of a worker",
    "interlock/_worker_server.py os.unlink": "that lock file and the socket, when a worker ends: nothing that lasts",
    "interlock/client.py .mkdir": "the directory of sockets; an edge that loads durable has lost what a worker gains",
    "interlock/worker_start.py os.open": "the lock file of a worker",
    "interlock/worker_start.py os.unlink": "the socket of a worker that was killed",
    "interlock/cli.py os.open": "the null device, in the place of a standard output whose reader went away",
    "interlock/holders.py open": "the holder's note inside the lock file: a courtesy, never read back as truth",
    "interlock/locks.py os.open": "a lock file is opened read-write and created; it is never renamed or deleted",
    "interlock/programs.py tempfile.TemporaryFile": "what a program prints, in a file without a name",
    "interlock/probes.py os.link": "a hard link in the doctor's own directory: nothing else makes any",
    "interlock/owners.py os.mkdir": "a part of durable, which would be too long: what new directories and files belong to",
    "interlock/owners.py os.chown": "the same",
    "interlock/owners.py os.chmod": "the same",
    "interlock/lock_state.py os.open": "a lock file that is there, opened to try its lock",
    "interlock/windows_locks.py os.open": "a lock file, as in locks.py",
    "interlock/_imports_script.py open": "a depfile, written by a process that must not import interlock",
    "interlock/_imports_script.py os.makedirs": "the directory of that depfile",
    "interlock_ninja/ninja_log.py os.open": "a record is added to Ninja's own logs, by a single write, as Ninja does",
    "interlock_ninja/sync.py tempfile.TemporaryFile": "what an edge prints, in a file without a name",
    "interlock/timings.py open": "a line appended to a measurement's log, only where one was asked for",
}


class Module(NamedTuple):
    package: str
    path: str  # "interlock/commands/venv.py"
    text: str
    tree: ast.Module


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for package, source in SOURCES.items():
        for file in sorted((ROOT / source / package).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            path = file.relative_to(ROOT / source).as_posix()
            found.append(Module(package, path, text, ast.parse(text, path)))
    return tuple(found)


def test_every_package_is_looked_at() -> None:
    assert {module.package for module in modules()} == set(SOURCES)
    assert "interlock/errors.py" in {module.path for module in modules()}


def test_imports_point_one_way() -> None:
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module in modules()
        for line, name in imported(module.tree)
        if name.partition(".")[0] in FORBIDDEN[module.package]
    ]
    assert wrong == []


def test_only_the_command_table_names_a_higher_package() -> None:
    """The command line finds sub-commands by a string; nothing else may reach upwards that way."""
    upwards = re.compile(r"(interlock_\w+)(\.\w+)*(:.*)?")
    wrong = [
        f"{module.path}:{node.lineno} {node.value!r}"
        for module in modules()
        if module.path != "interlock/cli.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if (match := upwards.fullmatch(node.value)) and match[1] in FORBIDDEN[module.package]
    ]
    assert wrong == []


def test_only_durable_changes_the_file_system() -> None:
    found = {
        f"{module.path} {operation}": f"{module.path}:{line} {operation}"
        for module in modules()
        if module.path != "interlock/durable.py"
        for line, operation in mutations(module.tree)
    }
    assert [where for key, where in found.items() if key not in ALLOWED] == []
    assert [key for key in ALLOWED if key not in found] == [], "allowed, but no longer there"


def test_the_search_for_mutations_finds_each_kind() -> None:
    source = """
import os, shutil, tempfile
from os import rename as moved
os.replace(a, b); shutil.rmtree(a); tempfile.mkdtemp(); moved(a, b)
open(a, "wb"); open(a, mode="r+"); open(a, mode); a.open("a"); os.fdopen(a, "w"); os.open(a, os.O_RDWR); os.open(a, flags)
path.write_text(b); path.unlink(); archive.extractall()
"""
    assert [operation for _, operation in mutations(ast.parse(source))] == [
        *("os.replace", "shutil.rmtree", "tempfile.mkdtemp", "os.rename"),
        *("open", "open", "open", "open", "os.fdopen", "os.open", "os.open"),
        *(".write_text", ".unlink", ".extractall"),
    ]
    harmless = 'open(a); open(a, "rb"); a.open(); "a".replace(b, c); os.open(a, os.O_RDONLY); disk.remove(a)'
    assert list(mutations(ast.parse(harmless))) == []


def test_modules_and_functions_stay_short() -> None:
    long = [
        f"{module.path}: {lines} lines"
        for module in modules()
        if (lines := len(module.text.splitlines())) > LONGEST_MODULE
    ]
    long += [
        f"{module.path}:{node.lineno} {node.name}: {lines} lines"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def test_the_library_does_not_exit() -> None:
    wrong = [
        f"{module.path}:{node.lineno}"
        for module in modules()
        if module.path not in PROGRAMS
        for part in module.tree.body
        if not (isinstance(part, ast.If) and ast.unparse(part.test) == "__name__ == '__main__'")
        for node in ast.walk(part)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"sys.exit", "exit", "quit", "os._exit", "posix._exit"}
    ]
    assert wrong == []


def test_error_names_are_pinned() -> None:
    assert errors.__all__ == [
        *("BackendError", "BackendUnavailable", "ChangedMeanwhile", "ConfigurationError", "DependencyMissing"),
        *(
            "DiskError",
            "EngineError",
            "EngineUnavailable",
            "EnvironmentMismatch",
            "FileConflict",
            "GraphError",
            "InterlockError",
        ),
        *("InterpreterNotFound", "LockOrderError", "LockTimeout", "LockUnavailable", "MetadataError"),
        *("NotAnEnvironment", "RecordMismatch", "UndeclaredDependency", "UnsafePath", "UsageError", "WheelError"),
    ]
    assert {name for name, value in vars(errors).items() if isinstance(value, type)} == set(errors.__all__)


def test_exit_codes_are_documented() -> None:
    reference = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    documented = [(name, int(code)) for code, name in re.findall(r"^\| (\d+) \| `(\w+)` \|", reference, re.MULTILINE)]
    drawn = [(name, int(code)) for name, code in re.findall(r"(\w+) {2,}(\d+)", errors.__doc__ or "")]
    actual = exit_codes()
    assert len(set(actual.values())) == len(actual), "two errors share a code"
    assert documented == sorted(actual.items(), key=lambda item: item[1])
    assert drawn == documented


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    ancestors = {0: "InterlockError"}
    for prefix, name in re.findall(r"^ {4}([│├└─ ]*)(\w+) {2,}\d+", errors.__doc__ or "", re.MULTILINE):
        depth = len(prefix) // 4
        ancestors[depth] = name
        if depth:
            assert [base.__name__ for base in getattr(errors, name).__bases__] == [ancestors[depth - 1]]
    assert len(ancestors) == 3


def test_the_version_is_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = re.findall(r"^## \[(\S+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert interlock.__version__ == project["version"] == next(entry for entry in changelog if entry != "Unreleased")


def exit_codes() -> dict[str, int]:
    return {name: getattr(errors, name).exit_code for name in errors.__all__}


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module


def mutations(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield each call that can change the file system, in the order of the source, under the name of what it calls."""
    imports = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        operation = mutation(call, imports)
        if operation:
            yield call.lineno, operation


def mutation(call: ast.Call, imports: dict[str, str]) -> str:
    """Return the name of the changing operation that a call is, or "" for any other call."""
    called = ast.unparse(call.func)
    called = imports.get(called, called)
    if MUTATION.fullmatch(called):
        return called
    if called == "os.open":
        flags = ast.unparse(call.args[1]) if len(call.args) > 1 else ""
        return called if WRITE_FLAG.search(flags) or "O_RDONLY" not in flags else ""
    if called in {"open", "io.open", "os.fdopen"}:
        return called if writes(call, 1) else ""
    if not isinstance(call.func, ast.Attribute):
        return ""
    if call.func.attr == "open":
        return "open" if writes(call, 0) else ""
    return f".{call.func.attr}" if METHOD_MUTATION.fullmatch(call.func.attr) else ""


def writes(call: ast.Call, position: int) -> bool:
    """Tell whether the mode of an open() is one that writes; a mode that is no literal counts as one."""
    mode = next((keyword.value for keyword in call.keywords if keyword.arg == "mode"), None)
    if mode is None:
        mode = call.args[position] if len(call.args) > position else ast.Constant("r")
    if isinstance(mode, ast.Constant) and isinstance(mode.value, str):
        # Another object's open() may take something else first: a mode is a few letters of these.
        return bool(re.fullmatch(r"[rwaxbt+U]{1,4}", mode.value)) and bool(set(mode.value) & set("wax+"))
    return position == 1
