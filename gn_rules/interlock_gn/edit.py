"""Edit a BUILD.gn: add strings to a list variable of a call, and leave all else as it is, byte for byte.

A file that `gn format` would leave alone is such a one afterwards too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interlock_gn.build_files import is_generated
from interlock_gn.build_syntax import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from interlock_gn.build_syntax import BuildFile, Call, Node
    from interlock_gn.gn_program import Formatter

__all__ = ["Addition", "NotEditable", "add", "edit_text", "statement"]

_STEP = b"  "


@dataclass(frozen=True, slots=True)
class Addition:
    """Strings to add to a list variable of the call of interlock_project that makes a target."""

    target: str
    variable: str
    values: tuple[str, ...]


class NotEditable(Exception):
    """The place for an addition is not one that can be told from the text; str() says why."""


def statement(addition: Addition, *, defined: bool) -> str:
    """Return the line that a person would add; `defined` says that the call sets the variable already."""
    values = ", ".join(f'"{value}"' for value in addition.values)
    return f"{addition.variable} {'+=' if defined else '='} [ {values} ]"


def edit_text(
    formatter: Formatter, text: bytes, additions: Iterable[Addition]
) -> tuple[bytes, dict[Addition, str], tuple[Addition, ...]]:
    """Make additions; return the new text, why some could not be made, and those that were.

    Raises:
        ConfigurationError: the text is not GN.
    """
    crlf = text.count(b"\r\n")
    # Such a file is edited as what it is on other systems; `gn format` writes line feeds alone.
    windows = bool(crlf) and crlf == text.count(b"\n")
    current = before = text.replace(b"\r\n", b"\n") if windows else text
    refused: dict[Addition, str] = {}
    made = []
    for addition in additions:
        try:
            current = add(formatter, current, addition)
        except NotEditable as error:
            refused[addition] = str(error)
        else:
            made.append(addition)
    if current != before and formatter.format(before) == before:
        current = formatter.format(current)
    return (current.replace(b"\n", b"\r\n") if windows else current), refused, tuple(made)


def add(formatter: Formatter, text: bytes, addition: Addition) -> bytes:
    """Return the text with one addition made; where it goes is where a person would put it, `gn format` aside.

    Raises:
        NotEditable: the text does not tell where.
    """
    if is_generated(text.decode("utf-8", "replace")):
        raise NotEditable("the file is written by `interlock gn gen`: run that")
    file = parse(formatter, text)
    call, why = file.find("interlock_project", addition.target)
    if call is None:
        raise NotEditable(why)
    if call.forwards(addition.variable):
        raise NotEditable(f"{addition.variable} may come from forward_variables_from")
    touching = call.touching(addition.variable)
    direct = [each for each in touching if each["type"] == "BINARY"]
    if not touching:
        return _with_first_statement(file, call, addition)
    if touching[0]["type"] != "BINARY":
        raise NotEditable(f"{addition.variable} is set only under a condition")
    values = direct[-1]["child"][1]
    if direct[-1]["value"] in {"=", "+="} and values["type"] == "LIST" and values.get("begin_token") == "[":
        return _with_more_values(file, values, addition.values)
    return _with_statement_after(file, touching[-1], _lines(addition, defined=True))


def _with_more_values(file: BuildFile, values: Node, added: Sequence[str]) -> bytes:
    """Put values at the end of a list."""
    closing = file.begin(values["end"])
    items = [f'"{value}"'.encode() for value in added]
    if not values["child"]:
        return _in_empty_list(file, values, items)
    last = file.end(values["child"][-1])
    comma = re.compile(rb"(?:\s|#[^\n]*+)*+,").match(file.text, last, closing)
    line_end = file.line_end(last)
    if comma and comma.end() > line_end:
        return _spliced(file.text, (comma.end(), b" " + b", ".join(items)))
    if closing < line_end:
        return _spliced(file.text, (last, b"".join(b", " + item for item in items)))
    # Lines of their own after that of the last value, whose comment stays behind it.
    begin = file.begin(values["child"][-1])
    indentation = file.indentation(begin if file.is_first(begin) else closing)
    indentation += b"" if file.is_first(begin) else _STEP
    newline = _newline(file.text)
    lines = b"".join(newline + indentation + item + b"," for item in items)
    return _spliced(file.text, (last, b"" if comma else b","), (line_end, lines))


def _in_empty_list(file: BuildFile, values: Node, items: Sequence[bytes]) -> bytes:
    opening, closing = file.begin(values), file.begin(values["end"])
    inner = file.text[opening + 1 : closing]
    if b"#" not in inner:
        return file.text[: opening + 1] + b" " + b", ".join(items) + b" " + file.text[closing:]
    # A comment ends its line, so that the bracket is the first thing in its own.
    indentation = file.indentation(closing)
    newline = _newline(file.text)
    lines = b"".join(indentation + _STEP + item + b"," + newline for item in items)
    return _spliced(file.text, (file.line_start(closing), lines))


def _with_first_statement(file: BuildFile, call: Call, addition: Addition) -> bytes:
    """Put an assignment at the end of a block that has none of the variable."""
    lines = _lines(addition, defined=False)
    if call.block["child"]:
        return _with_statement_after(file, call.block["child"][-1], lines)
    opening, closing = file.begin(call.block), file.begin(call.block["end"])
    newline = _newline(file.text)
    indentation = file.indentation(opening)
    body = b"".join(indentation + _STEP + line + newline for line in lines)
    if b"#" in file.text[opening + 1 : closing]:
        return _spliced(file.text, (file.line_start(closing), body))
    return file.text[: opening + 1] + newline + body + indentation + file.text[closing:]


def _with_statement_after(file: BuildFile, node: Node, lines: Sequence[bytes]) -> bytes:
    """Put a statement into the lines that follow another one, or behind it where its line goes on."""
    begin, end = file.begin(node), file.end(node)
    line_end = file.line_end(end)
    if re.fullmatch(rb"\s*(#.*)?", file.text[end:line_end]) is None:
        return _spliced(file.text, (end, b" " + b" ".join(line.strip() for line in lines)))
    indentation = file.indentation(begin)
    indentation += b"" if file.is_first(begin) else _STEP
    newline = _newline(file.text)
    return _spliced(file.text, (line_end, b"".join(newline + indentation + line for line in lines)))


def _lines(addition: Addition, *, defined: bool) -> list[bytes]:
    """Return an assignment as `gn format` writes it: a list of several values takes a line for each."""
    if len(addition.values) == 1:
        return [statement(addition, defined=defined).encode()]
    operator = "+=" if defined else "="
    return [
        f"{addition.variable} {operator} [".encode(),
        *(_STEP + f'"{value}",'.encode() for value in addition.values),
        b"]",
    ]


def _spliced(text: bytes, *insertions: tuple[int, bytes]) -> bytes:
    """Return the text with insertions, made from the last to the first so that positions hold."""
    for position, inserted in reversed(insertions):
        text = text[:position] + inserted + text[position:]
    return text


def _newline(text: bytes) -> bytes:
    first = text.find(b"\n")
    return b"\r\n" if first > 0 and text[first - 1 : first] == b"\r" else b"\n"
