"""Write docs/reference/commands.md from the parsers themselves: `python tests/commands_reference.py`.

tests/test_commands_reference.py fails when the file and the parsers differ.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from unittest import mock

from interlock.cli import COMMANDS, main

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "commands.md"

HEAD = """\
# Commands

`interlock COMMAND --help` prints the same. Exit codes: [exit-codes.md](exit-codes.md). Where `--stamp FILE` is given a
command prints nothing on success, because Ninja shows what an edge prints.

| variable | meaning |
|---|---|
| `INTERLOCK_CACHE_DIR` | where build environments and facts about interpreters are kept; `interlock cache dir` prints it |
| `INTERLOCK_DURABILITY` | the default of `--durability` |
| `INTERLOCK_LOCK_TIMEOUT` | the default of `--lock-timeout`, in seconds |
| `INTERLOCK_TIMINGS` | a file to which each edge appends where its time went, a JSON line a span |
| `INTERLOCK_UNPACKED_LIMIT` | the most bytes that a wheel may unpack to (default: 4 GiB) |
| `INTERLOCK_WORKER` | 0: no [workers](../explanation/workers.md), each edge and each hook is a new process |
| `INTERLOCK_WORKER_IDLE` | the seconds after which a worker ends that nobody has asked for anything (default: 10) |
"""


def text() -> str:
    """Return what the file should say."""
    return HEAD + "".join(f"\n## interlock {name}\n\n```text\n{help_of(name)}```\n" for name in COMMANDS)


def help_of(name: str) -> str:
    """Return what `interlock NAME --help` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), mock.patch.dict(os.environ):
        os.environ.pop("INTERLOCK_DURABILITY", None)
        os.environ["COLUMNS"] = "80"  # however wide the terminal is
        assert main([*name.split(), "--help"]) == 0
    return printed.getvalue()


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
