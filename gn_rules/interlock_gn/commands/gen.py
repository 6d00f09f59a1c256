"""Write a BUILD.gn for each project of the workspace, and one with its environments.

The files call the templates that `interlock gn init` has put into the tree. They are written only if their text changes, and
removed when their project goes. A BUILD.gn that was written by hand is never touched: what it lacks is printed, and
the exit code is 1. Once they are there, Ninja runs this again when a pyproject.toml has changed, and GN after it.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from interlock.durable import Disk
from interlock.stamp import write_depfile
from interlock_gn.generate import Options, generate

if TYPE_CHECKING:
    import argparse

    from interlock_gn.generate import Generated


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock gn gen`."""
    default = Options()
    parser.add_argument("--root", help="the workspace's directory (default: found by walking up from here)")
    parser.add_argument(
        "--dir", default=default.templates, help="the directory of the templates (default: %(default)s)"
    )
    parser.add_argument(
        "--venv-dir",
        default=default.venv_dir,
        metavar="DIR",
        help="the directory whose BUILD.gn gets the environments (default: %(default)s)",
    )
    parser.add_argument("--single-file", action="store_true", help="put all projects into the BUILD.gn of --venv-dir")
    parser.add_argument("--strict", action="store_true", help="projects that cannot be read are errors, not warnings")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something would change")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="how to print the summary")
    parser.add_argument(
        "--stamp", metavar="FILE", help="touch this file if a BUILD.gn changed; print only errors and warnings"
    )
    parser.add_argument("--depfile", metavar="FILE", help="write a depfile (Make syntax) of all files that were read")


def run(arguments: argparse.Namespace) -> int:
    """Generate; print what was written and what is to be added by hand."""
    disk = Disk("full")
    # Sampled before anything is read: what is edited meanwhile is newer than that.
    started_ns = disk.clock_ns(os.path.dirname(arguments.stamp) or ".") if arguments.stamp else 0
    options = Options(arguments.dir, arguments.venv_dir, arguments.single_file, arguments.strict)
    generated = generate(arguments.root, disk=disk, options=options, check=arguments.check, progress=_tell)
    for path, text in generated.missing.items():
        print(
            f"interlock: error: {path} was written by hand and lacks what follows; add it:\n\n{text}", file=sys.stderr
        )
    if arguments.format == "json":
        shown = {name: value for name, value in asdict(generated).items() if name != "inputs"}
        print(json.dumps(shown, indent=1))
    else:
        for line in generated.warnings:
            print(f"interlock: warning: {line}", file=sys.stderr)
        if not arguments.stamp:
            _print(generated, check=arguments.check)
    if generated.missing:
        return 1
    if arguments.stamp:
        _finish(arguments, generated, disk, started_ns)
    return 1 if arguments.check and (generated.written or generated.removed) else 0


def _finish(arguments: argparse.Namespace, generated: Generated, disk: Disk, started_ns: int) -> None:
    """Leave the depfile, and tell by the time of the stamp whether GN must read the files again."""
    if arguments.depfile:
        # Absolute, unlike those of the other edges: a pyproject.toml is an input of its project's edges too, and what
        # build.ninja itself names may not be missing. For Ninja this is another file, and when it goes, that is a change.
        inputs = [path.replace(os.sep, "/") for path in generated.inputs]
        write_depfile(arguments.depfile, arguments.stamp, inputs, disk=disk)
    if generated.written or generated.removed:
        disk.set_mtime(arguments.stamp, started_ns)


def _print(generated: Generated, *, check: bool) -> None:
    for path in generated.written:
        print(f"{path} {'is out of date' if check else 'written'}")
    for path in generated.removed:
        print(f"{path} {'is of a project that is gone' if check else 'removed'}")
    if not generated.written and not generated.removed and not generated.missing:
        print(
            f"BUILD.gn files unchanged: {generated.projects} projects, environment {', '.join(generated.environments)}"
        )


def _tell(line: str) -> None:
    print(f"interlock: {line}", file=sys.stderr, flush=True)
