"""The .gn of a source tree: what it says already, and the lines that interlock's templates need there.

It is read as text, not run: top-level assignments of string literals are known, all else counts as unknown, and for what is
unknown the line is asked for. Specification: `gn help dotfile`, `gn help grammar`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from itertools import pairwise

from interlock_gn.gn_format import quoted
from interlock_gn.source_tree import DOTFILE, source_path

__all__ = ["Line", "assignments", "missing_lines", "running_program"]

NINJA_VERSION = "1.11.0"
UNKNOWN = None
_WORD = re.compile(r'#[^\n]*|"(?:\\.|[^"\\\n])*"|[A-Za-z_][A-Za-z0-9_]*|\+=|-=|==|!=|\S')
_ASSIGNS = frozenset({"=", "+=", "-="})
_DEFAULT_ARGS = "default_args"
_PROGRAM = "interlock_program"
_ESCAPED = re.compile(r'\\([\\"$])')


@dataclass(frozen=True, slots=True)
class Line:
    """What to add at the end of the .gn: `text` is GN, one line or three.

    `current` is the value in its place now, as GN writes it, "" where there is none or it cannot be told.
    """

    name: str
    text: str
    current: str


def assignments(text: str) -> dict[str, str | None]:
    """Return what a .gn assigns: {"script_executable": "python3", "default_args": None, "default_args.is_debug": None}.

    The value is None where it is no string literal, or depends on a condition.
    """
    words = [word for word in _WORD.findall(text) if not word.startswith("#")]
    found: dict[str, str | None] = {}
    scopes: list[str] = []  # "" for one that is not that of default_args: of a condition, for example
    for index, (word, following) in enumerate(pairwise([*words, ""])):
        if word == "{":
            scopes.append(_DEFAULT_ARGS if words[max(index - 2, 0) : index] == [_DEFAULT_ARGS, "="] else "")
        elif word == "}" and scopes:
            scopes.pop()
        elif following in _ASSIGNS and word.isidentifier():
            of_scope = index > 1 and words[index - 1] == "."
            inside = [words[index - 2]] if of_scope else [scope for scope in scopes if scope]
            known = "" not in scopes and following == "="
            found[".".join([*inside, word])] = _literal(words[index + 2 : index + 4]) if known else UNKNOWN
    return found


def _literal(words: list[str]) -> str | None:
    """Return the value of a string literal, the first word, unless the next one goes on with the expression."""
    if not words or not words[0].startswith('"') or words[1:] in (["+"], ["-"], ["["], ["."], ["=="], ["!="]):
        return UNKNOWN
    inner = words[0][1:-1]
    return UNKNOWN if "$" in _ESCAPED.sub("", inner) else _ESCAPED.sub(r"\1", inner)


def running_program(argv0: str) -> str | None:
    """Return the absolute path of the program `interlock` that runs now; None for `python -m interlock` without one.

    `argv0` is sys.argv[0]: where it is not the program, the one beside the interpreter is it.
    """
    if os.path.basename(argv0).startswith("interlock") and (found := shutil.which(argv0)):
        return os.path.abspath(found)
    beside = shutil.which("interlock", path=sysconfig.get_path("scripts"))
    return os.path.abspath(beside) if beside else None


def missing_lines(source_root: str, program: str | None) -> tuple[Line, ...]:
    """Return the lines that the .gn of a tree lacks, or has with another value.

    `program` is the interlock that the build is to run (`running_program`). Without one, GN has to run scripts with the
    interpreter that runs now.
    """
    with open(os.path.join(source_root, DOTFILE), encoding="utf-8", errors="replace") as reader:
        given = assignments(reader.read())
    lines = []
    version = given.get("ninja_required_version")
    if version is None or _numbers(version) < _numbers(NINJA_VERSION):
        lines.append(_line("ninja_required_version", NINJA_VERSION, version))
    executable = given.get("script_executable")
    if program is None:
        if executable != sys.executable:
            lines.append(_line("script_executable", sys.executable, executable))
        return tuple(lines)
    if executable is None:
        lines.append(_line("script_executable", "python3", executable))
    current = given.get(f"{_DEFAULT_ARGS}.{_PROGRAM}")
    if current is None or not _same_program(source_root, current, program):
        lines.append(_default_args(_program_name(source_root, program), current, there=_DEFAULT_ARGS in given))
    return tuple(lines)


def _line(name: str, value: str, current: str | None) -> Line:
    return Line(name, f"{name} = {quoted(value)}", "" if current is None else quoted(current))


def _default_args(value: str, current: str | None, *, there: bool) -> Line:
    if there:
        # GN refuses a second default_args; this adds to the first, or replaces what that says.
        return _line(f"{_DEFAULT_ARGS}.{_PROGRAM}", value, current)
    return Line(_DEFAULT_ARGS, f"{_DEFAULT_ARGS} = {{\n  {_PROGRAM} = {quoted(value)}\n}}", "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", re.sub(r"(\.0+)+$", "", version)))


def _program_name(source_root: str, program: str) -> str:
    """Return what the .gn calls a program: the name that others who build the tree can use too, where there is one."""
    named = source_path(source_root, program)
    if named.startswith("//"):
        return named
    on_path = shutil.which("interlock")
    return "interlock" if on_path and _is_same_file(on_path, program) else program


def _same_program(source_root: str, value: str, program: str) -> bool:
    path = os.path.join(source_root, value[2:]) if value.startswith("//") else value
    found = shutil.which(path)
    return found is not None and _is_same_file(found, program)


def _is_same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
