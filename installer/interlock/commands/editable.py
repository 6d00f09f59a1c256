"""Prepare and install in one: the editable install of a project, for builds that have one edge for it.

Takes the place of `uv pip install -e DIR`. The backend runs outside the environment's lock; requirements of the project must be
installed already, and no index is asked for them.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from interlock.cache import cache_directory
from interlock.commands.install import add_check_arguments, commit_prepared, describe, installed_record
from interlock.commands.prepare import add_build_arguments, prepare_from
from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.environment import open_environment
from interlock.staging import collect

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock editable`."""
    parser.add_argument("directory", metavar="DIR", help="the project's directory")
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    add_build_arguments(parser)
    add_check_arguments(parser)
    add_receipt_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prepare in the cache, commit, leave the receipt of the install.

    Not in the environment: a backend takes its time, and an environment that goes away meanwhile must not come back as a
    directory with nothing in it but this.
    """
    edge = Run.start(arguments)
    open_environment(arguments.venv)
    prepared = os.path.join(cache_directory(), "prepared")
    collect(prepared, disk=edge.disk, by_process=False)
    output = os.path.join(prepared, f"{os.getpid()}-{secrets.token_hex(8)}")
    try:
        result = prepare_from(arguments, output, edge)
        edge = edge.at(result.settled_ns)
        if edge.started_ns:
            # The installed RECORD keeps this time: as an input of this very edge it must not be newer than its start.
            edge.disk.set_mtime(output, edge.started_ns)
        receipt = commit_prepared(result.prepared, arguments, edge.disk)
    finally:
        edge.disk.remove_tree(output)
    edge.finish(receipt.as_stamp(), [*result.inputs, installed_record(result.prepared)], describe(receipt))
    return 0
