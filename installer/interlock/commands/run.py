"""Run a command in an environment, as if it were activated; its exit code is this command's.

A command that is a plain name is looked for among the environment's own scripts first, then on PATH. It starts when nobody
is changing the environment, and what a killed process left unfinished there is finished first. With --locked, nothing can
change the environment while the command runs (and it must not try to: it would wait for itself). With --depfile, the
command is Python, and every source file that it imports from below --root is an input of --target.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

from interlock.access import reading
from interlock.environment import open_environment
from interlock.errors import LockUnavailable, UsageError
from interlock.journal import journal_path
from interlock.locks import HELD_ABOVE, NOT_WRITABLE, environment_lock_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.environment import Environment

COMMON = True
NOT_FOUND = 127
NOT_EXECUTABLE = 126


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock run`."""
    parser.usage = (
        "interlock run --venv PATH [--locked] [--lock-timeout SECONDS] -- COMMAND [ARGUMENT ...]\n"
        "       interlock run --venv PATH [--locked] --depfile FILE --target FILE --root DIR\n"
        "                     -- python (-m MODULE | SCRIPT) [ARGUMENT ...]"
    )
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    parser.add_argument("--locked", action="store_true", help="hold the environment's lock, shared, while it runs")
    parser.add_argument(
        "--depfile", metavar="FILE", help="write a depfile (Make syntax) of the modules that were imported"
    )
    parser.add_argument("--target", metavar="FILE", help="what the depfile is for: the first output of the command")
    parser.add_argument("--root", metavar="DIR", help="modules below this directory are inputs")
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="the labels of the workspace's projects, as `gn gen` writes them; needs --declared",
    )
    parser.add_argument(
        "--declared",
        action="append",
        default=[],
        metavar="LABEL",
        help="a project that the command uses: the stamps of its install, and of what it requires, are inputs too",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND [ARGUMENT ...]", help="what to run")


def run(arguments: argparse.Namespace) -> int:
    """Become the command, or wait for it where that cannot be."""
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise UsageError("no command to run", advice="interlock run --venv PATH -- COMMAND [ARGUMENT ...]")
    if arguments.depfile:
        command = _watched(arguments, command)
    if arguments.locked:
        with reading(arguments.venv, timeout=arguments.lock_timeout) as environment:
            held = [environment_lock_path(environment.path), *filter(None, [os.environ.get(HELD_ABOVE)])]
            return _start(environment, command, wait=True, more={HELD_ABOVE: os.pathsep.join(held)})
    return _start(_look(arguments), command)


def _look(arguments: argparse.Namespace) -> Environment:
    """Return the environment, whole at this moment; who wants it to stay so, says --locked.

    One whose lock this user may not have (root's, without a lock file) is run in as it is found.
    """
    try:
        with reading(arguments.venv, timeout=arguments.lock_timeout) as environment:
            return environment
    except LockUnavailable as error:
        environment = open_environment(arguments.venv)
        refused = isinstance(error.__cause__, OSError) and error.__cause__.errno in NOT_WRITABLE
        if not refused or os.path.lexists(journal_path(environment.path)):
            raise
        return environment


def _watched(arguments: argparse.Namespace, command: list[str]) -> list[str]:
    """Return a command that runs the same program and writes the depfile."""
    if not arguments.target or not arguments.root:
        raise UsageError(
            "--depfile without --target and --root", advice="--target is the first output, --root the source tree."
        )
    if (
        command[0] not in {"python", "python3"}
        or len(command) < 2
        or (command[1][:1] == "-" and command[1:2] != ["-m"])
    ):
        raise UsageError(
            f"with --depfile, {' '.join(command[:2])!r} cannot be run: only a module or a script",
            advice="-- python -m MODULE [ARGUMENT ...], or -- python SCRIPT [ARGUMENT ...]",
        )
    if command[1] == "-m" and len(command) < 3:
        raise UsageError("python -m without a module", advice="-- python -m MODULE [ARGUMENT ...]")
    script = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "_imports_script.py")
    stamps: list[str] = []
    if arguments.labels:
        from interlock.declared import stamps_behind

        stamps = stamps_behind(arguments.labels, arguments.declared)
    words = [arguments.depfile, arguments.target, arguments.root, arguments.venv, "\n".join(stamps)]
    return [command[0], script, *words, *command[1:]]


def activated(environment: Environment, inherited: dict[str, str]) -> dict[str, str]:
    """Return the variables that a process in an activated environment has."""
    scripts = environment.absolute(environment.layout.scripts)
    path = inherited.get("PATH", "")
    variables = {**inherited, "VIRTUAL_ENV": environment.path, "PATH": scripts + (os.pathsep + path if path else "")}
    for name in ("PYTHONHOME", "VIRTUAL_ENV_PROMPT"):
        variables.pop(name, None)
    return variables


def _start(
    environment: Environment,
    command: list[str],
    *,
    wait: bool = sys.platform == "win32",
    more: Mapping[str, str] | None = None,
) -> int:
    variables = {**activated(environment, dict(os.environ)), **(more or {})}
    program = _program(command[0], variables["PATH"], environment)
    if program is None:
        sys.stderr.write(
            f"interlock: error: {command[0]}: no such command in {environment.path}, nor on PATH\n"
            f"  `interlock list --venv {environment.path}` shows what is installed there.\n"
        )
        return NOT_FOUND
    return become([program, *command[1:]], variables, wait=wait)


def become(command: list[str], variables: dict[str, str], *, wait: bool = sys.platform == "win32") -> int:
    """Become a command, or wait for it (always on Windows) and return its exit code.

    A process between the terminal and the command would have to pass on signals, and could end before it does.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if wait:
            return _wait(command, variables)
        os.execve(command[0], command, variables)  # noqa: S606 - to become the command is what this is for
    except OSError as error:
        sys.stderr.write(f"interlock: error: cannot run {command[0]}: {error.strerror}\n")
        return NOT_EXECUTABLE


def _program(name: str, path: str, environment: Environment) -> str | None:
    """Find what a command names: among the scripts, then on PATH; a path is taken as it is."""
    if os.path.dirname(name):
        return name if os.path.isfile(name) else shutil.which(name)
    # Not by PATH alone: an environment whose path has the separator of PATH in it works too.
    own = os.path.join(environment.absolute(environment.layout.scripts), name)
    return shutil.which(own, path=os.path.dirname(own)) or shutil.which(name, path=path)


def _wait(command: list[str], variables: dict[str, str]) -> int:
    import signal
    import subprocess

    # The terminal sends its interrupt to the child too: it decides what to do, and we report what it says. From before its
    # start on, and by a handler, which a child does not inherit; an interrupt that is ignored (nohup) stays so for both.
    previous = signal.getsignal(signal.SIGINT)
    if previous != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with subprocess.Popen(command, env=variables) as child:
            code = child.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    return 128 - code if code < 0 else code
