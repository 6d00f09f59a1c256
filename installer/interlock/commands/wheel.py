"""Build a wheel of a project to give away: not editable, with its own build backend.

The wheel is put into --output, in the place of older ones of the same project. Its bytes depend on the sources alone, unless
the backend says otherwise: SOURCE_DATE_EPOCH is set where you have not set it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from interlock.commands.backends import (
    add_backend_arguments,
    add_interpreter_arguments,
    build_options,
    chosen_interpreter,
)
from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.wheel_build import build_wheel

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock wheel`."""
    parser.add_argument("directory", metavar="DIR", help="the project's directory")
    parser.add_argument("--output", required=True, metavar="DIR", help="where to put the wheel")
    add_interpreter_arguments(parser, required=False)
    add_backend_arguments(parser)
    add_receipt_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Build the wheel, then the receipt."""
    edge = Run.start(arguments)
    # The outputs of this edge, and Ninja's directory with those of all others.
    own = [path for path in (arguments.stamp, arguments.depfile) if path]
    directories = map(os.path.dirname, map(os.path.abspath, [*own, *filter(os.path.exists, ["build.ninja"])]))
    built = build_wheel(
        arguments.directory,
        arguments.output,
        chosen_interpreter(arguments, edge.disk),
        options=build_options(arguments),
        apart=[*own, *directories],
        disk=edge.disk,
        timeout=arguments.lock_timeout,
    )
    edge = replace(edge, started_ns=max(edge.started_ns, built.started_ns))
    file = os.path.basename(built.path)
    receipt = {"edge": "wheel", "name": built.name, "version": built.version, "file": file, "sha256": built.sha256}
    edge.finish(receipt, built.inputs, f"built {built.path}")
    return 0
