"""The order of the edges that run: what most others wait for goes first, and no pool holds more than it may."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from interlock_ninja.out_of_date import Scan, Step

__all__ = ["Schedule"]

# What an edge takes where no log says it (seconds): only their order counts.
USUAL_SECONDS = {"venv": 0.1, "build-env": 1.0, "requirements": 2.0, "prepare": 0.5, "install": 0.05}


class Schedule:
    """Hands out the steps of a scan that are out of date, each when all that it needs is done.

    `seconds` tells how long a step took the last time, None where that is not known.
    """

    def __init__(self, scan: Scan, pools: Mapping[str, int], seconds: Callable[[Step], float | None]) -> None:
        self.total = sum(step.wanted and not step.edge.is_phony for step in scan.steps)
        self._scan = scan
        self._pools = pools
        self._weight = _critical_paths(scan, seconds)
        self._place = {step: number for number, step in enumerate(scan.steps)}
        self._waiting: dict[Step, int] = {}
        self._ready: list[tuple[float, int, Step]] = []
        self._delayed: dict[str, list[tuple[float, int, Step]]] = defaultdict(list)
        self._in_pool: Counter[str] = Counter()
        self._begin()

    def _begin(self) -> None:
        blocked: set[Step] = set()
        for step in self._scan.steps:
            self._waiting[step] = sum(before in blocked for before in step.needs)
            if step.wanted or self._waiting[step]:
                blocked.add(step)
        for step in [each for each in self._scan.steps if each in blocked and not self._waiting[each]]:
            if not self._reached(step):
                self._done(step)

    def next(self) -> Step | None:
        """Return the step to begin now, None where all that are left wait for others."""
        return heapq.heappop(self._ready)[2] if self._ready else None

    def finished(self, step: Step, *, changed: bool) -> None:
        """Let go on what waited for a step; where it left its stamp as it was, that may be up to date already."""
        if not changed:
            for cleaned in self._scan.clean(step):
                self.total -= not cleaned.edge.is_phony
        self._leave_pool(step)
        self._done(step)

    def failed(self, step: Step) -> None:
        """Give the place of a step in its pool to another; nothing that needs it will begin."""
        self._leave_pool(step)

    def _done(self, step: Step) -> None:
        left = [step]
        while left:
            for after in left.pop().feeds:
                self._waiting[after] -= 1
                if not self._waiting[after] and not self._reached(after):
                    left.append(after)

    def _reached(self, step: Step) -> bool:
        """Queue a step that waits for nothing; False where there is nothing to run."""
        if not step.wanted or step.edge.is_phony:
            return False
        entry = (-self._weight[step], self._place[step], step)
        pool = step.edge.pool
        if pool and self._in_pool[pool] >= self._pools.get(pool, 1):
            heapq.heappush(self._delayed[pool], entry)
        else:
            self._in_pool[pool] += 1
            heapq.heappush(self._ready, entry)
        return True

    def _leave_pool(self, step: Step) -> None:
        pool = step.edge.pool
        self._in_pool[pool] -= 1
        if self._delayed[pool]:
            self._in_pool[pool] += 1
            heapq.heappush(self._ready, heapq.heappop(self._delayed[pool]))


def _critical_paths(scan: Scan, seconds: Callable[[Step], float | None]) -> dict[Step, float]:
    """Return for each step how long it, and the longest chain of steps that wait for it, will take."""
    weight: dict[Step, float] = {}
    for step in reversed(scan.steps):
        own = 0.0
        if step.wanted and not step.edge.is_phony:
            known = seconds(step)
            own = USUAL_SECONDS.get(step.edge.rule, 0.5) if known is None else known
        weight[step] = own + max((weight[after] for after in step.feeds), default=0.0)
    return weight
