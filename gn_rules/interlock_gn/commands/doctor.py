"""Look at this machine: what the file system can do, and which programs are here.

The file system of PATH is tried out in a private directory, which is removed again: locks (between processes, and after one
is killed), renames, syncs, links, names, times. Nothing else is changed. Each line is ok, a note, or a problem with advice; the
exit code is 1 where there is a problem.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from interlock.cache import cache_path
from interlock.environment import is_environment
from interlock.errors import ConfigurationError
from interlock.findings import Finding
from interlock.probes import probe_directory, umask
from interlock_gn.standing import look_at_cache, look_at_environment, nearest_directory
from interlock_gn.tools import look_at_tools
from interlock_ninja.config import load_configuration

if TYPE_CHECKING:
    import argparse

    from interlock_ninja.config import Configuration


@dataclass(frozen=True, slots=True)
class Section:
    """What was found at one place; `path` is "" for what is not at one."""

    title: str
    path: str
    findings: tuple[Finding, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock doctor`."""
    parser.add_argument(
        "path",
        nargs="?",
        metavar="PATH",
        help="where environment and out directory will be (default: the root of the workspace, else this directory)",
    )
    parser.add_argument(
        "--venv", metavar="PATH", help="look at this environment too: identity, locks, what was interrupted"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object")


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; 1 where anything is a problem."""
    sections = examine(arguments.path, arguments.venv)
    verdicts = [finding.verdict for section in sections for finding in section.findings]
    if arguments.format == "json":
        data = {"problems": verdicts.count("problem"), "notes": verdicts.count("note")}
        print(json.dumps({**data, "sections": [asdict(section) for section in sections]}, indent=1))
    else:
        print("\n\n".join(map(_as_text, sections)))
        print(f"\n{_count(verdicts.count('problem'), 'problem')}, {_count(verdicts.count('note'), 'note')}")
    return 1 if "problem" in verdicts else 0


def examine(path: str | None, environment: str | None) -> list[Section]:
    """Look at everything; each file system is tried once."""
    workspace, refusal = _workspace(path)
    start = os.path.abspath(path or (workspace.root if workspace else os.curdir))
    places = {"directory": start}
    if workspace is not None and path is None:
        places["out directory"] = nearest_directory(os.path.join(start, workspace.out))
        for each in workspace.environments:
            places[f"environment {each.name}"] = _parent(os.path.join(start, each.path))
    if environment is not None:
        places["environment"] = _parent(environment)
    places["cache"] = nearest_directory(cache_path())
    sections, devices = [], set[int]()
    for title, place in places.items():
        device = _device(place)
        if device is None or device not in devices:
            sections.append(Section(title, place, tuple(probe_directory(place))))
        devices.add(device or 0)
    specs = [(each.name, each.python) for each in workspace.environments if each.python] if workspace else []
    tools = [*look_at_tools(specs, root=start), *look_at_cache(), umask(), *refusal]
    sections.append(Section("programs", "", tuple(tools)))
    if environment is not None:
        sections.append(Section("environment", os.path.abspath(environment), tuple(look_at_environment(environment))))
    return sections


def _workspace(path: str | None) -> tuple[Configuration | None, list[Finding]]:
    try:
        return load_configuration(start=os.path.abspath(path or os.curdir)), []
    except ConfigurationError as error:
        # A GN build has none, and needs none.
        none = error.message.startswith("no workspace here")
        return None, [] if none else [Finding("workspace", "note", error.message, error.advice)]


def _parent(environment: str) -> str:
    """Return where an environment's lock is, and where it is made: the directory that it is in."""
    real = os.path.realpath(environment)
    # One that is a mount of its own has a file system of its own: there is nothing to be learned beside it.
    mounted = is_environment(real) and os.path.ismount(real)
    return real if mounted else nearest_directory(os.path.dirname(real))


def _device(path: str) -> int | None:
    try:
        return os.stat(path).st_dev
    except OSError:
        return None


def _as_text(section: Section) -> str:
    width = max(len(finding.topic) for finding in section.findings)
    lines = [f"{section.title}{f': {section.path}' if section.path else ''}"]
    for finding in section.findings:
        lines.append(f"  {finding.verdict:<7}  {finding.topic:<{width}}  {finding.text}")
        # Below the text, so that the first two columns can be read down.
        lines += [f"{'':<{width + 13}}{line}" for line in finding.advice.splitlines()]
    return "\n".join(lines)


def _count(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"
