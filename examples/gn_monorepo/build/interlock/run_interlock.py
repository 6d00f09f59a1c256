#!/usr/bin/env python3
"""Start interlock for an action of GN: run_interlock.py [--program PROGRAM] COMMAND [ARGUMENT | --arguments FILE ...]

GN runs actions as `<script_executable> <script>`; interlock may be installed elsewhere. PROGRAM is the `interlock` to run;
without it, the Python that runs this script has interlock, or there is one on PATH. `--arguments FILE` stands for
the lines of FILE: what GN wrote for a whole environment.

Runs with any Python since 3.7, and with nothing but its standard library.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def main(words: list[str]) -> int:
    program = ""
    if words[:1] == ["--program"]:
        program, words = words[1], words[2:]
    arguments = list(expanded(words))
    if not program:
        # The directory of this script comes first on sys.path, and is a directory of GN files.
        sys.path.pop(0)
        try:
            from interlock.cli import main as interlock
        except ImportError:
            program = "interlock"
        else:
            return interlock(arguments)
    found = find(program)
    if not found:
        return fail(program)
    return become([found, *arguments])


def expanded(given: Iterable[str]) -> Iterator[str]:
    words = iter(given)
    for word in words:
        if word == "--":
            yield word
            yield from words
        elif word == "--arguments":
            with open(next(words), encoding="utf-8") as reader:
                yield from reader.read().splitlines()
        else:
            yield word


def find(program: str) -> str | None:
    import shutil

    return shutil.which(program)


def fail(program: str) -> int:
    sys.stderr.write(
        f"interlock: error: {program!r} is neither a program nor on PATH, and {sys.executable} does not have interlock\n"
        f"  Install it there (`{sys.executable} -m pip install interlock`), or set interlock_program in args.gn, or in\n"
        '  default_args of .gn, to its path: interlock_program = "//.interlock/bin/interlock"\n'
    )
    return 127


def become(command: list[str]) -> int:
    if os.name != "nt":
        os.execv(command[0], command)  # noqa: S606 - to become interlock is what this is for
    import subprocess

    # There, exec would end this process before its successor is done.
    with subprocess.Popen(command) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                pass  # the child has it too, and says what it means


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
