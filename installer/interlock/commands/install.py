"""Commit a prepared project to an environment, whole or not at all.

PREPARED is the file that `interlock prepare --output` made. The environment's lock is held for the commit alone;
requirements are checked under it, and no index is ever asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.errors import UsageError
from interlock.prepared import load_prepared
from interlock.transaction import commit

if TYPE_CHECKING:
    import argparse

    from interlock.declared import Declared
    from interlock.durable import Disk
    from interlock.prepared import Prepared
    from interlock.transaction import Receipt

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock install`."""
    parser.add_argument("prepared", metavar="PREPARED")
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    add_check_arguments(parser)
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="the labels of the workspace's projects, and what each declares, as `gn gen` writes them",
    )
    parser.add_argument("--label", help="the label of this project; what it requires of the workspace must be declared")
    parser.add_argument(
        "--declared", action="append", default=[], metavar="LABEL", help="a project, or group of them, that it declares"
    )
    add_receipt_arguments(parser)


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say which requirements are checked when."""
    for name, text in (
        ("--defer", "a requirement in the same dependency cycle, checked later"),
        ("--verify", "a member of the cycle that is complete now, as NAME or NAME[EXTRA,...]: check its requirements"),
        ("--any-version", "a requirement whose version is not checked"),
    ):
        parser.add_argument(name, action="append", default=[], metavar="NAME", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Commit, write the stamp, and say what happened where no stamp was asked for."""
    edge = Run.start(arguments)
    prepared = load_prepared(arguments.prepared)
    declared = _declared(arguments)
    receipt = commit_prepared(prepared, arguments, edge.disk, declared)
    # The command line has the labels; the members of a group are in the file alone.
    labels = [arguments.labels] if declared is not None and declared.groups else []
    # What it waited for, by files: Ninja 1.11 takes an edge whose stamp stays for one that ran before a phony input did.
    stamps = declared.stamps if declared is not None else ()
    edge.finish(receipt.as_stamp(), [installed_record(prepared), *labels, *stamps], describe(receipt))
    return 0


def _declared(arguments: argparse.Namespace) -> Declared | None:
    if not arguments.label:
        return None
    if not arguments.labels:
        raise UsageError("--label without --labels", advice="--labels names the file with the labels of all projects.")
    from interlock.declared import read_declared

    return read_declared(arguments.labels, arguments.label, arguments.declared)


def commit_prepared(
    prepared: Prepared, arguments: argparse.Namespace, disk: Disk, declared: Declared | None = None
) -> Receipt:
    """Commit with the options that a command line has."""
    return commit(
        prepared,
        arguments.venv,
        disk=disk,
        defer=arguments.defer,
        verify=arguments.verify,
        any_version=arguments.any_version,
        declared=declared,
        timeout=arguments.lock_timeout,
    )


def installed_record(prepared: Prepared) -> str:
    """Return the installed RECORD: an input, because Ninja must run the edge again when another tool removes it."""
    return os.path.join(prepared.environment, *prepared.dist_info.split("/"), "RECORD")


def describe(receipt: Receipt) -> str:
    """Say in a line what a commit did."""
    return f"{'installed' if receipt.changed else 'unchanged'} {receipt.name} {receipt.version}"
