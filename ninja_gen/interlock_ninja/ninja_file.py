"""A plan as the text of a build.ninja, escaped for Ninja and for the shell that Ninja runs commands with.

Ninja 1.11 and later; nothing beyond what samurai and n2 read too.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from interlock.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock_ninja.plan import Edge, Kind, Plan

__all__ = ["escape_path", "escape_value", "ninja_text", "quote"]

# Commits queue in Ninja, where a waiting edge costs no -j slot, rather than as processes blocked on the lock.
INSTALL_POOL_DEPTH = 4

_HEADER = """\
# Written by interlock; do not edit: `interlock gen` writes it again.
ninja_required_version = 1.11
interlock = {command}
bar = |

pool interlock_install
  depth = {depth}

rule regenerate
  command = $interlock gen $arguments
  depfile = build.ninja.d
  generator = 1
  restat = 1
  description = regenerate build.ninja
"""

# Ninja puts all commands together, each time, to see whether one has changed: what they share has as few variables as can be.
_RULE = """
rule {kind}
  command = {edge} {kind} $arguments {common}--stamp $out --depfile $out.d
  depfile = $out.d
  deps = gcc
  restat = 1
  description = {kind} $subject
"""

KINDS: tuple[Kind, ...] = ("venv", "build-env", "requirements", "prepare", "install")


def ninja_text(
    plan: Plan,
    *,
    command: Sequence[str],
    edge_command: Sequence[str],
    regenerate: Sequence[str],
    platform: str = sys.platform,
) -> str:
    """Return the whole text of a build.ninja.

    `command` starts interlock, `edge_command` does it for an edge, `regenerate` are the arguments of `interlock gen`.

    Raises:
        ConfigurationError: a Ninja file cannot say it: a line break in a path.
    """
    common = {kind: _common([edge for edge in plan.edges if edge.kind == kind]) for kind in KINDS}
    text = [_HEADER.format(command=escape_value(quote(command, platform)), depth=INSTALL_POOL_DEPTH)]
    text += [_rule(kind, edge_command, common[kind], platform) for kind in KINDS]
    text.append(f"\nbuild build.ninja: regenerate\n  arguments = {escape_value(quote(regenerate, platform))}\n")
    text += [_edge(edge, common[edge.kind], platform) for edge in plan.edges]
    text.append("\n")
    for edge in plan.edges:
        if edge.target not in {"", edge.stamp}:
            text.append(_phony(edge.target, [edge.stamp]))
    text += [_phony(alias.name, alias.stamps) for alias in plan.aliases]
    text.append(f"\n{_phony('all', [edge.stamp for edge in plan.edges])}default all\n")
    return "".join(text)


def _common(edges: Sequence[Edge]) -> tuple[str, ...]:
    """Return the words at the end of the arguments of all of some edges; none for a lone edge, which has them itself."""
    if len(edges) < 2:
        return ()
    found = edges[0].arguments[1:]
    for edge in edges:
        while found != edge.arguments[len(edge.arguments) - len(found) :]:
            found = found[1:]
    return found


def _rule(kind: Kind, edge_command: Sequence[str], common: Sequence[str], platform: str) -> str:
    words = [escape_value(quote(each, platform)) for each in (edge_command, common)]
    rule = _RULE.format(kind=kind, edge=words[0], common=f"{words[1]} " if common else "")
    return f"{rule}  pool = interlock_install\n" if kind == "install" else rule


def _edge(edge: Edge, common: Sequence[str], platform: str) -> str:
    lines = [f"\nbuild {escape_path(edge.stamp)}: {edge.kind} | {_paths(edge.inputs)}"]
    if edge.order_only:
        lines[0] += f" || {_paths(edge.order_only)}"
    own = edge.arguments[: len(edge.arguments) - len(common)]
    lines.append(f"  arguments = {escape_value(quote(own, platform))}")
    lines.append(f"  subject = {escape_value(edge.subject)}")
    return "\n".join(lines) + "\n"


def _phony(name: str, inputs: Iterable[str]) -> str:
    return f"build {escape_path(name)}: phony {_paths(inputs)}\n"


def _paths(paths: Iterable[str]) -> str:
    return " ".join(escape_path(path) for path in paths)


def escape_path(path: str) -> str:
    """Escape a path for a build statement (Ninja manual, "Lexical syntax").

    Ninja has no escape for a bar, but a variable may hold one.
    """
    return escape_value(path).replace(" ", "$ ").replace(":", "$:").replace("|", "${bar}")


def escape_value(text: str) -> str:
    """Escape text for the right side of a variable."""
    if "\n" in text or "\r" in text:
        raise ConfigurationError(
            f"a path or setting contains a line break, which Ninja cannot express: {text!r}",
            advice="Rename it, or leave its project out with `exclude`.",
        )
    return text.replace("$", "$$")


def quote(words: Sequence[str], platform: str = sys.platform) -> str:
    """Quote words for what Ninja hands a command to: /bin/sh on POSIX, CreateProcess on Windows."""
    if platform == "win32":
        import subprocess

        return subprocess.list2cmdline(words)
    return shlex.join(words)
