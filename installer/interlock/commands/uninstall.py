"""Remove distributions from an environment, each whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.durable import Disk
from interlock.transaction import uninstall

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock uninstall`."""
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="a distribution; one that is not installed is an error"
    )
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")


def run(arguments: argparse.Namespace) -> int:
    """Remove them, and name what was removed."""
    disk = Disk(arguments.durability)
    removed = uninstall(arguments.venv, arguments.names, disk=disk, timeout=arguments.lock_timeout)
    for distribution in removed:
        print(f"removed {distribution.normalized} {distribution.version}")
    return 0
