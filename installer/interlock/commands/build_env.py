"""Create the cached build environment of a set of build requirements, or find it.

There is one for each interpreter, set of requirements, contents of the constraint files and engine; it is made once,
however many ask at once. `interlock prepare` makes it too where this command has not been run: as an edge of its own it
is made before the first project needs it.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from interlock.build_environment import ensure, environment_inputs
from interlock.build_recipe import make_recipe
from interlock.commands.backends import (
    add_interpreter_arguments,
    add_offline_argument,
    add_workspace_argument,
    chosen_interpreter,
)
from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.engine import go_offline
from interlock.workspace_names import read_workspace_names

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock build-env`."""
    again = "append"
    parser.add_argument(
        "-r", "--require", action=again, default=[], metavar="REQUIREMENT", help="a build requirement (PEP 508)"
    )
    parser.add_argument(
        "--constraint", "--build-constraint", action=again, default=[], metavar="FILE", help="constraints for them"
    )
    add_workspace_argument(parser)
    add_interpreter_arguments(parser, required=True)
    parser.add_argument("--engine", choices=("auto", "uv", "pip"), default="auto", help="what installs them")
    add_offline_argument(parser)
    add_receipt_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Find or make it, then the receipt."""
    if arguments.offline:
        go_offline()
    edge = Run.start(arguments)
    interpreter = chosen_interpreter(arguments, edge.disk)
    recipe = make_recipe(
        arguments.require,
        interpreter=interpreter,
        constraints=arguments.constraint,
        local=read_workspace_names(arguments.workspace) if arguments.workspace else {},
        engine=arguments.engine,
    )
    environment = ensure(recipe, disk=edge.disk, timeout=arguments.lock_timeout)
    installed = json.dumps(environment.installed(), sort_keys=True)
    receipt = {
        "edge": "build-env",
        "key": environment.key,
        "installed": hashlib.sha256(installed.encode()).hexdigest(),
    }
    inputs = [*environment_inputs(environment, recipe), os.path.realpath(interpreter.executable)]
    edge.finish(receipt, inputs, f"build environment {environment.path}")
    return 0
