"""Inputs that are nearly right: samples of a format, changed in their bytes or in their structure."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

TOKENS = {
    "any": [
        *(
            b"\0",
            b"\n",
            b"\r\n",
            b"\r",
            b"\xff",
            b"\xc3\x28",
            b"\xed\xa0\x80",
            b"\xef\xbb\xbf",
            "\u2028".encode(),
            b"\x85",
        ),
        *(
            b"..",
            b"../",
            b"/",
            b"\\",
            b"//",
            b"C:",
            b"~",
            b" ",
            b"\t",
            b"%",
            b"%(x)s",
            b"${HOME}",
            b"$",
            b"`",
            b"'",
            b'"',
        ),
        *(b"-1", b"0", b"1e999", b"9" * 30, b"9" * 5000, b"NaN", b"true", b"null", b"None"),
        *(b"[" * 3000, b"{" * 3000, b"(" * 3000, b"a." * 3000, b"*" * 300, b"!" * 50, b"<" * 50, b"\x1b[31m"),
    ],
    "json": [b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\ud800", b"\\u0000", b"{}", b"[]", b"1e400", b"-Infinity"],
    "toml": [
        *(
            b"[project]\n",
            b"[[project]]\n",
            b"[tool.interlock]\n",
            b"[tool.poetry]\n",
            b"[build-system]\n",
            b"= ",
            b"{}",
            b"[]",
        ),
        *(
            b"1979-05-27",
            b"07:32:00",
            b"inf",
            b"nan",
            b"'''",
            b'"""',
            b"0x",
            b"\\u0000",
            b'"\\ud800"',
            b"[a" + b".a" * 2000 + b"]\n",
        ),
        *(
            b"dynamic = ['version']\n",
            b"name = 1\n",
            b"version = ['']\n",
            b"requires = 'x'\n",
            b"backend-path = ['..']\n",
        ),
    ],
    "ini": [
        b"[metadata]\n",
        b"[options]\n",
        b"name = ",
        b"version = attr:",
        b"file:",
        b"\n ",
        b"=",
        b":",
        b"#",
        b";",
        b"find:",
    ],
    "csv": [
        b",",
        b",,",
        b",,,,",
        b'"',
        b'""',
        b"sha256=",
        b"md5=x",
        b"=",
        b"-5",
        b"../../../../../etc/passwd,,\n",
        b"\n",
    ],
    "header": [
        b":",
        b": ",
        b"Name: ",
        b"Version: ",
        b"Requires-Dist: ",
        b"Requires-Python: ",
        b"\n\n",
        b"\n ",
        b"; extra == 'x'",
    ],
    "requirements": [
        b"-r ",
        b"-c ",
        b"-e ",
        b"-e",
        b"--index-url ",
        b"--hash=sha256:",
        b" \\\n",
        b"# ",
        b" @ file://",
        b"file:",
        b";",
    ],
    "zip": [
        b"PK\x01\x02",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"PK\x07\x08",
        b"\xff" * 4,
        b"\xff" * 8,
    ],
    "tabs": [b"\t", b"\t\t\t\t", b"\n", b"//a:b", b" "],
}

DEEP = "<lists in lists, too deep for a parser that calls itself>"
WEIRD: tuple[Callable[[Random], Any], ...] = (
    lambda random: None,
    lambda random: random.choice([True, False]),
    lambda random: random.choice([0, -1, 1 << 70, 1.5, float("inf")]),
    lambda random: "".join(
        random.choice("ab./\\:\0\n\u2028é ~$%{}[]<>=;,\ud800"[:18]) for _ in range(random.randrange(12))
    ),
    lambda random: random.choice(
        ["..", "../../x", "/etc/passwd", "", ".", "a/../../b", "C:\\x", "x" * 5000, "*" * 60, "file:"]
    ),
    lambda random: random.choice(
        ["~=1.*", ">=0.dev", "==1.0.*,!=2", "a[", "a @ http://", "a; extra == ''", "1!2.post3+x", "$Format:x$"]
    ),
    lambda random: [],
    lambda random: {},
    lambda random: [[[]]],
    lambda random: {"": {"": ""}},
    lambda random: ["a", 1, None, {}],
    lambda random: _nested(random.choice([3, 40])),
    lambda random: DEEP,
)


def _nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def mutate_bytes(data: bytes, kinds: tuple[str, ...], others: list[bytes], random: Random) -> bytes:
    """Change a sample in one place or several: bits, tokens of its format, pieces moved, doubled, cut, of another sample."""
    text = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 2, 3, 5, 12])):
        at = random.randrange(len(text) + 1)
        end = min(len(text), at + random.choice([1, 2, 4, 10, 40, 200]))
        token = random.choice(TOKENS[random.choice(("any", *kinds))])
        match random.randrange(9):
            case 0 if text:
                text[at % len(text)] ^= 1 << random.randrange(8)
            case 1:
                text[at:at] = token
            case 2:
                text[at:end] = token
            case 3:
                del text[at:end]
            case 4:
                text[at:at] = text[at:end] * random.choice([1, 2, 50])
            case 5:
                del text[at:]
            case 6:
                other = random.choice(others)
                start = random.randrange(len(other) + 1)
                text[at:end] = other[start : start + random.choice([5, 40, 400])]
            case 7:
                text[at:end] = bytes(random.randrange(256) for _ in range(end - at))
            case _:
                text[at:end] = text[at:end][::-1]
    return bytes(text)


def mutate_tree(tree: Any, random: Random) -> Any:
    """Change a document of tables and lists: values of another type, keys gone, doubled or renamed."""
    tree = copy.deepcopy(tree)
    for _ in range(random.choice([1, 1, 2, 4])):
        places = list(_places(tree))
        if not places:
            return random.choice(WEIRD)(random)
        holder, key = random.choice(places)
        match random.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[str(random.choice(WEIRD[3:6])(random))] = holder[key]
            case 2 if isinstance(holder, list):
                holder.append(copy.deepcopy(random.choice(places)[0]))
            case 3:
                holder[key] = copy.deepcopy(random.choice(places)[0])
            case _:
                holder[key] = random.choice(WEIRD)(random)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        for key, value in list(one.items() if isinstance(one, dict) else enumerate(one)):
            yield one, key
            if isinstance(value, (dict, list)):
                waiting.append(value)


def to_json(tree: Any) -> bytes:
    """Write a document, whatever it has become."""
    return _deepened(json.dumps(tree)).encode("utf-8", "surrogatepass")


def to_toml(tree: Any) -> bytes:
    """Write a document as TOML, each table on a line of its own as an inline value; what TOML has no word for is text."""
    if not isinstance(tree, dict):
        return b"x = " + _deepened(_toml(tree)).encode("utf-8", "surrogatepass")
    lines: list[str] = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines.append(f"[{json.dumps(key)}]")
            lines += [f"{json.dumps(inner)} = {_toml(one)}" for inner, one in value.items()]
        else:
            lines.insert(0, f"{json.dumps(key)} = {_toml(value)}")
    return _deepened("\n".join(lines)).encode("utf-8", "surrogatepass") + b"\n"


def _deepened(text: str) -> str:
    return text.replace(json.dumps(DEEP), "[" * 3000 + "]" * 3000)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return "inf" if value == float("inf") else repr(value)
        case str():
            return json.dumps(value)
        case list():
            return "[" + ", ".join(_toml(one) for one in value) + "]"
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
        case _:
            return '"none"'
