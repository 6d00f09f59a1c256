"""Strongly connected components: the order of an acyclic graph, and the cycles of one that is not."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["components", "cycle_through"]


def components(graph: Mapping[str, Collection[str]]) -> list[tuple[str, ...]]:
    """Return the strongly connected components, each after all those that it points to, its members sorted.

    `graph` maps every node to those that it depends on. Tarjan's algorithm without recursion: linear, and no depth is too
    deep for it. The order depends on nothing but the names.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[tuple[str, ...]] = []
    for root in sorted(graph):
        if root in index:
            continue
        work = [(root, iter(sorted(graph[root])))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, successors = work[-1]
            for successor in successors:
                if successor not in index:
                    index[successor] = low[successor] = len(index)
                    stack.append(successor)
                    on_stack.add(successor)
                    work.append((successor, iter(sorted(graph[successor]))))
                    break
                if successor in on_stack:
                    low[node] = min(low[node], index[successor])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    members = stack[_position(stack, node) :]
                    del stack[-len(members) :]
                    on_stack.difference_update(members)
                    found.append(tuple(sorted(members)))
    return found


def _position(stack: Sequence[str], node: str) -> int:
    """Find a node near the end of a stack."""
    position = len(stack) - 1
    while stack[position] != node:
        position -= 1
    return position


def cycle_through(start: str, graph: Mapping[str, Collection[str]], members: Sequence[str]) -> list[str]:
    """Return a shortest path from a member of a cycle back to itself: [start, ..., start]."""
    inside = set(members)
    came_from: dict[str, str] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for successor in sorted(graph[node]):
            if successor == start:
                path = [node]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return [*reversed(path), start]
            if successor in inside and successor not in came_from:
                came_from[successor] = node
                queue.append(successor)
    raise ValueError(f"{start} is in no cycle")
