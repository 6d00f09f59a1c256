"""Strongly connected components, in the order in which their members can be installed."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["components", "shortest_cycle"]


def components(edges: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the strongly connected components of a graph, those that others point to first; members sorted.

    `edges` has every node as a key. The same graph gives the same order, whatever the order of its keys. Linear in nodes and
    edges, and without recursion: a chain of 10,000 projects is a chain of 10,000 frames otherwise.
    Source: R. Tarjan, "Depth-first search and linear graph algorithms", 1972.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[tuple[str, ...]] = []
    for start in sorted(edges):
        if start in index:
            continue
        work: list[tuple[str, Iterator[str]]] = [_enter(start, edges, index, low, stack, on_stack)]
        while work:
            node, following = work[-1]
            child = next((each for each in following if each not in index or each in on_stack), None)
            if child is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    found.append(_leave(node, stack, on_stack))
            elif child in index:
                low[node] = min(low[node], index[child])
            else:
                work.append(_enter(child, edges, index, low, stack, on_stack))
    return found


def _enter(
    node: str,
    edges: Mapping[str, Sequence[str]],
    index: dict[str, int],
    low: dict[str, int],
    stack: list[str],
    on_stack: set[str],
) -> tuple[str, Iterator[str]]:
    index[node] = low[node] = len(index)
    stack.append(node)
    on_stack.add(node)
    return node, iter(sorted(edges[node]))


def _leave(node: str, stack: list[str], on_stack: set[str]) -> tuple[str, ...]:
    members = []
    while True:
        member = stack.pop()
        on_stack.discard(member)
        members.append(member)
        if member == node:
            return tuple(sorted(members))


def shortest_cycle(members: Sequence[str], edges: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return a shortest way from a component's first member back to it: ("a", "b", "a")."""
    start, inside = members[0], set(members)
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for following in sorted(edges[node]):
            if following == start:
                way = [start, node]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return tuple(reversed(way))
            if following in inside and following not in came_from:
                came_from[following] = node
                queue.append(following)
    return (start,)
