"""Generate what is out of date, then build without Ninja: the same edges, with the same stamps and logs.

A Ninja that runs afterwards has no work to do, and neither has this after a Ninja. TARGET is a name of the graph:
`<env>__venv`, `<env>__requirements`, `<project>__editable_install`; none means everything.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from interlock.durable import Disk
from interlock.errors import UsageError
from interlock_ninja.commands.progress import Progress, reporter
from interlock_ninja.current import current_out
from interlock_ninja.sync import alone, default_jobs, note_generated, out_of_date, synchronise

if TYPE_CHECKING:
    import argparse

    from interlock_ninja.build_file import BuildEdge
    from interlock_ninja.sync import Outcome

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock sync`."""
    parser.add_argument("--root", help="the workspace's directory (default: found by walking up from here)")
    parser.add_argument("--strict", action="store_true", help="projects that cannot be read are errors, not warnings")
    parser.add_argument("-j", dest="jobs", metavar="N", type=int, help="edges at once (default: one for each core)")
    parser.add_argument(
        "-k", dest="keep_going", metavar="N", type=int, default=1, help="go on until N edges have failed; 0: all"
    )
    parser.add_argument("-n", dest="dry_run", action="store_true", help="run nothing; show what would be run")
    parser.add_argument("-v", dest="verbose", action="store_true", help="show the command lines")
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="json: one document at the end, in the place of progress",
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET")


def run(arguments: argparse.Namespace) -> int:
    """Generate if needed and build; the exit code is that of the first edge that failed."""
    began = time.monotonic()
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UsageError(f"-j {arguments.jobs}: no edge could run", advice="-j 1 runs one after the other.")
    disk = Disk(arguments.durability)
    out = None if arguments.strict else current_out(arguments.root)
    was_current = out is not None
    if out is None:
        out = _generate(arguments, disk)
    if arguments.dry_run:
        return _would_run(out_of_date(out, arguments.targets, disk), arguments)
    with alone(out, disk, arguments.lock_timeout):
        if not was_current:
            note_generated(out, disk)
        outcome = _build(out, arguments, disk)
    if outcome.ran and outcome.status != "interrupted" and current_out(arguments.root) is None:
        # A new environment changes the directory that it is in, which was read: Ninja would generate once more.
        _generate(arguments, disk)
        with alone(out, disk, arguments.lock_timeout):
            note_generated(out, disk)
    _tell_end(outcome, time.monotonic() - began, arguments)
    return outcome.code


def _generate(arguments: argparse.Namespace, disk: Disk) -> str:
    """Generate, and return the out directory; all that is loaded for it would slow down a build that need not."""
    from interlock_ninja.commands.gen import summary, tell, warn
    from interlock_ninja.generate import generate

    generated = generate(arguments.root, disk=disk, strict=arguments.strict, progress=tell)
    warn(generated)
    if generated.changed:
        print(
            summary(generated, check=False), file=sys.stderr if arguments.format == "json" else sys.stdout, flush=True
        )
    return os.path.dirname(generated.build_file)


def _build(out: str, arguments: argparse.Namespace, disk: Disk) -> Outcome:
    environ = dict(os.environ)
    environ["INTERLOCK_DURABILITY"] = arguments.durability
    if arguments.lock_timeout is not None:
        environ["INTERLOCK_LOCK_TIMEOUT"] = str(arguments.lock_timeout)
    with reporter(_progress(arguments), verbose=arguments.verbose) as listener:
        return synchronise(
            out,
            arguments.targets,
            disk=disk,
            reporter=listener,
            environ=environ,
            jobs=default_jobs() if arguments.jobs is None else arguments.jobs,
            failures=max(0, arguments.keep_going),
        )


def _progress(arguments: argparse.Namespace) -> Progress:
    # Standard output may be closed: then there is nobody to tell.
    if arguments.format == "json" or sys.stdout is None:
        return "none"
    return "bar" if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not arguments.verbose else "lines"


def _would_run(edges: list[BuildEdge], arguments: argparse.Namespace) -> int:
    if arguments.format == "json":
        print(
            json.dumps({"status": "out-of-date" if edges else "up-to-date", "edges": [_edge(each) for each in edges]})
        )
        return 0
    for number, edge in enumerate(edges, 1):
        print(f"[{number}/{len(edges)}] {edge.command_line if arguments.verbose else edge.description}")
    if not edges:
        print("interlock: no work to do")
    return 0


def _tell_end(outcome: Outcome, seconds: float, arguments: argparse.Namespace) -> None:
    if arguments.format == "json":
        print(json.dumps(_as_json(outcome, seconds), indent=1), flush=True)
    elif outcome.status == "up-to-date":
        print("interlock: no work to do")
    elif outcome.status == "done":
        print(f"interlock: {_count(len(outcome.ran))} in {seconds:.1f} s")
    left = outcome.total - len(outcome.ran)
    if outcome.failed:
        names = ", ".join(each.edge.description for each in outcome.failed)
        rest = f"; {_count(left)} did not run" if left else ""
        sys.stderr.write(f"interlock: error: {_count(len(outcome.failed))} failed: {names}{rest}\n")
        if outcome.held_back:
            sys.stderr.write("  `-k 0` goes on with all that does not depend on them.\n")
    elif outcome.status == "interrupted":
        sys.stderr.write(f"interlock: error: interrupted; nothing is left half-done, {_count(left)} did not run\n")


def _count(edges: int) -> str:
    return f"{edges} edge{'' if edges == 1 else 's'}"


def _as_json(outcome: Outcome, seconds: float) -> dict[str, object]:
    edges: list[dict[str, object]] = [
        {
            **_edge(ran.edge),
            "seconds": round(ran.seconds, 3),
            "status": "failed" if ran.code else "changed" if ran.changed else "unchanged",
            "exit_code": ran.code,
            "printed": ran.printed,
        }
        for ran in outcome.ran
    ]
    return {
        "status": outcome.status,
        "exit_code": outcome.code,
        "seconds": round(seconds, 3),
        "edges": edges,
        "not_run": outcome.total - len(outcome.ran),
        "errors": [f"{ran.edge.description}: {ran.printed.strip()}" for ran in outcome.failed],
    }


def _edge(edge: BuildEdge) -> dict[str, object]:
    return {"edge": edge.description, "kind": edge.rule, "stamp": os.fsdecode(edge.output)}
