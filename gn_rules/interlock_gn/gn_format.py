"""Values, assignments and calls in the format of `gn format`: it leaves what is written here as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from interlock.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["assign_list", "assign_text", "call", "quoted"]

WIDTH = 80  # bytes, as GN counts


def quoted(value: str) -> str:
    """Return a string literal of GN (`gn help grammar`): a backslash is special before a quote, a dollar and itself.

    Raises:
        ConfigurationError: a line break, which GN has no way to write.
    """
    if "\n" in value or "\r" in value:
        raise ConfigurationError(
            f"a path or setting contains a line break, which GN cannot express: {value!r}",
            advice="Rename it, or leave its project out with `exclude`.",
        )
    escaped = re.sub(r'\\(?=["$\\]|$)', r"\\\\", value)
    return '"' + escaped.replace('"', '\\"').replace("$", "\\$") + '"'


def assign_text(name: str, value: str) -> str:
    """Return the line, or two, in a block that assign a string to a variable; nothing for an empty one."""
    return _assignment(name, quoted(value)) if value else ""


def assign_list(name: str, values: Sequence[str]) -> str:
    """Return the lines in a block that assign a list of strings to a variable; nothing for an empty one.

    A single value stays on the line of the variable if it can, else it goes to the next line, or else between brackets that
    have lines of their own. What fits nowhere is left on the line of the variable.
    """
    literals = [quoted(value) for value in values]
    tall = "".join([f"  {name} = [\n", *(f"    {literal},\n" for literal in literals), "  ]\n"])
    if len(literals) != 1:
        return tall if literals else ""
    flat = f"[ {literals[0]} ]"
    on_a_line = _fits(f"  {name} = {flat}") or _fits(f"      {flat}")
    return tall if not on_a_line and _fits(f"    {literals[0]},") else _assignment(name, flat)


def call(function: str, value: str, after: str = "") -> str:
    """Return a call with a string: `import("//a.gni")`, or with " {" after it, the start of a block."""
    line = f"{function}({quoted(value)}){after}"
    return line if _fits(line) else f"{function}(\n    {quoted(value)}){after}"


def _assignment(name: str, value: str) -> str:
    line = f"  {name} = {value}"
    if not _fits(line) and _fits(f"      {value}"):
        line = f"  {name} =\n      {value}"
    return f"{line}\n"


def _fits(line: str) -> bool:
    return len(line.encode("utf-8", "surrogateescape")) <= WIDTH
