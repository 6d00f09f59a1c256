"""Write <out>/build.ninja for the workspace, only if its text changed.

`ninja -C <out>` then builds the environments, and runs `interlock gen` again by itself when something that it read has
changed: a pyproject.toml, the configuration, a directory that may hold projects.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from interlock.durable import Disk
from interlock_ninja.generate import generate

if TYPE_CHECKING:
    import argparse

    from interlock_ninja.generate import Generated

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock gen`."""
    parser.add_argument("--root", help="the workspace's directory (default: found by walking up from here)")
    parser.add_argument("--strict", action="store_true", help="projects that cannot be read are errors, not warnings")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something would change")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print the summary")


def run(arguments: argparse.Namespace) -> int:
    """Generate, print the warnings and a one-line summary."""
    disk = Disk(arguments.durability)
    generated = generate(arguments.root, disk=disk, strict=arguments.strict, check=arguments.check, progress=tell)
    if arguments.format == "json":
        print(json.dumps(_as_json(generated), indent=1))
    else:
        warn(generated)
        print(summary(generated, check=arguments.check))
    return 1 if arguments.check and generated.changed else 0


def tell(line: str) -> None:
    """Show a line of progress to people."""
    print(f"interlock: {line}", file=sys.stderr, flush=True)


def warn(generated: Generated) -> None:
    """Print each warning on a line of its own."""
    for line in generated.warnings:
        print(f"interlock: warning: {line}", file=sys.stderr)


def summary(generated: Generated, *, check: bool) -> str:
    """Say in one line what was generated."""
    projects = len({node.project.directory for graph in generated.graphs for node in graph.nodes})
    environments = ", ".join(graph.environment.path for graph in generated.graphs)
    state = "unchanged" if not generated.changed else ("out of date" if check else "written")
    name = f"{generated.workspace.configuration.out}/build.ninja"
    return f"{name} {state}: {projects} projects, {len(generated.plan.edges)} edges, environment {environments}"


def _as_json(generated: Generated) -> dict[str, object]:
    return {
        "build_file": generated.build_file,
        "changed": list(generated.changed),
        "environments": [
            {"name": graph.environment.name, "path": graph.environment.path, "projects": len(graph.nodes)}
            for graph in generated.graphs
        ],
        "edges": len(generated.plan.edges),
        "warnings": list(generated.warnings),
    }
