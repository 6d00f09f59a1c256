"""Look after the cache: build environments, and what build backends made and said.

    interlock cache dir                         print where the cache is
    interlock cache prune [--older-than DAYS]   delete build environments that were not used for some days (30),
                                                and wheels and answers of backends that are as old
    interlock cache clean                       delete all of them, and what is known about interpreters

An environment is deleted under its lock, never while a build uses it: prune leaves it then, clean waits. What is deleted
is made again when it is needed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interlock.build_environment import remove_unused
from interlock.cache import cache_directory
from interlock.durable import Disk

if TYPE_CHECKING:
    import argparse

COMMON = True

DAYS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock cache`."""
    parser.add_argument("action", choices=("dir", "prune", "clean"))
    parser.add_argument(
        "--older-than", type=float, default=DAYS, metavar="DAYS", help="prune: days without use (default: %(default)g)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the directory, or delete and say how much."""
    if arguments.action == "dir":
        print(cache_directory())
        return 0
    disk = Disk(arguments.durability)
    older_than = arguments.older_than if arguments.action == "prune" else None
    removed = remove_unused(older_than, disk=disk, timeout=arguments.lock_timeout)
    if arguments.action == "clean":
        disk.remove_tree(os.path.join(cache_directory(), "interpreters"))
    print(f"deleted {len(removed)} build environment{'' if len(removed) == 1 else 's'}")
    return 0
