"""Run a project's build backend for an editable install, outside any lock on the environment.

DIR is the project. The file that --output names gets the final bytes of everything that `interlock install` then puts into
the environment; it is replaced whole, and only where its content would differ.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from interlock.commands.backends import add_backend_arguments, build_options
from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.distribution import normalize
from interlock.environment import open_environment
from interlock.errors import MetadataError
from interlock.prepare import prepare

if TYPE_CHECKING:
    import argparse

    from interlock.prepare import PrepareResult

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock prepare`."""
    parser.add_argument("directory", metavar="DIR", help="the project's directory")
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    parser.add_argument("--output", required=True, metavar="FILE", help="where to put what was prepared")
    parser.add_argument(
        "--project", metavar="NAME", help="the name that it must have: a build file that says another is wrong"
    )
    add_build_arguments(parser)
    add_receipt_arguments(parser)


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say how a project is built."""
    add_backend_arguments(parser)
    parser.add_argument(
        "--extra", action="append", default=[], metavar="NAME", help="an extra whose requirements must be installed too"
    )
    parser.add_argument(
        "--links",
        action="store_true",
        help="symbolic links in the place of a path on sys.path, where they can take it: interpreters start faster",
    )
    parser.add_argument(
        "--editable",
        choices=("backend", "static", "static-if-possible", "proof"),
        default="backend",
        help="static: write what the backend would have written, without running it; proof: do both, and compare",
    )
    parser.add_argument(
        "--no-build-isolation", action="store_true", help="run the backend that is installed in the environment"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prepare, then the receipt."""
    edge = Run.start(arguments)
    result = prepare_from(arguments, arguments.output, edge)
    prepared = result.prepared
    if arguments.project and normalize(arguments.project) != prepared.normalized:
        raise MetadataError(
            f"{arguments.directory} is called {prepared.name}, and the build file calls it {arguments.project}",
            advice=f'Name the target {prepared.name}, or give it project_name = "{prepared.name}".',
        )
    receipt = {"edge": "prepare", "project": prepared.name, "version": prepared.version, "digest": prepared.digest}
    line = f"prepared {prepared.name} {prepared.version}: {len(prepared.files)} files"
    line += f", {len(prepared.links)} links" if prepared.links else ""
    line += f", and no links: {result.why_not}" if result.why_not else ""
    line += f", by its backend: {result.not_static}" if result.not_static else ""
    edge.at(result.settled_ns).finish(receipt, result.inputs, line)
    return 0


def prepare_from(arguments: argparse.Namespace, output: str, edge: Run) -> PrepareResult:
    """Prepare with the options that a command line has."""
    return prepare(
        arguments.directory,
        output,
        open_environment(arguments.venv),
        options=replace(
            build_options(arguments, isolation=not arguments.no_build_isolation), editable=arguments.editable
        ),
        extras=arguments.extra,
        links=arguments.links,
        disk=edge.disk,
        timeout=arguments.lock_timeout,
    )
