"""Create an environment, keep the one that is there, or replace it.

An environment that works and whose interpreter answers --python is kept, with all that is installed in it. One of another
interpreter, or a broken one, is replaced. It is built beside its place and renamed: any number of these commands may run at
once on one path, and no reader ever sees half an environment. There is no pip inside unless --seed asks for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.create import create_environment
from interlock.environment import identity_file

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock venv`."""
    parser.add_argument("path", metavar="PATH", help="the environment's directory")
    parser.add_argument(
        "--python",
        metavar="SPEC",
        help='"3.12", ">=3.11" or the path of an interpreter; default: any that is there, else the one that runs interlock',
    )
    parser.add_argument("--seed", action="store_true", help="put the interpreter's own pip into the environment")
    add_receipt_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Create, keep or replace; then the receipt."""
    path = os.path.realpath(arguments.path)
    edge = Run.start(arguments, os.path.dirname(path))
    environment, outcome = create_environment(
        path,
        python=arguments.python,
        seed=arguments.seed,
        disk=edge.disk,
        lock_timeout=arguments.lock_timeout,
        started_ns=edge.started_ns,
    )
    interpreter = environment.interpreter
    receipt = {
        "edge": "venv",
        "environment": environment.identity,
        "python": interpreter.markers["python_full_version"],
        "executable": os.path.realpath(interpreter.executable),
    }
    inputs = [
        os.path.join(environment.path, "pyvenv.cfg"),
        identity_file(environment.path),
        os.path.realpath(interpreter.executable),
    ]
    # An environment holds absolute paths: one that was moved, with all that tells of it, has to be made again.
    fixed = [identity_file(environment.path)]
    line = f"{outcome} {arguments.path} with {interpreter.implementation} {interpreter.version}"
    edge.finish(receipt, inputs, line, fixed=fixed)
    return 0
