"""Scripts of a distribution, with the bytes that pip would write (26.3): entry points and `#!python` scripts.

On POSIX a script is text that starts with the environment's python; on Windows it is one of distlib's launchers followed
by a zip archive. Specification: packaging.python.org "Entry points specification", "Binary distribution format".
"""

from __future__ import annotations

import keyword
import os
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.errors import WheelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from interlock.environment import Environment

__all__ = ["EntryPoint", "make_script", "parse_scripts", "rewrite_script", "shebang"]

TEMPLATE = """\
import sys
from {module} import {name}
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit({attribute}())
"""
# str.removesuffix is of Python 3.9.
OLD_TEMPLATE = TEMPLATE.replace(
    "    sys.argv[0] = sys.argv[0].removesuffix('.exe')\n",
    "    if sys.argv[0].endswith('.exe'):\n        sys.argv[0] = sys.argv[0][:-4]\n",
)
# Longer ones are cut by the kernel (BINPRM_BUF_SIZE of Linux before 5.1; macOS), "#!" and the newline included.
LONGEST_SHEBANG = {"darwin": 512}
LONGEST_SHEBANG_ELSEWHERE = 127

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_VALUE = re.compile(rf"(?P<module>{_DOTTED})\s*:\s*(?P<attribute>{_DOTTED})\s*(?:\[[^\]]*\])?")
_BAD_NAME = re.compile(r"[/\\:\x00-\x1f]|^\.{0,2}$|^\s|\s$")
_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
PLACEHOLDER = b"#!python"


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A script that calls `attribute` of `module`; without a console on Windows if `gui`."""

    name: str
    module: str
    attribute: str
    gui: bool


def parse_scripts(text: str, where: str) -> list[EntryPoint]:
    """Read the console and gui scripts of an entry_points.txt, a gui script before the console script of its name.

    Raises:
        WheelError: a name that is no file name, or a value that is no `module:attribute`; `where` is in the message.
    """
    found: dict[str, EntryPoint] = {}
    section = ""
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip()
        elif line and line[0] not in "#;" and section in {"console_scripts", "gui_scripts"}:
            name, _, value = (part.strip() for part in line.partition("="))
            gui = section == "gui_scripts"
            if gui or name not in found or not found[name].gui:
                found[name] = _entry_point(name, value, where, gui=gui)
    return list(found.values())


def _entry_point(name: str, value: str, where: str, *, gui: bool) -> EntryPoint:
    match = _VALUE.fullmatch(value)
    if match is None or _BAD_NAME.search(name) or not all(map(_is_importable, match.group("module", "attribute"))):
        raise WheelError(
            f"{where} declares a script that cannot be made: {name!r} = {value!r}",
            advice="A script's name is a file name and its value is `module:function`; correct it in the project's "
            "[project.scripts] (or entry_points).",
        )
    return EntryPoint(name, match["module"], match["attribute"], gui)


def _is_importable(dotted: str) -> bool:
    # Letters such as "²" are of a word, and of no identifier.
    return all(part.isidentifier() and not keyword.iskeyword(part) for part in dotted.split("."))


def make_script(entry: EntryPoint, environment: Environment, platform: str = sys.platform) -> tuple[str, bytes]:
    """Return the file name and the content of an entry point's script."""
    minor = tuple(int(part) for part in environment.interpreter.short.split("."))
    template = TEMPLATE if minor >= (3, 9) else OLD_TEMPLATE
    text = template.format(module=entry.module, name=entry.attribute.partition(".")[0], attribute=entry.attribute)
    if platform != "win32":
        return entry.name, shebang(environment.python, platform) + text.encode()
    python = _windowless(environment.python) if entry.gui else environment.python
    machine = environment.interpreter.markers.get("platform_machine", "")
    content = _launcher(machine, gui=entry.gui) + shebang(python, platform) + _archive(text.encode())
    stem, ending = os.path.splitext(entry.name)
    return (stem if ending.startswith(".py") else entry.name) + ".exe", content


def rewrite_script(chunks: Iterable[bytes], environment: Environment, platform: str = sys.platform) -> Iterator[bytes]:
    """Yield a wheel's own script with the environment's python in the place of `#!python`.

    The first of `chunks` is the whole file, or larger than `#!python`.
    """
    parts = iter(chunks)
    first = next(parts, b"")
    if first.startswith(PLACEHOLDER):
        yield shebang(environment.python, platform)
        while first and b"\n" not in first:
            first = next(parts, b"")
        first = first.partition(b"\n")[2]
    yield first
    yield from parts


def shebang(python: str, platform: str = sys.platform) -> bytes:
    """Return the first line of a script, or the lines that make sh start a python whose path is too long or has spaces.

    Raises:
        WheelError: the path is not UTF-8, which Python source must be.
    """
    try:
        path = python.encode()
    except UnicodeEncodeError:
        raise WheelError(
            f"no script can start {python!r}: its path is not UTF-8", advice="Move the environment to another path."
        ) from None
    if platform == "win32":
        return b'#!"%s"\n' % path if b" " in path else b"#!%s\n" % path
    longest = LONGEST_SHEBANG.get(platform, LONGEST_SHEBANG_ELSEWHERE)
    if len(path) + 3 <= longest and not re.search(rb"\s", path):
        return b"#!%s\n" % path
    # Python reads the second line as the start of a string that ends on the third; sh reads a command.
    return b"#!/bin/sh\n'''exec' %s \"$0\" \"$@\"\n' '''\n" % _quoted(python).encode()


def _quoted(path: str) -> str:
    """Quote a path for sh: as pip does where that is right, with single quotes where `$` and others would be expanded."""
    if _PLAIN.fullmatch(path):
        return path
    if _PLAIN.fullmatch(path.replace(" ", "")):
        return f'"{path}"'
    import shlex

    return shlex.quote(path)


def _windowless(python: str) -> str:
    directory, name = os.path.split(python)
    return os.path.join(directory, name.replace("python", "pythonw"))


def _launcher(machine: str, *, gui: bool) -> bytes:
    """Return distlib's launcher for a kind of machine."""
    try:
        import distlib
    except ImportError as error:
        raise WheelError(
            "distlib, which has the launchers of scripts, is missing", advice="Install it beside interlock."
        ) from error
    bits = {"amd64": "64", "x86_64": "64", "arm64": "64-arm"}.get(machine.lower(), "32")
    path = os.path.join(os.path.dirname(str(distlib.__file__)), f"{'w' if gui else 't'}{bits}.exe")
    with open(path, "rb") as reader:
        return reader.read()


def _archive(script: bytes) -> bytes:
    """Return a zip archive with `__main__.py`; its date is fixed, so that equal scripts are equal bytes."""
    import io
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        member: Any = zipfile.ZipInfo("__main__.py", (1980, 1, 1, 0, 0, 0))
        archive.writestr(member, script)
    return stream.getvalue()
