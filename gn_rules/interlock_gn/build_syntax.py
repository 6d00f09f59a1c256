"""The text of a BUILD.gn and its syntax tree, as `gn format --dump-tree=json` shows it: which calls are where.

Lines and columns start at 1, columns count bytes; an end is the place after the last byte, but of a list it is that of
its bracket. Source: `gn help format`; measured with GN of 2022 and of 2025.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from interlock_gn.gn_program import Formatter

__all__ = ["BuildFile", "Call", "Node", "parse"]

Node = dict[str, Any]
_NAME = re.compile(r'"([^"\\$]*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """A call with a block: `interlock_project("name") { ... }`.

    `name` is None where it is no plain string. `inside` is the innermost function whose block the call stands in, a
    foreach or a template for example, "" for none.
    """

    function: str
    name: str | None
    line: int
    block: Node
    inside: str

    def touching(self, variable: str) -> list[Node]:
        """Return the statements of the block that assign a variable, or that have such a one somewhere inside."""
        return [each for each in self.block["child"] if any(_assigns(node, variable) for node in _walk(each))]

    def forwards(self, variable: str) -> bool:
        """Tell whether the block may take a variable from elsewhere, by forward_variables_from."""
        for node in _walk(self.block):
            if node["type"] == "FUNCTION" and node["value"] == "forward_variables_from":
                (arguments,) = (child for child in node["child"] if child["type"] == "LIST")
                chosen = list(_walk(arguments["child"][1])) if len(arguments["child"]) > 1 else []
                if any(each["type"] not in {"LIST", "LITERAL"} for each in chosen):
                    return True
                if {each.get("value") for each in chosen} & {'"*"', f'"{variable}"'}:
                    return True
        return False


@dataclass(frozen=True, slots=True)
class BuildFile:
    """A BUILD.gn."""

    text: bytes
    tree: Node
    starts: Sequence[int]

    def offset(self, line: int, column: int) -> int:
        """Return the position of a line and column in the text."""
        return self.starts[line - 1] + column - 1

    def begin(self, node: Node) -> int:
        """Return the position of a node's first byte."""
        return self.offset(node["location"]["begin_line"], node["location"]["begin_column"])

    def end(self, node: Node) -> int:
        """Return the position after a node's last byte, brackets and parentheses included."""
        found = max(self.offset(each["end_line"], each["end_column"]) for each in _locations(node))
        # Parentheses around an expression are no nodes.
        closing = re.compile(rb"(\s*\))*").match(self.text, found)
        return closing.end() if closing else found

    def line_start(self, position: int) -> int:
        """Return the position at which the line of a position starts."""
        return self.text.rfind(b"\n", 0, position) + 1

    def line_end(self, position: int) -> int:
        """Return the position at which the line of a position ends: that of its line break, or the end of the text."""
        found = self.text.find(b"\n", position)
        found = len(self.text) if found < 0 else found
        return found - 1 if found > position and self.text[found - 1 : found] == b"\r" else found

    def indentation(self, position: int) -> bytes:
        """Return the white space at the start of the line of a position."""
        start = self.line_start(position)
        rest = self.text[start:]
        return rest[: len(rest) - len(rest.lstrip(b" \t"))]

    def is_first(self, position: int) -> bool:
        """Tell whether nothing but white space precedes a position in its line."""
        return not self.text[self.line_start(position) : position].strip()

    def calls(self) -> Iterator[Call]:
        """Yield all calls that have a block, in order."""
        yield from _calls(self.tree, "")

    def find(self, function: str, name: str) -> tuple[Call | None, str]:
        """Return the one call of a function with a name; or None and why there is none that can be edited."""
        found = [call for call in self.calls() if call.function == function and call.name == name]
        if len(found) == 1:
            call = found[0]
            return (call, "") if not call.inside else (None, f"it is inside of a {call.inside}, in line {call.line}")
        if found:
            lines = ", ".join(str(call.line) for call in found)
            return None, f"there are {len(found)} calls with this name, in lines {lines}"
        for call in self.calls():
            if call.name == name:
                return None, f"{call.function} in line {call.line} makes it"
        for call in self.calls():
            if call.function == function and call.name is None:
                return None, f"the name in line {call.line} is an expression"
        return None, f'there is no {function}("{name}") in the file'

    def line_of(self, function: str, name: str) -> int:
        """Return the line that most likely defines a target, 0 if none does."""
        calls = [call for call in self.calls() if call.name == name]
        calls += [call for call in self.calls() if call.function == function and call.name is None]
        calls.sort(key=lambda call: (call.name is None, call.function != function))
        return calls[0].line if calls else 0


def parse(formatter: Formatter, text: bytes) -> BuildFile:
    """Parse the text of a BUILD.gn.

    Raises:
        ConfigurationError: it is not GN.
    """
    return BuildFile(text, formatter.tree(text), [0, *(match.end() for match in re.finditer(b"\n", text))])


def _calls(node: Node, inside: str) -> Iterator[Call]:
    within = inside
    if node["type"] == "FUNCTION":
        arguments, *blocks = node["child"]
        for block in blocks:
            if block["type"] == "BLOCK":
                yield Call(node["value"], _name(arguments), node["location"]["begin_line"], block, inside)
                within = node["value"]
    for child in node.get("child", ()):
        yield from _calls(child, within)


def _name(arguments: Node) -> str | None:
    values = [each.get("value", "") for each in arguments["child"] if each["type"] == "LITERAL"]
    match = _NAME.fullmatch(values[0]) if len(values) == len(arguments["child"]) == 1 else None
    return match[1] if match else None


def _assigns(node: Node, variable: str) -> bool:
    if node["type"] != "BINARY" or node["value"] not in {"=", "+=", "-="}:
        return False
    target: Mapping[str, Any] = node["child"][0]
    return bool(target["value"] == variable)


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.get("child", ()):
        yield from _walk(child)


def _locations(node: Node) -> Iterator[Mapping[str, int]]:
    for each in _walk(node):
        yield each["location"]
        if "end" in each:
            yield each["end"]["location"]
