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
    if words[:1] == ["--program"]:
        arguments = list(expanded(words[2:]))
        program, reason = words[1], f"interlock_program, {words[1]!r}, is neither a program nor the name of one on PATH"
    else:
        arguments = list(expanded(words))
        # Python puts the directory of this script first on sys.path, and it is a directory of GN files.
        if os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(__file__)):
            del sys.path[0]
        try:
            from interlock.start import main as interlock
        except ImportError as error:
            program, reason = "interlock", f"{sys.executable} does not have it ({error}), and there is none on PATH"
        else:
            return interlock(arguments)
    found = find(program)
    return become([found, *arguments]) if found else fail(reason)


def expanded(given: Iterable[str]) -> Iterator[str]:
    words = iter(given)
    for word in words:
        if word == "--":
            yield word
            yield from words
        elif word == "--arguments":
            # As GN writes it: UTF-8, and whatever bytes the names of files are.
            with open(next(words), encoding="utf-8", errors="surrogateescape", newline="\n") as reader:
                for line in reader:
                    yield line.rstrip("\n")
        else:
            yield word


def find(program: str) -> str | None:
    import shutil

    return shutil.which(program)


def fail(reason: str) -> int:
    sys.stderr.write(
        f"interlock: error: {reason}\n"
        f"  Install it (`{sys.executable} -m pip install interlock`), or set interlock_program in args.gn, or in\n"
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
