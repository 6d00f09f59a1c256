"""Which edges are out of date: the answer that Ninja would give, from the same files.

An edge is when its stamp is missing; when its log entry is, or has another command, or is older than an input; when its
recorded inputs are missing, or older than the stamp; when an input is missing, or is the stamp of an edge that is out of date
(ninja, src/graph.cc, DependencyScan). Ninja's own explanation is `ninja -n -d explain`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interlock.errors import GraphError, InterlockError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from interlock_ninja.build_file import BuildEdge, BuildFile
    from interlock_ninja.ninja_deps import DepsLog
    from interlock_ninja.ninja_log import NinjaLog

__all__ = ["Scan", "Step"]


@dataclass(slots=True, eq=False)
class Step:
    """An edge in one build: `inputs` are those of the build statement and the recorded ones.

    `needs` and `feeds` are the steps before and after it, those that it only has to wait for included.
    """

    edge: BuildEdge
    inputs: Sequence[bytes]
    needs: list[Step] = field(default_factory=list)
    feeds: list[Step] = field(default_factory=list)
    deps_missing: bool = False
    wanted: bool = False


class Scan:
    """The edges that some targets need, those before others first, and which of them are out of date."""

    def __init__(self, build_file: BuildFile, out: str, log: NinjaLog, deps: DepsLog) -> None:
        self.steps: list[Step] = []
        self._edges = build_file.edges
        self._out = os.fsencode(out)
        self._log = log
        self._deps = deps
        self._known: dict[bytes, Step] = {}
        self._times: dict[bytes, int] = {}
        self._dirty: set[bytes] = set()
        self._recorded: set[bytes] = set()

    def run(self, targets: Iterable[bytes]) -> None:
        """Look at all that the targets need.

        Raises:
            GraphError: edges need each other.
            InterlockError: a file that an edge needs is missing, and no edge makes it.
        """
        for target in targets:
            self._visit(target)
        for step in self.steps:
            step.wanted = self._is_out_of_date(step)
            if step.wanted:
                self._dirty.add(step.edge.output)
        self._refuse_missing_files()

    def time(self, path: bytes) -> int:
        """Return the modification time (ns) that a file had when it was first asked for, 0 where there was none."""
        known = self._times.get(path)
        if known is None:
            known = self._times[path] = self.time_now(path)
        return known

    def time_now(self, path: bytes) -> int:
        """Return the modification time (ns) of a file, 0 where there is none."""
        try:
            status = os.stat(os.path.join(self._out, path))
        except (FileNotFoundError, NotADirectoryError):
            return 0
        # Ninja too: a file of the first second of 1970 is there.
        return status.st_mtime_ns if int(status.st_mtime) else 1

    def clean(self, step: Step) -> Iterator[Step]:
        """Yield the steps that are up to date after all, because a step has left its stamp as it was."""
        left = [step]
        while left:
            cleaned = left.pop()
            self._dirty.discard(cleaned.edge.output)
            for after in cleaned.feeds:
                if not after.wanted or after.deps_missing:
                    continue
                if any(path in self._dirty for path in after.inputs) or self._output_is_old(after):
                    continue
                after.wanted = False
                left.append(after)
                yield after

    def _visit(self, target: bytes) -> None:
        """Add the steps that a target needs, each after those that it needs itself."""
        stack: list[tuple[Step, Iterator[bytes]]] = []
        visiting: set[bytes] = set()

        def enter(output: bytes) -> Step | None:
            edge = self._edges.get(output)
            if edge is None:
                return None
            if output in visiting:
                raise _cycle([each.edge.output for each, _ in stack], output)
            if (known := self._known.get(output)) is not None:
                return known
            step = self._known[output] = self._step(edge)
            visiting.add(output)
            stack.append((step, iter((*step.inputs, *edge.order_only))))
            return step

        enter(target)
        while stack:
            step, inputs = stack[-1]
            for path in inputs:
                depth = len(stack)
                if (before := enter(path)) is not None:
                    before.feeds.append(step)
                    step.needs.append(before)
                    if len(stack) > depth:
                        break
            else:
                stack.pop()
                visiting.discard(step.edge.output)
                self.steps.append(step)

    def _step(self, edge: BuildEdge) -> Step:
        if edge.is_phony:
            return Step(edge, edge.inputs)
        mtime_ns, inputs = self._deps.deps.get(edge.output, (-1, ()))
        if self.time(edge.output) > mtime_ns:
            return Step(edge, edge.inputs, deps_missing=True)
        self._recorded.update(inputs)
        return Step(edge, (*edge.inputs, *inputs))

    def _is_out_of_date(self, step: Step) -> bool:
        missing = False
        for path in step.inputs:
            if path in self._dirty:
                missing = True
            elif path not in self._known and not self.time(path):
                self._dirty.add(path)
                missing = True
        return missing or step.deps_missing or self._output_is_old(step)

    def _output_is_old(self, step: Step) -> bool:
        edge = step.edge
        if edge.is_phony:
            # A name is as new as what it stands for.
            self._times[edge.output] = self.time(edge.output) or max(map(self.time, edge.inputs), default=0)
            return not edge.inputs and not self.time(edge.output)
        entry = self._log.entries.get(edge.output)
        if not self.time(edge.output) or entry is None:
            return True
        newest = max(map(self.time, step.inputs), default=0)
        return entry.mtime_ns < newest or entry.command_hash != self._log.hash_command(edge.command)

    def _refuse_missing_files(self) -> None:
        """Say which file of a build statement is not there; one that was only recorded makes its edge run.

        For Ninja 1.11 it is enough that it was recorded.
        """
        excused = self._recorded if self._log.version <= 5 else ()
        for step in self.steps:
            for path in step.edge.inputs:
                if path not in self._known and not self.time(path) and path not in excused:
                    raise InterlockError(
                        f"{os.fsdecode(path)}, which {step.edge.description or os.fsdecode(step.edge.output)} needs, is "
                        "missing, and no edge makes it",
                        advice=f"Paths are relative to {os.fsdecode(self._out)}. Put the file back, or run `interlock gen`.",
                    )


def _cycle(path: Sequence[bytes], output: bytes) -> GraphError:
    names = [os.fsdecode(each) for each in (*path[path.index(output) :], output)]
    return GraphError(
        f"edges need each other: {' -> '.join(names)}", advice="Run `interlock gen` to write build.ninja again."
    )
