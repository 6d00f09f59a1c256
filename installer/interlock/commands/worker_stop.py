"""Tell the workers of this user to end: each finishes what it runs, and nobody finds it any more.

Ends when those have ended that had nothing to do. The next edge starts new ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.workers import stop_workers

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare that `interlock worker stop` has no arguments."""


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001  each command has this signature
    """Print a line for each worker."""
    for worker in stop_workers():
        jobs = worker.running + worker.waiting
        when = f"ends after {jobs} job{'s' * (jobs > 1)}" if jobs else "ended"
        print(f"{worker.runs} (pid {worker.pid}) {when}")
    return 0
