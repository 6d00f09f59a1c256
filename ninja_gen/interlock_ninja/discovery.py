"""Which directories of a workspace are projects, which were passed over, and why."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Skipped"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A directory that is no project of the workspace; `path` is relative to the root with "/" between the parts.

    `warn` tells a directory whose metadata is broken from one that is passed over by rule.
    """

    path: str
    reason: str
    warn: bool = False
