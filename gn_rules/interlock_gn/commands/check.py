"""Find what the targets of a GN tree do not say of their projects, without building anything; exit with 1 if there is any.

OUT is a directory that `gn gen` was run for. The BUILD.gn files are read as they are now. For each environment: does
each interlock_project declare what its metadata requires of others, under the right name; and can Ninja read the names
of all actions? With --fix, the missing python_deps are added to the BUILD.gn files, and all is checked again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interlock.durable import Disk
from interlock.errors import ConfigurationError
from interlock_gn.check import check_tree
from interlock_gn.edit import statement
from interlock_gn.gn_program import open_out
from interlock_gn.repair import BuildFiles, Repair, mend, restore_and_explain

if TYPE_CHECKING:
    import argparse

    from interlock_gn.check import Checked, Problem
    from interlock_gn.gn_program import Evaluation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock gn check`."""
    parser.add_argument("out", metavar="OUT", help="the out directory")
    parser.add_argument("--gn", metavar="PROGRAM", help="the GN to ask (default: the one that made OUT)")
    parser.add_argument("--fix", action="store_true", help="edit the BUILD.gn files")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object")


@dataclass(frozen=True, slots=True)
class _Outcome:
    checked: Checked
    files: BuildFiles
    repair: Repair


def run(arguments: argparse.Namespace) -> int:
    """Check, mend if asked to, and print what is left."""
    disk = Disk("full")
    gn = open_out(arguments.out, arguments.gn)
    outcome = _Outcome(check_tree(gn, disk=disk, progress=_tell), BuildFiles(gn), Repair())
    if arguments.fix:
        outcome = _fixed(gn, outcome, disk)
    if arguments.format == "json":
        print(json.dumps(_as_json(outcome), indent=1))
    else:
        _print(outcome, fix=arguments.fix)
    return 1 if outcome.checked.problems else 0


def _fixed(gn: Evaluation, outcome: _Outcome, disk: Disk) -> _Outcome:
    repair = mend(outcome.files, outcome.checked.problems, disk=disk)
    if not repair.made:
        return _Outcome(outcome.checked, outcome.files, repair)
    try:
        checked = check_tree(gn, disk=disk, progress=_tell)
    except ConfigurationError as error:
        raise restore_and_explain(repair, error, disk) from None
    return _Outcome(checked, BuildFiles(gn), repair)


def _print(outcome: _Outcome, *, fix: bool) -> None:
    for file, additions in outcome.repair.made.items():
        for each in additions:
            print(f"{file}: fixed {each.target}: {each.variable} has {', '.join(each.values)} too")
    for problem in outcome.checked.problems:
        _print_problem(problem, outcome)
        if fix and problem.additions:
            why = outcome.repair.refused.get(problem.target, "what was added did not help")
            print(f"  Not fixed: {why}")
    for note in outcome.checked.notes:
        _print_problem(note, outcome, kind="note: ")
    targets = outcome.checked.targets
    print(
        f"{_count(len(targets.projects), 'project')} in {_count(len(targets.venvs), 'environment')}: "
        f"{_count(len(outcome.checked.problems), 'problem') if outcome.checked.problems else 'no problems'}"
    )


def _print_problem(problem: Problem, outcome: _Outcome, kind: str = "") -> None:
    place = outcome.files.place(problem.target)
    where = f"{place.file}:{place.line}: " if place.line else f"{place.file}: " if place.file else ""
    print(f"{where}{kind}{problem.message}")
    for line in problem.details:
        print(f"  {line}")
    for line in outcome.files.lines(problem):
        print(f"  Add to it: {line}")


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    targets = outcome.checked.targets
    return {
        "out": outcome.files.gn.out,
        "root": outcome.files.gn.root,
        "environments": [
            {
                "label": venv.label,
                "path": venv.path,
                "projects": sorted(each.label for each in targets.projects.values() if each.venv == venv.label),
            }
            for _, venv in sorted(targets.venvs.items())
        ],
        "problems": [_problem_as_json(problem, outcome) for problem in outcome.checked.problems],
        "notes": [_problem_as_json(note, outcome) for note in outcome.checked.notes],
        "fixed": [
            {"file": file, "target": each.target, "line": statement(each, defined=True)}
            for file, additions in outcome.repair.made.items()
            for each in additions
        ],
    }


def _problem_as_json(problem: Problem, outcome: _Outcome) -> dict[str, Any]:
    place = outcome.files.place(problem.target)
    return {
        "kind": problem.kind,
        "target": problem.target,
        "file": place.file,
        "line": place.line,
        "message": problem.message,
        "details": list(problem.details),
        "add": outcome.files.lines(problem),
        "not_fixed": outcome.repair.refused.get(problem.target, ""),
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _tell(line: str) -> None:
    print(f"interlock: {line}", file=sys.stderr, flush=True)
