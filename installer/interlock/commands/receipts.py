"""What the edges have in common: --stamp and --depfile, and the line that is printed where neither is asked for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from interlock.durable import Disk
from interlock.stamp import relative_path, write_both, write_depfile, write_stamp

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping

__all__ = ["Run", "add_receipt_arguments"]


def add_receipt_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --stamp and --depfile."""
    parser.add_argument("--stamp", metavar="FILE", help="write a receipt, if what it says has changed")
    parser.add_argument("--depfile", metavar="FILE", help="write a depfile (Make syntax) of all files that were read")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an edge: the disk it works on, and the moment it started by that disk's clock (nanoseconds)."""

    arguments: argparse.Namespace
    disk: Disk
    started_ns: int

    @classmethod
    def start(cls, arguments: argparse.Namespace, directory: str = "") -> Run:
        """Sample the clock before anything is read; `directory` is on the file system in question if there is no stamp.

        Without either there is nothing whose time would matter, and nothing is touched.
        """
        disk = Disk(arguments.durability)
        if not arguments.stamp and not directory:
            return cls(arguments, disk, 0)
        where = os.path.dirname(arguments.stamp) if arguments.stamp else directory
        return cls(arguments, disk, disk.clock_ns(where or "."))

    def at(self, moment_ns: int) -> Run:
        """Return the same run with a later start: what was read has not changed up to that moment; 0 changes nothing."""
        return replace(self, started_ns=moment_ns) if self.started_ns and moment_ns else self

    def finish(
        self, receipt: Mapping[str, Any], inputs: Iterable[str], line: str, *, fixed: Iterable[str] = ()
    ) -> None:
        """Leave the depfile and then the stamp; print the line where there is no stamp.

        The depfile names `inputs` relative to the current directory, so that a build tool knows them, and `fixed` as they are:
        in a tree that was moved these are missing, and the edge runs again.
        """
        arguments, read = self.arguments, [*map(relative_path, inputs), *fixed]
        stamp, depfile = arguments.stamp, arguments.depfile
        if stamp and depfile:
            write_both(stamp, receipt, depfile, read, started_ns=self.started_ns, disk=self.disk)
        elif stamp:
            write_stamp(stamp, receipt, started_ns=self.started_ns, disk=self.disk)
        elif depfile:
            write_depfile(depfile, depfile.removesuffix(".d"), read, disk=self.disk)
        if stamp:
            return
        if sys.stdout is not None:
            sys.stdout.write(line + "\n")  # one write: many edges share a terminal
