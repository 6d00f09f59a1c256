"""Bring the GN templates in a source tree up to those of this interlock.

Files that were edited by hand are not replaced, nor those that a newer interlock wrote: that is an error, and nothing is
written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock import __version__
from interlock.durable import Disk
from interlock_gn import vendored
from interlock_gn.commands.init import add_tree_arguments
from interlock_gn.source_tree import find_source_root

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from interlock_gn.vendored import Changes, Status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock gn update`."""
    add_tree_arguments(parser, "where the templates are")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something would change")


def run(arguments: argparse.Namespace) -> int:
    """Update, or with --check only compare, and print the outcome."""
    root = find_source_root(arguments.root)
    directory = vendored.locate(root, arguments.dir)
    if arguments.check:
        found = vendored.check(root, directory)
        print(_compared(found))
        return 0 if found.up_to_date else 1
    print("\n".join(_updated(vendored.update(root, directory, disk=Disk()))))
    return 0


def _compared(found: Status) -> str:
    if found.up_to_date:
        return f"{found.directory}: up to date with interlock {__version__}"
    if found.edited:
        return f"{found.directory}: edited by hand: {', '.join(found.edited)}"
    return found.warning


def _updated(changes: Changes) -> Iterable[str]:
    if not changes.written and not changes.removed and changes.previous == __version__:
        yield f"{changes.directory}: up to date with interlock {__version__}"
        return
    between = f"from {changes.previous} to {__version__}" if changes.previous != __version__ else f"to {__version__}"
    yield f"{changes.directory}: updated {between}"
    yield from (f"  written {name}" for name in changes.written)
    yield from (f"  removed {name}" for name in changes.removed)
