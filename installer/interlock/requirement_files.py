"""Requirements files and constraints files as pip reads them, so far as needed: which files, which lines, which names.

The engine reads the files itself. They are read here too, to know every file that matters (nested ones too), and to leave
out the lines that name a project of the workspace, because no index may ever hear of those.
Format: pip.pypa.io "Requirements File Format"; paths of `-r` and `-c` are relative to the file that has the line, local
projects are relative to the current directory.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interlock.distribution import normalize
from interlock.documents import parse_toml
from interlock.errors import ConfigurationError
from interlock.file_urls import local_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

__all__ = ["Line", "RequirementSet", "read_requirement_files"]

_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_URL = re.compile(r"(https?|ftp)://", re.IGNORECASE)
_INCLUDE = re.compile(
    r"(?:-(?P<short>[rce])\s*|--(?P<long>requirement|constraint|editable)(?:\s*=\s*|\s+))(?P<value>.+)"
)
_FIND_LINKS = re.compile(r"(?:-f\s*|--find-links(?:\s*=\s*|\s+))(?P<value>.+)")
_OPTIONS_BEGIN = re.compile(r"\s+--?[a-zA-Z]")
_EGG = re.compile(r"[#&]egg=([A-Za-z0-9._-]+)")


@dataclass(frozen=True, slots=True)
class Line:
    """One logical line without its comment: continuations joined, variables not yet put in."""

    text: str
    file: str
    number: int


@dataclass(frozen=True, slots=True)
class RequirementSet:
    """What some requirements files and constraints files say together.

    `files` are the paths that were read, `local` the files of local projects and archives that are named, `options` the
    lines that tell the engine something ("--index-url"), `private` those left out because they name a private project.
    """

    files: list[str] = field(default_factory=list)
    local: list[str] = field(default_factory=list)
    requirements: list[Line] = field(default_factory=list)
    constraints: list[Line] = field(default_factory=list)
    options: list[Line] = field(default_factory=list)
    private: list[Line] = field(default_factory=list)

    def requirements_text(self) -> str:
        """Return one requirements file that says the same as all of them, without the private names."""
        return "".join(f"{line.text}\n" for line in (*self.options, *self.requirements))

    def constraints_text(self) -> str:
        """Return one constraints file that says the same as all of them, without the private names."""
        return "".join(f"{line.text}\n" for line in self.constraints)


def read_requirement_files(
    files: Iterable[str],
    constraints: Iterable[str],
    *,
    private: Collection[str] = (),
    directory: str = "",
    environ: Mapping[str, str] = os.environ,
) -> RequirementSet:
    """Read requirements files and constraints files, and all that they include; a file that includes itself is fine.

    `private` are normalised names: lines that name one of them are left out. Relative paths of projects and archives start
    from `directory`, as they do for pip from the directory that it runs in ("": the current one).

    Raises:
        ConfigurationError: a file is missing or no text; the message has the line that includes it.
    """
    reader = _Reader(frozenset(private), directory, environ)
    for path in files:
        reader.read(path, "", constraint=False)
    for path in constraints:
        reader.read(path, "", constraint=True)
    return reader.found


class _Reader:
    def __init__(self, private: frozenset[str], directory: str, environ: Mapping[str, str]) -> None:
        self.found = RequirementSet()
        self._private = private
        self._directory = directory
        self._environ = environ
        self._seen: set[tuple[str, bool]] = set()

    def read(self, path: str, included_by: str, *, constraint: bool) -> None:
        key = (os.path.realpath(path), constraint)
        if key in self._seen:
            return
        self._seen.add(key)
        text = _read(path, included_by)
        if path not in self.found.files:
            self.found.files.append(path)
        for number, content in _logical_lines(text):
            self._line(Line(content, path, number), constraint=constraint)

    def _line(self, line: Line, *, constraint: bool) -> None:
        text = _VARIABLE.sub(lambda match: self._environ.get(match[1]) or match[0], line.text)
        include = _INCLUDE.match(text)
        kind = (include["short"] or include["long"][0]) if include else ""
        if include and kind in {"r", "c"}:
            self._include(line, _unquoted(include["value"]), constraint=kind == "c")
        elif text.startswith("-") and kind != "e":
            self.found.options.append(_with_absolute_links(line, text))
        else:
            wanted = _unquoted(include["value"]) if include else text
            self._requirement(line, wanted, editable=include is not None, constraint=constraint)

    def _requirement(self, line: Line, wanted: str, *, editable: bool, constraint: bool) -> None:
        begin = _OPTIONS_BEGIN.search(wanted)  # "--hash=..." after a requirement is the engine's business
        wanted = wanted[: begin.start()] if begin else wanted
        path = _local_path(wanted, self._directory) if editable else ""
        # "-e core" is the directory, "core" is the distribution.
        name, path = (_local_name(path), path) if os.path.isdir(path) else _name_and_path(wanted, self._directory)
        if name in self._private:
            self.found.private.append(line)
            return
        self.found.local.extend(_local_files(path) if path else ())
        (self.found.constraints if constraint else self.found.requirements).append(line)

    def _include(self, line: Line, value: str, *, constraint: bool) -> None:
        if _URL.match(value):
            # The engine fetches it; it is not known before what it says.
            (self.found.constraints if constraint else self.found.requirements).append(line)
            return
        path = os.path.normpath(os.path.join(os.path.dirname(line.file), value))
        self.read(path, f"{line.file}:{line.number}", constraint=constraint)


def _name_and_path(requirement: str, directory: str) -> tuple[str, str]:
    """Return the normalised name of what a line asks for, "" where only a build would tell; and its local path, or ""."""
    from packaging.requirements import Requirement

    try:
        parsed = Requirement(requirement)
    except (ValueError, RecursionError):
        egg = _EGG.search(requirement)
        path = _local_path(requirement, directory)
        return normalize(egg[1]) if egg else _local_name(path) if path else "", path
    return normalize(parsed.name), _local_path(parsed.url, directory) if parsed.url else ""


def _read(path: str, included_by: str) -> str:
    where = f" (included at {included_by})" if included_by else ""
    try:
        with open(path, "rb") as reader:
            data = reader.read()
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(
            f"cannot read the requirements file {path}{where}: {reason}",
            advice="Paths after -r and -c are relative to the file that has them.",
        ) from None
    try:
        return _decoded(data)
    except (SyntaxError, ValueError, LookupError) as error:
        raise ConfigurationError(
            f"{path}{where} is no text: {error}",
            advice="Save it as UTF-8, or name its encoding in a first line (PEP 263).",
        ) from None


def _decoded(data: bytes) -> str:
    """Decode as pip does: a byte order mark, else the coding line of PEP 263, else UTF-8."""
    import io
    import tokenize

    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    text = data.decode(encoding)
    if "\0" in text:
        raise ValueError("it has a NUL character")
    return text


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join continued lines, drop comments and empty lines; yield each with the number of its first line."""
    joined: list[str] = []
    first = 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        first = first if joined else number
        comment = _COMMENT.match(line)
        if line.endswith("\\") and not comment:
            joined.append(line.strip("\\"))
            continue
        # A line that is all comment ends what is continued, and a backslash at its end continues nothing.
        content = _COMMENT.sub("", "".join([*joined, " " if comment else "", line])).strip()
        joined = []
        if content:
            yield first, content


