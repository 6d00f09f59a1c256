"""Verify an environment, and exit with 1 if anything is not as it should be.

Every file that a RECORD lists is there, unchanged and inside the environment; no distribution is installed twice; what each
requires is installed; no commit was interrupted; with --stamps, the stamps of a build tell of this very environment. With
--stamp it is an edge of a build: it prints nothing but problems, and leaves the stamp where there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interlock.check import check_environment
from interlock.commands.receipts import Run, add_receipt_arguments
from interlock.declared import stamps_behind
from interlock.environment import identity_file

if TYPE_CHECKING:
    import argparse

    from interlock.check import Report

COMMON = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `interlock check`."""
    parser.add_argument("--venv", required=True, metavar="PATH", help="the environment")
    parser.add_argument("--stamps", metavar="DIR", help="the directory of a build's stamps (out)")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object")
    parser.add_argument(
        "--labels", metavar="FILE", help="the stamps of installs that the depfile names, as `gn gen` writes them"
    )
    add_receipt_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the problems, or that there are none; then the receipt."""
    edge = Run.start(arguments)
    report = check_environment(arguments.venv, stamps=arguments.stamps, timeout=arguments.lock_timeout)
    text = _as_json(report) if arguments.format == "json" else _as_text(report)
    if report.problems:
        print(text)
        return 1
    receipt = {
        "edge": "check",
        "environment": report.identity,
        "distributions": report.distributions,
        "installed": report.digest,
    }
    # Whatever is installed anew, by whichever tool, is a RECORD that is another or not there.
    stamps = stamps_behind(arguments.labels) if arguments.labels else []
    edge.finish(receipt, [identity_file(report.environment), *report.records, *stamps], text)
    return 0


def _as_json(report: Report) -> str:
    import json
    from dataclasses import asdict

    return json.dumps({key: value for key, value in asdict(report).items() if key != "records"}, indent=1)


def _as_text(report: Report) -> str:
    number = len(report.problems)
    found = f"{number} problem{'' if number == 1 else 's'}" if number else "no problems"
    last = f"{report.environment}: {report.distributions} distributions, {report.files} files, {found}"
    return "\n".join([*map(str, report.problems), last])
