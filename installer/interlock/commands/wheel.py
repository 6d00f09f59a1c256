"""Build a wheel of a project to give away: not editable, with its own build backend.

The wheel is put into --output, in the place of older ones of the same project. Its bytes depend on the sources alone, unless
the backend says otherwise: SOURCE_DATE_EPOCH is set where you have not set it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from interlock.commands.prepare import add_offline_argument, add_workspace_argument, config_settings
from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.engine import go_offline
from interlock.environment import open_environment
from interlock.interpreter import find_interpreter
from interlock.prepare import BuildOptions
from interlock.wheel_build import build_wheel
from interlock.workspace_names import read_workspace_names

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock wheel`."""
    parser.add_argument("directory", metavar="DIR", help="the project's directory")
    parser.add_argument("--output", required=True, metavar="DIR", help="where to put the wheel")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--python", metavar="SPEC", help="the interpreter: a version or a path; default: the one that runs interlock"
    )
    which.add_argument("--venv", metavar="PATH", help="an environment: its interpreter")
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
    add_receipt_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Build the wheel, then the receipt."""
    if arguments.offline:
        go_offline()
    edge = Run.start(arguments)
    if arguments.venv:
        interpreter = open_environment(arguments.venv).interpreter
    else:
        interpreter = find_interpreter(arguments.python, root=os.getcwd(), disk=edge.disk)
    # The outputs of this edge, and Ninja's directory with those of all others.
    own = [path for path in (arguments.stamp, arguments.depfile) if path]
    directories = map(os.path.dirname, map(os.path.abspath, [*own, *filter(os.path.exists, ["build.ninja"])]))
    built = build_wheel(
        arguments.directory,
        arguments.output,
        interpreter,
        options=BuildOptions(
            config_settings=config_settings(arguments.config_settings),
            constraints=tuple(arguments.build_constraint),
            workspace=read_workspace_names(arguments.workspace) if arguments.workspace else {},
            engine=arguments.engine,
        ),
        apart=[*own, *directories],
        disk=edge.disk,
        timeout=arguments.lock_timeout,
    )
    edge = replace(edge, started_ns=max(edge.started_ns, built.started_ns))
    file = os.path.basename(built.path)
    receipt = {"edge": "wheel", "name": built.name, "version": built.version, "file": file, "sha256": built.sha256}
    edge.finish(receipt, built.inputs, f"built {built.path}")
    return 0
