"""What every table is measured with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from product import Product
    from toolbox import Toolbox


@dataclass
class Bench:
    """The sides, a directory to work in, and how much: `projects` is the most that a workspace gets, 0 is no limit."""

    product: Product
    tools: Toolbox
    scratch: Path
    rounds: int = 5
    projects: int = 0
    budget: float = 300.0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def size(self, usual: int) -> int:
        """Return how many projects a workspace gets that should have so many."""
        return min(usual, self.projects) if self.projects else usual

    def directory(self) -> Path:
        """Return a new directory's path."""
        return self.scratch / f"ws{next(self._numbers)}"
