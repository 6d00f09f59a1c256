"""Whether a build.ninja is what generating it now would write: cheap, for `interlock build` asks each time."""

from __future__ import annotations

import os

from interlock.documents import parse_json
from interlock_ninja.config import load_configuration

__all__ = ["INPUTS_FILE", "current_out"]

# The same list as in build.ninja.d, for `interlock build`, which must not start Ninja to know that nothing changed.
INPUTS_FILE = "interlock/inputs.json"


def current_out(root: str | None) -> str | None:
    """Return the out directory if nothing that its build.ninja was made from has changed since, else None."""
    configuration = load_configuration(root, start=os.getcwd())
    out = os.path.join(configuration.root, configuration.out)
    try:
        written = os.stat(os.path.join(out, "build.ninja")).st_mtime_ns
        with open(os.path.join(out, INPUTS_FILE), "rb") as reader:
            known = parse_json(reader.read())
        current = known["out"] == os.path.realpath(out) and all(
            os.stat(os.path.join(out, path)).st_mtime_ns <= written for path in known["inputs"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return out if current else None
