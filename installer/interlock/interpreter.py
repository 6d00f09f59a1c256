"""Python interpreters: finding the one that was asked for, and the facts about it that installing needs."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from interlock.documents import parse_json
from interlock.errors import InterpreterNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interlock.durable import Disk

__all__ = ["Interpreter", "Layout", "candidates", "find_interpreter", "query", "satisfies"]

OLDEST = (3, 8)

# Runs in the interpreter in question: Python 3.8 syntax, standard library only.
_QUESTIONS = """
import json, os, platform, sys, sysconfig
def full(info):
    text = "{0.major}.{0.minor}.{0.micro}".format(info)
    return text if info.releaselevel == "final" else text + info.releaselevel[0] + str(info.serial)
implementation = sys.implementation
names = sysconfig.get_scheme_names()
scheme = "venv" if "venv" in names else ("nt" if os.name == "nt" else "posix_prefix")
root = os.path.abspath(os.sep + "@")
paths = sysconfig.get_paths(scheme, vars=dict.fromkeys(("base", "platbase", "installed_base", "installed_platbase"), root))
relative = lambda path: os.path.relpath(path, root).replace(os.sep, "/")
print(json.dumps({
  "executable": getattr(sys, "_base_executable", None) or sys.executable,
  "version": "%d.%d.%d" % sys.version_info[:3],
  "implementation": implementation.name,
  "soabi": sysconfig.get_config_var("SOABI") or "",
  "markers": {
    "implementation_name": implementation.name, "implementation_version": full(implementation.version), "os_name": os.name,
    "platform_machine": platform.machine(), "platform_release": platform.release(), "platform_system": platform.system(),
    "platform_version": platform.version(), "python_full_version": platform.python_version(),
    "platform_python_implementation": platform.python_implementation(),
    "python_version": ".".join(platform.python_version_tuple()[:2]), "sys_platform": sys.platform},
  "layout": {"scripts": relative(paths["scripts"]), "purelib": relative(paths["purelib"]),
    "platlib": relative(paths["platlib"]), "data": relative(paths["data"]),
    "include": "include/site/python%d.%d" % sys.version_info[:2]},
}))
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things go in an environment, relative to it, with "/" between the parts."""

    scripts: str
    purelib: str
    platlib: str
    data: str
    include: str


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One base interpreter, never an environment's.

    `markers` is the complete environment of PEP 508; `layout` is that of the environments it makes.
    """

    executable: str
    version: str
    implementation: str
    soabi: str
    markers: dict[str, str]
    layout: Layout

    @property
    def short(self) -> str:
        """The version's first two numbers: "3.12"."""
        return ".".join(self.version.split(".")[:2])

    def as_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Interpreter:
        """Make an interpreter from plain data; KeyError or TypeError where it is not that."""
        return cls(**{**data, "layout": Layout(**data["layout"])})


def query(python: str) -> Interpreter:
    """Ask an interpreter, or an environment's python, about its base interpreter: one process, about 60 ms.

    Raises:
        InterpreterNotFound: it does not run, or does not answer like a Python of version 3.8 or later.
    """
    import subprocess

    try:
        answer = subprocess.run(
            [python, "-I", "-S", "-c", _QUESTIONS],
            capture_output=True,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        ).stdout
        interpreter = Interpreter.from_json(parse_json(answer))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        detail = getattr(error, "stderr", None)
        last = detail.decode(errors="replace").strip().splitlines()[-1:] if detail else [str(error)]
        raise InterpreterNotFound(
            f"{python} does not work as a Python interpreter: {' '.join(last)}",
            advice="Name another one with --python, or with `python` in the workspace's configuration.",
        ) from error
    if tuple(int(number) for number in interpreter.version.split(".")[:2]) < OLDEST:
        raise InterpreterNotFound(
            f"{python} is Python {interpreter.version}; environments are made for 3.8 and later",
            advice="Name a newer one with --python, or with `python` in the workspace's configuration.",
        )
    return interpreter


def find_interpreter(spec: str | None = None, *, root: str = "", disk: Disk | None = None) -> Interpreter:
    """Find the interpreter that a spec asks for.

    `spec` is None (the one that runs interlock), a version ("3.12", "3.12.4"), a specifier (">=3.11,<3.14") or a path, which
    is relative to `root`. Of several that match: the one that runs interlock, then those on PATH, then pyenv's, uv's and the
    Windows launcher's. With a `disk`, answers are kept in the cache.

    Raises:
        InterpreterNotFound: none matches; the message says what was looked at.
    """
    if not spec:
        return _facts(getattr(sys, "_base_executable", None) or sys.executable, disk)
    if _is_path(spec):
        return _facts(os.path.join(root, os.path.expanduser(spec)), disk)
    wanted = _specifier(spec)
    looked_at = []
    for candidate in candidates(spec):
        try:
            interpreter = _facts(candidate, disk)
        except InterpreterNotFound as error:
            looked_at.append(error.message)
            continue
        if wanted.contains(interpreter.markers["python_full_version"], prereleases=True):
            return interpreter
        looked_at.append(f"{candidate} is {interpreter.version}")
    raise InterpreterNotFound(
        f"no Python {spec} found; looked at: {'; '.join(looked_at) or 'nothing that runs'}",
        advice="Install one, put it on PATH, or give its path with --python (in the configuration: `python`).",
    )


