"""What a build.ninja says: its edges with the very commands that Ninja would run, and hash.

Reads the part of Ninja's language that `ninja_file` writes, from the file and not from the plan, so that whoever runs the
edges without Ninja cannot see other ones than Ninja does (Ninja manual, "Ninja file reference"). Names are bytes, as there.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from interlock.errors import ConfigurationError, UsageError
from interlock_ninja.ninja_file import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["BuildEdge", "BuildFile", "canonical", "parse_build_file", "read_build_file"]

_TOKEN = re.compile(rb"\$(?:([ :$])|\{([A-Za-z0-9_.-]+)\}|([A-Za-z0-9_-]+))")
_WORD = re.compile(rb"(?:\$.|[^ $])+")
_NOT_CANONICAL = re.compile(rb"(?:^|/)\.{0,2}(?:/|$)")
# What Ninja leaves as it is when it puts a path into a command (GetShellEscapedString).
_SAFE = re.compile(rb"[A-Za-z0-9_+\-./]*")


@dataclass(frozen=True, slots=True)
class BuildEdge:
    """One build statement with its variables put in.

    `inputs` are those whose change makes it run again, explicit and implicit ones; `pool` is "" where it has none. A phony
    edge has no command: its output is a name for its inputs.
    """

    rule: str
    output: bytes
    inputs: tuple[bytes, ...]
    order_only: tuple[bytes, ...]
    command: bytes
    depfile: bytes
    description: str
    pool: str

    @property
    def is_phony(self) -> bool:
        return self.rule == "phony"

    @property
    def command_line(self) -> str:
        """Return the command for people to read."""
        return self.command.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class BuildFile:
    """The edges by their output, the depth of each pool, and what is built when nothing is asked for."""

    edges: Mapping[bytes, BuildEdge]
    pools: Mapping[str, int]
    defaults: tuple[bytes, ...]

    def targets(self, names: Sequence[str]) -> tuple[bytes, ...]:
        """Return the outputs that names stand for, as on Ninja's command line; the default ones for no name.

        A name with `^` at its end is what is made from that file first.

        Raises:
            UsageError: the file has no such name.
        """
        return tuple([self._target(name) for name in names]) or self.defaults

    def _target(self, name: str) -> bytes:
        path = canonical(os.fsencode(name.removesuffix("^")))
        users = [edge.output for edge in self.edges.values() if path in edge.inputs] if path not in self.edges else []
        if name.endswith("^") and users:
            return users[0]
        if path in self.edges or users:
            return path
        import difflib

        near = difflib.get_close_matches(name, map(os.fsdecode, self.edges), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"there is no target {name!r}{hint}", advice="`ninja -C out -t targets all` lists them.")


def read_build_file(path: str) -> BuildFile:
    """Read a build.ninja that interlock wrote.

    Raises:
        ConfigurationError: the file says something that interlock does not write.
    """
    with open(path, "rb") as reader:
        return parse_build_file(reader.read(), path)


def parse_build_file(text: bytes, path: str = "build.ninja") -> BuildFile:
    """Parse the text of a build.ninja; the same errors as those of `read_build_file`."""
    return _Parser(path).parse(text)


def canonical(path: bytes) -> bytes:
    """Return a path as Ninja knows it: without `.`, `..` after a name, and double slashes; `..` stays below the root."""
    start = 1 if path.startswith(b"/") else 0
    while path.startswith(b"../", start):
        start += 3
    if not _NOT_CANONICAL.search(path[start:]):
        return path
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b".." and parts and parts[-1] != b"..":
            parts.pop()
        elif part not in {b"", b"."}:
            parts.append(part)
    return (b"/" if path.startswith(b"/") else b"") + b"/".join(parts) or b"."


class _Parser:
    def __init__(self, path: str) -> None:
        self._path = path
        self._globals: dict[bytes, bytes] = {}
        self._rules: dict[bytes, dict[bytes, bytes]] = {b"phony": {}}
        self._pools: dict[str, int] = {}
        self._edges: dict[bytes, BuildEdge] = {}
        self._defaults: list[bytes] = []

    def parse(self, text: bytes) -> BuildFile:
        for head, settings in _blocks(text):
            if head.startswith(b"build "):
                self._build(head[6:], settings)
            elif head.startswith(b"rule "):
                self._rules[head[5:].strip()] = dict(settings)
            elif head.startswith(b"pool "):
                self._pools[head[5:].strip().decode()] = int(dict(settings).get(b"depth", b"1"))
            elif head.startswith(b"default "):
                self._defaults += self._paths(head[8:])
            elif (assignment := _assignment(head)) is not None and not settings:
                self._globals[assignment[0]] = self._expand(assignment[1], {}, {})
            else:
                self._fail(head)
        return BuildFile(self._edges, self._pools, tuple(self._defaults))

    def _build(self, statement: bytes, settings: list[tuple[bytes, bytes]]) -> None:
        outputs, colon, rest = _split_at_colon(statement)
        rule_name, _, needs = rest.strip().partition(b" ")
        rule = self._rules.get(rule_name)
        if not colon or rule is None:
            self._fail(b"build " + statement)
        plain, _, order_only = needs.partition(b"||")
        explicit, _, implicit = plain.partition(b"|")
        names = self._paths(outputs)
        if len(names) != 1:
            self._fail(b"build " + statement)
        inputs = (*self._paths(explicit), *self._paths(implicit))
        scope = {name: self._expand(value, {}, {}) for name, value in settings}
        scope[b"out"], scope[b"in"] = names[0], b" ".join(self._paths(explicit))
        quoted = {**scope, b"out": _shell(names[0]), b"in": b" ".join(map(_shell, self._paths(explicit)))}
        self._edges[names[0]] = BuildEdge(
            rule_name.decode(),
            names[0],
            inputs,
            tuple(self._paths(order_only)),
            self._value(b"command", quoted, rule),
            self._value(b"depfile", scope, rule),
            self._value(b"description", scope, rule).decode("utf-8", "replace"),
            self._value(b"pool", scope, rule).decode(),
        )

    def _paths(self, text: bytes) -> list[bytes]:
        if b"$" not in text:
            return [canonical(path) for path in text.split()]
        return [canonical(self._expand(word, {}, {})) for word in _WORD.findall(text)]

    def _value(self, name: bytes, scope: Mapping[bytes, bytes], rule: Mapping[bytes, bytes]) -> bytes:
        """Look a variable up: in the build statement, its rule, the file."""
        if (own := scope.get(name)) is not None:
            return own
        if (text := rule.get(name)) is not None:
            return self._expand(text, scope, rule)
        return self._globals.get(name, b"")

    def _expand(self, text: bytes, scope: Mapping[bytes, bytes], rule: Mapping[bytes, bytes]) -> bytes:
        if b"$" not in text:
            return text

        def replaced(match: re.Match[bytes]) -> bytes:
            escaped, braced, bare = match.groups()
            return bytes(escaped) if escaped is not None else self._value(bytes(braced or bare), scope, rule)

        return _TOKEN.sub(replaced, text)

    def _fail(self, line: bytes) -> NoReturn:
        raise ConfigurationError(
            f"{self._path} says what interlock does not write: {line.decode('utf-8', 'replace')}",
            advice="Remove the file and run `interlock gen`, which writes it again.",
        )


def _blocks(text: bytes) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """Yield each statement with the settings that are indented below it."""
    head: bytes | None = None
    settings: list[tuple[bytes, bytes]] = []
    for line in text.split(b"\n"):
        if line.startswith(b" "):
            if (assignment := _assignment(line)) is not None:
                settings.append(assignment)
        elif line and not line.startswith(b"#"):
            if head is not None:
                yield head, settings
            head, settings = line, []
    if head is not None:
        yield head, settings


def _assignment(line: bytes) -> tuple[bytes, bytes] | None:
    name, sign, value = line.partition(b"=")
    return (name.strip(), value.lstrip(b" ")) if sign else None


def _split_at_colon(statement: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a build statement at the first colon that is not escaped."""
    at = -1
    while (at := statement.find(b":", at + 1)) >= 0:
        dollars = len(statement[:at]) - len(statement[:at].rstrip(b"$"))
        if dollars % 2 == 0:
            return statement[:at], b":", statement[at + 1 :]
    return statement, b"", b""


def _shell(path: bytes) -> bytes:
    """Quote a path as Ninja does where a command says $out or $in."""
    if os.name == "nt":
        return quote([path.decode("utf-8", "surrogateescape")]).encode("utf-8", "surrogateescape")
    return path if _SAFE.fullmatch(path) else b"'" + path.replace(b"'", b"'\\''") + b"'"
