"""Verify an environment, and exit with 1 if anything is not as it should be.

Every file that a RECORD lists is there, unchanged and inside the environment; no distribution is installed twice; what each
requires is installed; no commit was interrupted; with --stamps, the stamps of a build tell of this very environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.check import check_environment

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


def run(arguments: argparse.Namespace) -> int:
    """Print the problems, or that there are none."""
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
        print(f"{report.environment}: {report.distributions} distributions, {report.files} files, {found}")
    return 1 if report.problems else 0
