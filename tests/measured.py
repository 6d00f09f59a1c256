"""How much memory a command takes: it and what it starts, as the kernel counts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

# A small process between: what is started counts the memory of the one that it was forked from.
_MEASURE = """
import json, os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print("\\0" + json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)]))
"""


def peak_memory(command: list[str], **environ: str) -> tuple[int, int, str]:
    """Run a command; return its exit code, the most resident memory of any one process (bytes), and what it printed."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _MEASURE, *command],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    output, _, measured = done.stdout.rpartition("\0")
    code, memory = json.loads(measured)
    return code, memory, output
