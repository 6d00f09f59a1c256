"""The program `interlock`: the edges that there are many of go to a worker, before anything else is loaded."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main(words: list[str] | None = None) -> int:
    """Run a command and return its exit code; where a worker runs it, this process ends as that does."""
    words = sys.argv[1:] if words is None else words
    if sys.platform == "linux":
        from interlock.own_worker import run_in_worker

        run_in_worker(words)
    from interlock.cli import main as here

    return here(words)
