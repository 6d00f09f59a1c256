"""What a look at this machine found: one line a thing, each fine, worth knowing, or in the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Verdict"]

Verdict = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` is the next step where it is not fine, "" where there is none to take."""

    topic: str
    verdict: Verdict
    text: str
    advice: str = ""
