"""Run a project's build backend for an editable install, outside any lock on the environment.

DIR is the project. The directory that --output names gets the final bytes of everything that `interlock install` then
puts into the environment; it is replaced whole, and only where its content would differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.distribution import normalize
from interlock.engine import go_offline
from interlock.environment import open_environment
from interlock.errors import MetadataError, UsageError
from interlock.prepare import BuildOptions, prepare
from interlock.workspace_names import read_workspace_names

if TYPE_CHECKING:
    import argparse

    from interlock.hooks import ConfigSettings
    from interlock.prepare import PrepareResult

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock prepare`."""
    parser.add_argument("directory", metavar="DIR", help="the project's directory")
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    parser.add_argument("--output", required=True, metavar="DIR", help="where to put what was prepared")
    parser.add_argument(
        "--project", metavar="NAME", help="the name that it must have: a build file that says another is wrong"
    )
    add_build_arguments(parser)
    add_receipt_arguments(parser)


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
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
        "--extra", action="append", default=[], metavar="NAME", help="an extra whose requirements must be installed too"
    )
    parser.add_argument(
        "--build-constraint", action="append", default=[], metavar="FILE", help="constraints for build requirements"
    )
    add_workspace_argument(parser)
    parser.add_argument(
        "--no-build-isolation", action="store_true", help="run the backend that is installed in the environment"
    )
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
    edge.finish(receipt, result.inputs, f"prepared {prepared.name} {prepared.version}: {len(prepared.files)} files")
    return 0


def prepare_from(arguments: argparse.Namespace, output: str, edge: Run) -> PrepareResult:
    """Prepare with the options that a command line has."""
    if arguments.offline:
        go_offline()
    return prepare(
        arguments.directory,
        output,
        open_environment(arguments.venv),
        options=BuildOptions(
            config_settings=config_settings(arguments.config_settings),
            constraints=tuple(arguments.build_constraint),
            workspace=read_workspace_names(arguments.workspace) if arguments.workspace else {},
            names_file=arguments.workspace or "",
            isolation=not arguments.no_build_isolation,
            engine=arguments.engine,
        ),
        extras=arguments.extra,
        disk=edge.disk,
        timeout=arguments.lock_timeout,
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
