"""Where an edge's time goes: one JSON line for each span, appended to the file that INTERLOCK_TIMINGS names.

Nothing is measured unless the variable is set. Many processes append to one file: a line is one write(2), far below
the size at which writes to a file opened with O_APPEND could interleave.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["span"]


@contextlib.contextmanager
def span(name: str, subject: str = "") -> Iterator[None]:
    """Measure the `with` block; `name` is what the time went to ("lock wait", "commit"), `subject` which project."""
    path = os.environ.get("INTERLOCK_TIMINGS")
    if not path:
        yield
        return
    started = time.monotonic_ns()
    try:
        yield
    finally:
        import json

        line = json.dumps({"span": name, "subject": subject, "seconds": (time.monotonic_ns() - started) / 1e9})
        with open(path, "ab", buffering=0) as writer:
            writer.write(line.encode() + b"\n")