def _unquoted(value: str) -> str:
    value = value.strip()
    if value[:1] in {'"', "'"}:
        import shlex

        with contextlib.suppress(ValueError):  # a quote that is never closed is the engine's to complain about
            return shlex.split(value)[0]
    return value


def _with_absolute_links(line: Line, text: str) -> Line:
    """Make a relative --find-links absolute, which is relative to its file if it is there, else to where we are."""
    match = _FIND_LINKS.match(text)
    if match and not _URL.match(match["value"]):
        near = os.path.join(os.path.dirname(line.file), _unquoted(match["value"]))
        if os.path.exists(near):
            return Line(f"--find-links {os.path.abspath(near)}", line.file, line.number)
    return line


def _local_path(text: str, directory: str) -> str:
    """Return the path of a local project or archive that a line names, "" where it names none."""
    path = re.sub(r"\[[^\]]*\]$", "", text.partition(";")[0].strip())
    if path.startswith("file:"):
        return local_path(path)
    return "" if "://" in path or not path else os.path.join(directory, path)


def _local_files(path: str) -> Iterator[str]:
    """Yield the files of a local project or archive whose change means that it is to be installed anew."""
    if os.path.isfile(path):
        yield path
    for name in ("pyproject.toml", "setup.cfg", "setup.py"):
        if os.path.isfile(file := os.path.join(path, name)):
            yield file


def _local_name(path: str) -> str:
    """Return the normalised name of a local project or archive, so far as it can be known without a build."""
    if path.endswith((".whl", ".tar.gz", ".zip")):
        return normalize(re.split(r"-\d", os.path.basename(path))[0])
    return normalize(_name_in_pyproject(path) or _name_in_setup_cfg(path) or _name_in_setup_py(path))


def _name_in_pyproject(directory: str) -> str:
    try:
        with open(os.path.join(directory, "pyproject.toml"), "rb") as reader:
            data = parse_toml(reader.read())
    except (OSError, ValueError):
        return ""
    for keys in (("project",), ("tool", "poetry")):
        table: object = data
        for key in (*keys, "name"):
            table = table.get(key) if isinstance(table, dict) else None
        if isinstance(table, str):
            return table
    return ""


def _name_in_setup_cfg(directory: str) -> str:
    import configparser

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(os.path.join(directory, "setup.cfg"), encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return ""
    return parser.get("metadata", "name", fallback="")


def _name_in_setup_py(directory: str) -> str:
    import ast

    try:
        with open(os.path.join(directory, "setup.py"), "rb") as reader:
            tree = ast.parse(reader.read())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "setup":
            for keyword in node.keywords:
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
    return ""
