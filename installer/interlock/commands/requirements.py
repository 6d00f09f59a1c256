"""Install third-party requirements into an environment, with uv or pip.

What the files say is met when this ends; what was met already stays as it is. Names in the --private file (the projects of
a workspace) are never asked of an index: lines that name one are left to the edges that install them, and what a third-party
distribution requires of one is not looked up. The engine's output is shown only when it fails.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from interlock.commands.backends import add_offline_argument
from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.engine import go_offline
from interlock.requirements import install_requirements

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock requirements`."""
    again: Any = {"action": "append", "default": [], "metavar": "FILE"}
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    parser.add_argument("-r", "--requirement", help="a requirements file (as pip reads it)", **again)
    parser.add_argument("-c", "--constraint", help="a constraints file", **again)
    parser.add_argument(
        "--engine",
        choices=("auto", "uv", "pip"),
        default="auto",
        help="what resolves and installs; auto (the default) is uv where there is one, else pip",
    )
    parser.add_argument(
        "--private",
        metavar="FILE",
        help="names that no index may be asked for, one on a line (what follows a tab is not read)",
    )
    parser.add_argument(
        "--directory",
        metavar="DIR",
        default="",
        help="where relative paths in the files start (default: here, as for pip)",
    )
    add_offline_argument(parser)
    add_receipt_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Install them; then the receipt."""
    if arguments.offline:
        go_offline()
    edge = Run.start(arguments, os.path.dirname(os.path.realpath(arguments.venv)))
    done = install_requirements(
        arguments.venv,
        arguments.requirement,
        arguments.constraint,
        engine=arguments.engine,
        private=arguments.private,
        directory=arguments.directory,
        disk=edge.disk,
        lock_timeout=arguments.lock_timeout,
    )
    line = (
        "no requirements to install"
        if done.engine == "none"
        else f"requirements of {arguments.venv} are met ({done.engine})"
    )
    edge.finish(done.as_stamp(), done.inputs, line)
    return 0
