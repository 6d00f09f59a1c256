"""Run an edge: `python -I -S edge.py COMMAND ...` does what `interlock COMMAND ...` does, and starts in a third of the time.

A worker runs it, if there can be one: a process that has all of interlock loaded. Else this process does, and loads
what it needs. Specification: docs/explanation/workers.md.
"""

import sys


def main() -> None:
    """Ask the worker; without one, run the command here."""
    # Neither the directory of this script, nor those that `site` would add: what an install edge needs is all in one place.
    # Python's own modules come first, whatever lies beside interlock.
    sys.path.append(__file__[: -len("/interlock/edge.py")])
    if sys.platform == "linux":
        from interlock.own_worker import run_in_worker

        run_in_worker(sys.argv[1:])
    from interlock.plain import run

    sys.exit(run(sys.argv[1:]))


try:
    main()
except KeyboardInterrupt:  # before anything was begun
    sys.stderr.write("interlock: error: interrupted; nothing is left half-done\n")
    sys.exit(130)
