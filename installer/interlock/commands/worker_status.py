"""Show the workers of this user: processes that have the code of edges, or of a build backend, loaded.

An edge finds them, or starts them; they end by themselves. INTERLOCK_WORKER=0 does without them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from interlock.workers import workers

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock worker status`."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: a list of objects")


def run(arguments: argparse.Namespace) -> int:
    """Print a worker a paragraph, or the JSON."""
    found = workers()
    if arguments.format == "json":
        print(json.dumps([asdict(worker) for worker in found], indent=1))
    else:
        print("\n".join(map(str, found)) or "no worker runs")
    return 0
