"""What the commands have in common that run build backends: their arguments, and what these say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interlock.engine import go_offline
from interlock.environment import open_environment
from interlock.errors import UsageError
from interlock.interpreter import find_interpreter
from interlock.prepare import BuildOptions
from interlock.workspace_names import read_workspace_names

if TYPE_CHECKING:
    import argparse

    from interlock.durable import Disk
    from interlock.hooks import ConfigSettings
    from interlock.interpreter import Interpreter

__all__ = [
    "add_backend_arguments",
    "add_interpreter_arguments",
    "add_offline_argument",
    "add_workspace_argument",
    "build_options",
    "chosen_interpreter",
    "config_settings",
]


def add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say how a project is built."""
    parser.add_argument(
        "-C",
        "--config-setting",
        dest="config_settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for the build backend; a key given again makes a list",
    )
    parser.add_argument(
        "--build-constraint", action="append", default=[], metavar="FILE", help="constraints for build requirements"
    )
    add_workspace_argument(parser)
    parser.add_argument(
        "--engine", choices=("auto", "uv", "pip"), default="auto", help="what installs build requirements"
    )
    add_offline_argument(parser)


def add_offline_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --offline."""
    parser.add_argument(
        "--offline", action="store_true", help="fetch nothing: what is needed must be installed or cached"
    )


def add_workspace_argument(parser: argparse.ArgumentParser) -> None:
    """Declare --workspace."""
    parser.add_argument(
        "--workspace",
        metavar="FILE",
        help="names and directories of the workspace's projects (as `interlock gen` writes them): what is needed of these "
        "for a build is built from its directory, and no index is asked for it",
    )


def add_interpreter_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Declare --python and --venv, of which one is given, or none if they are not required."""
    which = parser.add_mutually_exclusive_group(required=required)
    default = "" if required else "; default: any that is there, else the one that runs interlock"
    which.add_argument("--python", metavar="SPEC", help=f"the interpreter: a version or a path{default}")
    which.add_argument("--venv", metavar="PATH", help="an environment: its interpreter")


def chosen_interpreter(arguments: argparse.Namespace, disk: Disk) -> Interpreter:
    """Return the interpreter that --python or --venv names.

    Raises:
        InterpreterNotFound, NotAnEnvironment: there is none.
    """
    if arguments.venv:
        return open_environment(arguments.venv).interpreter
    return find_interpreter(arguments.python, root=os.getcwd(), disk=disk)


def build_options(arguments: argparse.Namespace, *, isolation: bool = True) -> BuildOptions:
    """Return what the arguments say of a build; with --offline, nothing is fetched from here on."""
    if arguments.offline:
        go_offline()
    return BuildOptions(
        config_settings=config_settings(arguments.config_settings),
        constraints=tuple(arguments.build_constraint),
        workspace=read_workspace_names(arguments.workspace) if arguments.workspace else {},
        names_file=arguments.workspace or "",
        isolation=isolation,
        engine=arguments.engine,
    )


def config_settings(words: list[str]) -> ConfigSettings:
    """Read KEY=VALUE words as pip does: a key that comes again has a list of values.

    Raises:
        UsageError: a word without "=".
    """
    settings: ConfigSettings = {}
    for word in words:
        key, value = _pair(word, "-C", "KEY=VALUE")
        there = settings.get(key)
        if there is None:
            settings[key] = value
        else:
            settings[key] = [*([there] if isinstance(there, str) else there), value]
    return settings


def _pair(word: str, option: str, form: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UsageError(f"{option} {word!r} is not {form}", advice=f"Write {option} {form}.")
    return key, value