def satisfies(interpreter: Interpreter, spec: str | None, *, root: str = "", disk: Disk | None = None) -> bool:
    """Tell whether an interpreter is one that a spec asks for: any, a version, a specifier, or the very one at a path.

    Raises:
        InterpreterNotFound: the spec is neither, or a path at which no interpreter works.
    """
    if not spec:
        return True
    if _is_path(spec):
        asked = find_interpreter(spec, root=root, disk=disk)
        return os.path.realpath(asked.executable) == os.path.realpath(interpreter.executable)
    return bool(_specifier(spec).contains(interpreter.markers["python_full_version"], prereleases=True))


def _is_path(spec: str) -> bool:
    return os.sep in spec or "/" in spec or spec.endswith(".exe")


def _specifier(spec: str) -> Any:
    from packaging.specifiers import SpecifierSet

    text = spec.strip()
    if text[:1].isdigit():
        text = f"=={text}" if text.count(".") >= 2 else f"=={text}.*"
    try:
        return SpecifierSet(text)
    except ValueError:
        raise InterpreterNotFound(
            f"{spec!r} asks for no Python that could be found",
            advice='Give a version ("3.12"), a specifier (">=3.11") or a path ("/usr/bin/python3.12").',
        ) from None


def candidates(spec: str = "") -> Iterator[str]:
    """Yield what a spec that is no path chooses from, in the order of preference, each once; none was asked yet."""
    seen: set[str] = set()
    for path in _unfiltered_candidates(spec):
        identity = os.path.realpath(path)
        if identity not in seen and os.path.isfile(path):
            seen.add(identity)
            yield path


def _unfiltered_candidates(spec: str) -> Iterator[str]:
    import glob
    import shutil

    yield getattr(sys, "_base_executable", None) or sys.executable
    exact = ".".join(spec.split(".")[:2]) if spec[:1].isdigit() else ""
    names = [f"python{exact}"] if exact else []
    names += ["python3", "python", *(f"python3.{minor}" for minor in range(20, 7, -1))]
    for name in names:
        if path := shutil.which(name):
            yield path
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    managed = os.environ.get("UV_PYTHON_INSTALL_DIR") or os.path.expanduser("~/.local/share/uv/python")
    for pattern in (f"{pyenv}/versions/*/bin/python", f"{managed}/*/bin/python3", f"{managed}/*/python.exe"):
        yield from sorted(glob.glob(pattern), key=_natural, reverse=True)
    yield from _launcher()


def _natural(path: str) -> list[tuple[int, str]]:
    import re

    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]


def _launcher(platform: str = sys.platform) -> Iterator[str]:
    """Yield what the Windows launcher knows (`py -0p`; PEP 514)."""
    if platform != "win32":
        return
    import subprocess

    try:
        listing = subprocess.run(["py", "-0p"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return
    for line in listing.splitlines():
        if (at := line.find(":\\")) > 0:
            yield line[at - 1 :].strip()


def _facts(python: str, disk: Disk | None) -> Interpreter:
    """Query an interpreter, or read what the cache has for this very file."""
    if disk is None:
        return query(python)
    import hashlib

    from interlock.cache import cache_directory

    try:
        status = os.stat(python)
    except OSError:
        return query(python)
    # pyvenv.cfg decides what an environment's python answers, and shims answer by the directory: only real files are cached.
    key = json.dumps(
        [os.path.abspath(python), os.path.realpath(python), status.st_mtime_ns, status.st_size, _QUESTIONS]
    )
    if os.path.basename(os.path.dirname(python)) == "shims":
        return query(python)
    path = os.path.join(cache_directory(), "interpreters", hashlib.sha256(key.encode()).hexdigest()[:32] + ".json")
    try:
        with open(path, "rb") as reader:
            return Interpreter.from_json(parse_json(reader.read()))
    except (OSError, ValueError, KeyError, TypeError):
        interpreter = query(python)
        disk.publish_if_changed(path, json.dumps(interpreter.as_json()).encode())
        return interpreter
