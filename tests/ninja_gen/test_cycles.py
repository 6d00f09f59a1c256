"""Strongly connected components: order, cycles, depth."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from interlock_ninja.cycles import components, shortest_cycle


def test_dependencies_come_first_and_names_decide_the_rest() -> None:
    assert components({"c": ["a"], "b": ["a"], "a": []}) == [("a",), ("b",), ("c",)]


def test_a_cycle_is_one_component() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a"], "user": ["b"], "base": [], "d": ["base"]}
    found = components(graph)
    assert ("a", "b", "c") in found
    assert found.index(("a", "b", "c")) < found.index(("user",))
    assert shortest_cycle(("a", "b", "c"), graph) == ("a", "b", "c", "a")


def test_the_shortest_path_of_a_cycle_is_named() -> None:
    graph = {"a": ["b", "x"], "b": ["a"], "x": ["y"], "y": ["a"]}
    assert shortest_cycle(("a", "b", "x", "y"), graph) == ("a", "b", "a")


def test_ten_thousand_deep_is_no_recursion() -> None:
    graph = {f"{n:05}": [f"{n + 1:05}"] for n in range(10_000)} | {"10000": []}
    assert [one for (one,) in components(graph)] == sorted(graph, reverse=True)
    graph["10000"] = ["00000"]
    assert components(graph) == [tuple(sorted(graph))]


@given(st.dictionaries(st.integers(0, 9).map(str), st.lists(st.integers(0, 9).map(str), max_size=4), max_size=10))
def test_components_are_what_reachability_says(raw: dict[str, list[str]]) -> None:
    graph = {node: [one for one in edges if one in raw] for node, edges in raw.items()}

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        queue = [start]
        while queue:
            for one in graph[queue.pop()]:
                if one not in seen:
                    seen.add(one)
                    queue.append(one)
        return seen

    reachable = {node: reach(node) for node in graph}
    found = components(graph)
    assert sorted(one for members in found for one in members) == sorted(graph)
    position = {one: number for number, members in enumerate(found) for one in members}
    for node, edges in graph.items():
        assert all(position[one] <= position[node] for one in edges)
        same = {one for one in reachable[node] if node in reachable[one]} | {node}
        assert set(found[position[node]]) == same
