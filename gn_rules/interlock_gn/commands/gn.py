"""GN: templates for BUILD.gn files, and BUILD.gn files made from the workspace."""

from __future__ import annotations

import functools
import importlib
from argparse import RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

from interlock.cli import HELP_WIDTH

if TYPE_CHECKING:
    import argparse

SUBCOMMANDS = {
    "init": "put the templates into a GN source tree, and say what to add to its .gn",
    "update": "bring the templates in a GN source tree up to those of this interlock",
    "gen": "write a BUILD.gn for each project of the workspace",
    "check": "find projects that require others which their targets do not declare",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sub-commands, each with the arguments of its own module."""
    commands = parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)
    for name, text in SUBCOMMANDS.items():
        module = importlib.import_module(f"interlock_gn.commands.{name}")
        sub = commands.add_parser(
            name,
            help=text,
            description=(module.__doc__ or "").strip(),
            formatter_class=functools.partial(RawDescriptionHelpFormatter, width=HELP_WIDTH),
            allow_abbrev=False,
        )
        module.add_arguments(sub)
        sub.set_defaults(run_subcommand=module.run)


def run(arguments: argparse.Namespace) -> int:
    """Run the sub-command."""
    result: int = arguments.run_subcommand(arguments)
    return result
