"""Verify an environment, and exit with 1 if anything is not as it should be.

Every file that a RECORD lists is there, unchanged and inside the environment; no distribution is installed twice; what each
requires is installed; no commit was interrupted; with --stamps, the stamps of a build tell of this very environment. With
--stamp it is an edge of a build: it prints nothing but problems, and leaves the stamp where there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.check import check_environment
from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.environment import identity_file

if TYPE_CHECKING:
    import argparse

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock check`."""
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    parser.add_argument(
        "--stamps", metavar="DIR", help="the directory of the environment's stamps (out/interlock/NAME)"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object")
    add_receipt_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the problems, or that there are none."""
    edge = Run.start(arguments)
    report = check_environment(arguments.venv, stamps=arguments.stamps, timeout=arguments.lock_timeout)
    if arguments.format == "json":
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(report), indent=1))
    else:
        for problem in report.problems:
            print(problem)
        found = (
            f"{len(report.problems)} problem{'' if len(report.problems) == 1 else 's'}"
            if report.problems
            else "no problems"
        )
        if report.problems or not arguments.stamp:
            print(f"{report.environment}: {report.distributions} distributions, {report.files} files, {found}")
    if report.problems:
        return 1
    if arguments.stamp:
        counts = {"distributions": report.distributions, "files": report.files}
        receipt = {"edge": "check", "environment": report.identity, **counts}
        edge.finish(receipt, [identity_file(report.environment)], "")
    return 0
