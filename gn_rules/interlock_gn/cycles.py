"""Projects that require each other, as GN targets: which dependencies to declare, which to defer, and who verifies them.

GN refuses a cycle of targets. So each member declares those before it, defers what it requires of those after it, and the
last one, which all others lead up to, verifies the requirements of all that deferred something. Whoever needs a member that
deferred something declares that last one too: only then all of the cycle is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["Member", "Plan", "complete", "plan_cycle"]


@dataclass(frozen=True, slots=True)
class Member:
    """A target of a cycle: labels that it declares, and those that it requires besides.

    `asked` is its name with the extras that are verified; `deferred` are the labels that it defers already; `verified`
    says that some target verifies it.
    """

    name: str
    asked: str
    declared: frozenset[str]
    wanted: tuple[str, ...]
    deferred: frozenset[str]
    verified: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What to add to a target: labels to declare, names to defer, names to verify."""

    declare: tuple[str, ...]
    defer: tuple[str, ...]
    verify: tuple[str, ...]

    def variables(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each variable of interlock_project with its additions."""
        yield "python_deps", self.declare
        yield "deferred", self.defer
        yield "verify", self.verify


def plan_cycle(members: Mapping[str, Member]) -> dict[str, Plan]:
    """Return what to add to each member, by label, so that GN has no cycle and all that is required is checked.

    `members` are a strongly connected component of what is declared and wanted together; what is declared alone has no cycle.
    """
    order = _order(members)
    place = {label: position for position, label in enumerate(order)}
    declare = {label: {each for each in members[label].wanted if place.get(each, -1) < place[label]} for label in order}
    defer = {label: [each for each in members[label].wanted if place.get(each, -1) > place[label]] for label in order}
    last = order[-1]
    late = {label: {*defer[label], *members[label].deferred} & members.keys() for label in order}
    # What is verified is all there: those who deferred something, and what they deferred.
    needed = {label for label in order if late[label]}.union(*late.values()) - {last}
    for label in sorted(needed, key=order.index, reverse=True):
        if label not in _reached(last, members, declare):
            declare[last].add(label)
    verify = {last: [members[label].asked for label in order if defer[label] and not members[label].verified]}
    return {
        label: Plan(
            tuple(sorted(declare[label])),
            tuple(sorted(members[each].name for each in defer[label])),
            tuple(verify.get(label, ())),
        )
        for label in order
    }


def _order(members: Mapping[str, Member]) -> list[str]:
    """Return the members, each after those of them that it declares, sorted where that leaves a choice."""
    order: list[str] = []
    waiting = sorted(members)
    while waiting:
        following = next(label for label in waiting if not members[label].declared & set(waiting))
        waiting.remove(following)
        order.append(following)
    return order


def complete(edges: Mapping[str, Collection[str]], last_of: Mapping[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Return, by label, the members of cycles that it depends on without the last of their cycle, each with that one.

    `edges` are the dependencies of all labels, `last_of` has the last of its cycle for each member that defers something.
    What is returned makes no cycle of targets: it leaves out the members themselves, which the last one depends on.
    """
    graph = {label: set(following) for label, following in edges.items()}
    found: dict[str, list[tuple[str, str]]] = {}
    for label in sorted(graph):
        for each in sorted(graph[label]):
            last = last_of.get(each, label)
            if last in _closure(label, graph) or label in _closure(last, graph) or last == label:
                continue
            found.setdefault(label, []).append((each, last))
            graph[label].add(last)
    return found


def _reached(start: str, members: Mapping[str, Member], declare: Mapping[str, set[str]]) -> set[str]:
    return _closure(start, {label: (members[label].declared & members.keys()) | declare[label] for label in members})


def _closure(start: str, edges: Mapping[str, Collection[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        label = waiting.pop()
        if label not in found:
            found.add(label)
            waiting += edges.get(label, ())
    return found
