"""Commit a prepared project to an environment, whole or not at all.

PREPARED is the directory that `interlock prepare --output` made. The environment's lock is held for the commit alone;
requirements are checked under it, and no index is ever asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interlock.durable import Disk
from interlock.prepared import load_prepared
from interlock.stamp import write_depfile, write_stamp
from interlock.transaction import commit

if TYPE_CHECKING:
    import argparse

    from interlock.prepared import Prepared
    from interlock.transaction import Receipt

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock install`."""
    parser.add_argument("prepared", metavar="PREPARED")
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    add_check_arguments(parser)
    parser.add_argument("--stamp", metavar="FILE", help="write a receipt, if what it says has changed")
    parser.add_argument("--depfile", metavar="FILE", help="write a depfile: the installed RECORD")


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say which requirements are checked when."""
    for name, text in (
        ("--defer", "a requirement in the same dependency cycle, checked later"),
        ("--verify", "a member of the cycle that is complete now: check its requirements"),
        ("--any-version", "a requirement whose version is not checked"),
    ):
        parser.add_argument(name, action="append", default=[], metavar="NAME", help=text)


def run(arguments: argparse.Namespace) -> int:
    """Commit, write the stamp, and say what happened where no stamp was asked for."""
    disk = Disk(arguments.durability)
    # Before anything is read: an edit made meanwhile must be newer than the stamp.
    started_ns = disk.clock_ns(os.path.dirname(arguments.stamp) or ".") if arguments.stamp else 0
    prepared = load_prepared(arguments.prepared)
    receipt = commit_prepared(prepared, arguments, disk)
    if arguments.depfile:
        # Where another tool replaces or removes what this edge installed, Ninja runs the edge again.
        record = os.path.join(prepared.environment, *prepared.dist_info.split("/"), "RECORD")
        write_depfile(arguments.depfile, arguments.stamp or arguments.prepared, [relative(record)], disk=disk)
    if arguments.stamp:
        write_stamp(arguments.stamp, receipt.as_stamp(), started_ns=started_ns, disk=disk)
    else:
        print(f"{'installed' if receipt.changed else 'unchanged'} {receipt.name} {receipt.version}")
    return 0


def commit_prepared(prepared: Prepared, arguments: argparse.Namespace, disk: Disk) -> Receipt:
    """Commit with the options that a command line has."""
    return commit(
        prepared,
        arguments.venv,
        disk=disk,
        defer=arguments.defer,
        verify=arguments.verify,
        any_version=arguments.any_version,
        timeout=arguments.lock_timeout,
    )


def relative(path: str) -> str:
    """Spell a path as Ninja files do: relative to here where that is possible."""
    try:
        return os.path.relpath(path).replace(os.sep, "/")
    except ValueError:  # another drive, on Windows
        return path.replace(os.sep, "/")
