"""The programs that a build needs, and which of them are here: interlock itself, interpreters, engines, Ninja, GN."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import interlock
from interlock.engine import find_engine
from interlock.errors import ConfigurationError, EngineUnavailable, InterlockError, InterpreterNotFound
from interlock.findings import Finding
from interlock.interpreter import candidates, find_interpreter, query
from interlock_gn.gn_program import find_gn
from interlock_ninja.commands.build import ninja_program

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["look_at_tools"]

OLDEST_NINJA = (1, 11)
JOBSERVER_NINJA = (1, 13)
OLDEST_UV = (0, 8)
LIMIT = 60  # seconds, for a program to say its version


def look_at_tools(specs: Iterable[tuple[str, str]] = (), *, root: str = "") -> list[Finding]:
    """Say which programs are here, each with its version and where it is.

    `specs` are the interpreters that environments ask for, as (name of the environment, spec), relative to `root`.
    """
    return [
        own(),
        *interpreters(),
        *(wanted(name, spec, root) for name, spec in specs),
        *engines(),
        *ninjas(),
        gn(),
    ]


def own() -> Finding:
    """Say which interlock this is, and what runs it."""
    where = os.path.dirname(os.path.abspath(interlock.__file__))
    python = ".".join(map(str, sys.version_info[:3]))
    return Finding("interlock", "ok", f"{interlock.__version__}  {where}, run by Python {python} ({sys.executable})")


def interpreters() -> list[Finding]:
    """Say which interpreters are found where a version alone is asked for; there is always the one that runs this."""
    found, seen, passed = [], set[str](), []
    for path in candidates():
        try:
            interpreter = query(path)
        except InterpreterNotFound:
            passed.append(path)
            continue
        if (real := os.path.realpath(interpreter.executable)) not in seen:
            seen.add(real)
            name = "" if interpreter.implementation == "cpython" else f", {interpreter.implementation}"
            found.append(Finding("python", "ok", f"{interpreter.version}  {interpreter.executable}{name}"))
    if passed:
        text = f"passed over, as older than 3.8 or not running: {len(passed)}"
        found.append(Finding("python", "note", text, "\n".join(passed)))
    return found


def wanted(name: str, spec: str, root: str) -> Finding:
    """Say whether the interpreter that an environment asks for is here."""
    try:
        interpreter = find_interpreter(spec, root=root)
    except InterpreterNotFound as error:
        return Finding(f"environment {name}", "problem", error.message, error.advice)
    return Finding(f"environment {name}", "ok", f"asks for Python {spec}: {interpreter.executable}")


def engines() -> list[Finding]:
    """Say which engines are here; one is enough."""
    found = []
    for name in ("uv", "pip"):
        try:
            # pip may be that of the base interpreter.
            engine = find_engine(name, interpreter=None if name == "uv" else find_interpreter())
            version = engine.version()
        except (EngineUnavailable, InterpreterNotFound) as error:
            found.append(Finding(name, "note", error.message))
            continue
        program = engine.command[0] if name == "uv" else f"{engine.command[0]} -m pip"
        finding = Finding(name, "ok", f"{version}  {program}")
        if name == "uv" and numbers(version) < OLDEST_UV:
            finding = Finding(name, "note", finding.text, "interlock is tested with uv 0.8 and later.")
        found.append(finding)
    if not any(finding.text[:1].isdigit() for finding in found):
        advice = "Install one beside interlock: `pip install 'interlock[uv]'`."
        return [Finding(each.topic, "problem", each.text, advice) for each in found]
    return found


def ninjas() -> list[Finding]:
    """Say which Ninja `interlock build` runs, and which one is run by that name."""
    found = []
    try:
        bundled = ninja_program()
        found.append(ninja("ninja", bundled, "of `interlock build`"))
    except (ImportError, InterlockError) as error:
        bundled = ""
        found.append(Finding("ninja", "problem", str(error).splitlines()[0], "`pip install ninja` beside interlock."))
    other = shutil.which("ninja")
    if other and not (bundled and os.path.samefile(other, bundled)):
        found.append(ninja("ninja on PATH", other, "the one of GN builds"))
    return found


def ninja(topic: str, program: str, what: str) -> Finding:
    """Say whether a Ninja is new enough: the restat rules of edges need 1.11; 1.13 shares jobs with the tools below it."""
    version = version_of(program)
    text = f"{version or 'unknown'}  {program}, {what}"
    if numbers(version) < OLDEST_NINJA:
        return Finding(topic, "problem", text, "Ninja 1.11 or later is needed: `pip install ninja` brings one.")
    if numbers(version) < JOBSERVER_NINJA:
        return Finding(topic, "ok", f"{text}; no jobserver (1.13)")
    return Finding(topic, "ok", f"{text}; with jobserver")


def gn() -> Finding:
    """Say which GN is on PATH; builds without GN need none."""
    try:
        program = find_gn(None)
    except ConfigurationError as error:
        return Finding("gn", "note", f"{error.message}: only GN builds need it")
    version = version_of(program)
    if not version:
        return Finding(
            "gn", "note", f"{program} does not say its version", "Run `gn --version`; only GN builds need it."
        )
    return Finding("gn", "ok", f"{version}  {program}")


def version_of(program: str) -> str:
    """Return the first line that a program's --version prints; "" where it does not run."""
    try:
        done = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=LIMIT
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else []
    return lines[0].strip() if lines else ""


def numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version; () where it has none, which is older than any."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else ()
