"""The command `interlock`: finds a sub-command by name and turns errors into one message and an exit code.

A sub-command's module is imported only when it is asked for, so that an edge never loads the generator.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import os
import sys
from typing import TYPE_CHECKING

from interlock import __version__
from interlock.errors import InterlockError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = ["COMMANDS", "main"]

# name: (module, help); the order is that of `interlock --help`.
COMMANDS = {
    "build": ("interlock_ninja.commands.build", "generate what is out of date, then build with Ninja"),
    "sync": ("interlock_ninja.commands.sync", "generate what is out of date, then build without Ninja"),
    "gen": ("interlock_ninja.commands.gen", "write build.ninja for the workspace"),
    "projects": (
        "interlock_ninja.commands.projects",
        "show the projects of the workspace, and what was skipped and why",
    ),
    "venv": ("interlock.commands.venv", "create an environment, or keep it, or replace it"),
    "build-env": ("interlock.commands.build_env", "create the cached build environment of a set of build requirements"),
    "requirements": ("interlock.commands.requirements", "install third-party requirements into an environment"),
    "prepare": (
        "interlock.commands.prepare",
        "run a project's build backend for an editable install, outside any lock",
    ),
    "install": ("interlock.commands.install", "commit a prepared project to an environment, whole or not at all"),
    "editable": ("interlock.commands.editable", "prepare and install in one"),
    "wheel": ("interlock.commands.wheel", "build a wheel of a project to give away, not editable"),
    "uninstall": ("interlock.commands.uninstall", "remove distributions from an environment"),
    "list": ("interlock.commands.list", "list what is installed in an environment"),
    "check": ("interlock.commands.check", "verify an environment: files, dependencies, stamps"),
    "doctor": ("interlock_gn.commands.doctor", "try out the file system, and say which programs are here"),
    "run": ("interlock.commands.run", "run a command in an environment"),
    "lock status": ("interlock.commands.lock", "show who holds the locks of an environment, and who waits"),
    "worker status": ("interlock.commands.worker_status", "show the processes that run edges and hooks of builds"),
    "worker stop": ("interlock.commands.worker_stop", "tell those processes to end"),
    "gn init": (
        "interlock_gn.commands.init",
        "put the GN templates into a source tree, and say what to add to its .gn",
    ),
    "gn update": ("interlock_gn.commands.update", "bring the GN templates of a source tree up to date with interlock"),
    "gn gen": ("interlock_gn.commands.gen", "write a BUILD.gn for each project of the workspace"),
    "gn check": (
        "interlock_gn.commands.check",
        "find requirements between projects that BUILD.gn files do not declare",
    ),
    "cache": ("interlock.commands.cache", "look after the cache"),
}
HELP_WIDTH = 100
USAGE_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code (docs/reference/exit-codes.md)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in {"-h", "--help", "help"}:
        sys.stdout.write(_overview())
        return 0 if words else USAGE_ERROR
    if words[0] in {"-V", "--version"}:
        sys.stdout.write(f"interlock {__version__}\n")
        return 0
    name, rest = _command(words)
    if name not in COMMANDS:
        return _not_a_command(name, rest)
    try:
        return _run(name, rest)
    except InterlockError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing is left half-done", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output went away (`interlock list | head`): not an error of ours, and nobody to tell.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'the operating system'}: {error.strerror or error}", 74)
    except Exception as error:  # noqa: BLE001  a bug of ours: say where, and what to do about it
        return _fail(_bug(error), 1)


def _command(words: list[str]) -> tuple[str, list[str]]:
    """Split a command line into the name of a command, of one word or two, and its arguments."""
    two = " ".join(words[:2])
    return (two, words[2:]) if two in COMMANDS else (words[0], words[1:])


def _not_a_command(name: str, rest: list[str]) -> int:
    """Say which commands there are: all that start with this word, if any do."""
    if not any(known.startswith(f"{name} ") for known in COMMANDS):
        sys.stderr.write(_unknown(name))
        return USAGE_ERROR
    if not rest or rest[0] in {"-h", "--help"}:
        sys.stdout.write(_overview(f"{name} "))
        return 0 if rest else USAGE_ERROR
    sys.stderr.write(_unknown(f"{name} {rest[0]}"))
    return USAGE_ERROR


def _run(name: str, words: list[str]) -> int:
    module: ModuleType = importlib.import_module(COMMANDS[name][0])
    parser = argparse.ArgumentParser(
        prog=f"interlock {name}",
        description=(module.__doc__ or "").strip(),
        # A width of our own: argparse asks the terminal through shutil, which costs an edge milliseconds.
        formatter_class=functools.partial(argparse.RawDescriptionHelpFormatter, width=HELP_WIDTH),
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    if getattr(module, "COMMON", False):
        _add_common(parser)
    try:
        arguments = parser.parse_args(words)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else USAGE_ERROR
    if name != "run":
        # Engines, build backends and Ninja make files too: no more than ours are they to be writable for everybody.
        os.umask(os.umask(0o077) | 0o002)
    result: int = module.run(arguments)
    return result


def _add_common(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--lock-timeout",
        type=float,
        metavar="SECONDS",
        help="give up when a lock is not had by then (exit code 30); default INTERLOCK_LOCK_TIMEOUT, else wait",
    )
    group.add_argument(
        "--durability",
        choices=("full", "fast"),
        default=os.environ.get("INTERLOCK_DURABILITY") or "full",
        help="fast skips fsync, for machines that are thrown away (default: INTERLOCK_DURABILITY, else full)",
    )


def _overview(prefix: str = "") -> str:
    lines = [f"usage: interlock {prefix}COMMAND ...", "", "Parallel editable installs for Ninja and GN builds.", ""]
    lines += [f"  {name:<13} {text}" for name, (_, text) in COMMANDS.items() if name.startswith(prefix)]
    lines += ["", "interlock COMMAND --help says more; --version prints the version."]
    return "\n".join(lines) + "\n"


def _unknown(word: str) -> str:
    import difflib

    near = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"interlock: error: there is no command {word!r}{hint}\n  `interlock --help` lists them.\n"


def _bug(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return (
        f"{type(error).__name__}{where}: {error}\n"
        f"  This is a bug in interlock {__version__}; please report this line with the command that you ran."
    )


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"interlock: error: {message}\n")
    return code
