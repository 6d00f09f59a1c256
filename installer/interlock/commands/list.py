"""List what is installed in an environment: name, version, and the project's directory where it is editable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.inventory import inventory

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock list`."""
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: a list of objects")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or the JSON."""
    entries = inventory(arguments.venv, timeout=arguments.lock_timeout)
    if arguments.format == "json":
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(entry) for entry in entries], indent=1))
        return 0
    names = max((len(entry.name) for entry in entries), default=0)
    versions = max((len(entry.version) for entry in entries), default=0)
    for entry in entries:
        print(f"{entry.name:<{names}}  {entry.version:<{versions}}  {entry.editable}".rstrip())
    return 0
