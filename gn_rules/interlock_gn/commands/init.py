"""Put the GN templates into a source tree, and say what to add to its .gn.

The templates are copied into --dir, to be committed with the tree, where all who build it have the same ones. With --link that
directory imports those of the interlock that is installed on this machine. The .gn itself is not edited.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from interlock import __version__
from interlock.durable import Disk
from interlock_gn import dotfile, vendored
from interlock_gn.source_tree import DOTFILE, find_source_root

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from interlock_gn.dotfile import Line
    from interlock_gn.vendored import Changes

VENV = "//build/venv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock gn init`."""
    add_tree_arguments(parser, "where the templates go")
    parser.add_argument("--link", action="store_true", help="import the installed templates instead of copying them")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object")


def add_tree_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare --root and --dir; `what` says what the directory is."""
    parser.add_argument(
        "--root", default=os.curdir, metavar="DIR", help="the source tree (default: where a .gn is, going up from here)"
    )
    parser.add_argument(
        "--dir",
        default=vendored.DEFAULT_DIRECTORY,
        metavar="DIR",
        help=f"{what} (default: {vendored.DEFAULT_DIRECTORY})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the templates; print what was done and what is left to do by hand."""
    root = find_source_root(arguments.root)
    directory = vendored.locate(root, arguments.dir)
    changes = vendored.initialise(root, directory, link=arguments.link, disk=Disk())
    lines = dotfile.missing_lines(root, dotfile.running_program(sys.argv[0]))
    example = first_build_file(changes.directory)
    wanted = not os.path.exists(os.path.join(root, *VENV[2:].split("/"), "BUILD.gn"))
    if arguments.format == "json":
        print(json.dumps(_as_json(root, changes, lines, example if wanted else None), indent=1))
    else:
        print("\n".join(_as_text(root, changes, lines, example if wanted else None)))
    return 0


def first_build_file(directory: str) -> str:
    """Return the text of //build/venv/BUILD.gn for a tree without projects yet; `directory` has the templates."""
    return (
        f'import("{directory}/interlock.gni")\n'
        "\n"
        'interlock_venv("venv") {\n'
        '  path = "//.venv"\n'
        "\n"
        '  # Labels of interlock_project: "//my.core-package"\n'
        "  projects = []\n"
        "}\n"
    )


def _as_text(root: str, changes: Changes, lines: Sequence[Line], example: str | None) -> Iterable[str]:
    yield _done(changes)
    if lines:
        yield f"\nAdd at the end of {os.path.join(root, DOTFILE)}:\n"
        for line in lines:
            yield _indented(line.text) + (f"  # instead of {line.current}" if line.current else "")
    if example:
        yield f"\nThe first file to write is {VENV}/BUILD.gn:\n"
        yield _indented(example)
        yield f'Name it in a target of //BUILD.gn: deps = [ "{VENV}" ]'
        yield "Or let `interlock gn gen` write it, and one for each project."


def _done(changes: Changes) -> str:
    what = "a link to the templates" if changes.linked else "the templates"
    if changes.written or changes.removed:
        return f"{changes.directory}: {what} of interlock {__version__}, {_number(changes.written)} written"
    return f"{changes.directory}: {what} of interlock {__version__}, there already"


def _number(names: Sequence[str]) -> str:
    return f"{len(names)} file{'' if len(names) == 1 else 's'}"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.split("\n"))


def _as_json(root: str, changes: Changes, lines: Sequence[Line], example: str | None) -> dict[str, object]:
    return {
        "root": root,
        "directory": changes.directory,
        "version": __version__,
        "linked": changes.linked,
        "written": list(changes.written),
        "removed": list(changes.removed),
        "dotfile": [{"name": line.name, "text": line.text, "current": line.current or None} for line in lines],
        "build_file": {"path": f"{VENV}/BUILD.gn", "text": example} if example else None,
    }
