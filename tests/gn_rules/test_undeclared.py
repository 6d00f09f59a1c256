"""What is required and not declared, from metadata and targets alone; cycles; names of rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.distribution import normalize
from interlock_gn.cycles import Member, plan_cycle
from interlock_gn.rule_names import BadName, bad_names
from interlock_gn.targets import ProjectTarget, Targets, VenvTarget
from interlock_gn.undeclared import Finding, Missing, compare, stub
from interlock_ninja.cycles import components

if TYPE_CHECKING:
    from pathlib import Path

    from interlock_ninja.project import Project

MARKERS = {"python_version": "3.12", "sys_platform": "linux", "extra": ""}
VENV = VenvTarget("//build/venv:venv", "/tree/.venv", "", (), (), ())


def target(name: str, *declared: str, **more: Any) -> ProjectTarget:
    """Return the target //NAME:NAME; `declared` are names too, or labels."""
    labels = tuple(each if each.startswith("//") else label(each) for each in declared)
    fields: dict[str, Any] = {"venv": VENV.label, "extras": (), "deferred": (), "verify": (), **more}
    return ProjectTarget(label(name), name, f"/tree/{name}", declared=labels, **fields)


def label(name: str) -> str:
    return f"//{name}:{name}"


def project(name: str, *dependencies: str, **extras: tuple[str, ...]) -> Project:
    return replace(
        stub(name), dependencies=dependencies, optional_dependencies=extras, metadata_file=f"{name}/pyproject.toml"
    )


def found(
    targets: list[ProjectTarget], projects: list[Project], groups: dict[str, tuple[str, ...]] | None = None
) -> list[Finding]:
    everything = Targets({each.label: each for each in targets}, groups or {}, {VENV.label: VENV}, ())
    by_name = {each.normalized: each for each in projects}
    known = {each.label: by_name[normalize(each.name)] for each in targets if each.venv == VENV.label}
    return compare(everything, VENV, known, MARKERS)


def additions(findings: list[Finding]) -> dict[str, dict[str, tuple[str, ...]]]:
    return {finding.target.name: dict(finding.additions) for finding in findings}


def test_nothing_is_found_where_all_is_declared() -> None:
    targets = [target("core"), target("leaf", "core")]
    assert found(targets, [project("core"), project("leaf", "core>=1", "requests")]) == []


def test_all_that_a_target_lacks_is_one_finding() -> None:
    targets = [target("core"), target("other"), target("leaf")]
    (finding,) = found(targets, [project("core"), project("other"), project("leaf", "other", "Core>=1")])
    assert finding == Finding(
        "undeclared",
        targets[2],
        missing=(
            Missing("other", "leaf/pyproject.toml", "leaf", "//other:other"),
            Missing("Core>=1", "leaf/pyproject.toml", "leaf", "//core:core"),
        ),
        additions=(("python_deps", ("//core:core", "//other:other")),),
    )


def test_what_a_group_leads_to_is_declared() -> None:
    groups = {"//g:outer": ("//g:inner", "//other:other"), "//g:inner": ("//core:core",)}
    targets = [target("core"), target("other"), target("leaf", "//g:outer")]
    assert found(targets, [project("core"), project("other"), project("leaf", "core")], groups) == []


def test_what_a_declared_project_declares_is_not() -> None:
    targets = [target("core"), target("mid", "core"), target("leaf", "mid")]
    findings = found(targets, [project("core"), project("mid", "core"), project("leaf", "mid", "core")])
    assert additions(findings) == {"leaf": {"python_deps": ("//core:core",)}}


def test_an_extra_that_is_asked_of_another_adds_what_it_requires() -> None:
    targets = [target("core"), target("mid"), target("leaf", "mid")]
    (finding,) = found(targets, [project("core"), project("mid", fast=("core<9",)), project("leaf", "mid[fast]")])
    assert finding.missing == (Missing("core<9", "mid/pyproject.toml", "mid", "//core:core"),)


def test_a_line_of_its_own_says_more_than_that_of_another() -> None:
    targets = [target("core"), target("mid"), target("leaf", "mid")]
    projects = [project("core"), project("mid", fast=("core<9",)), project("leaf", "mid[fast]", "core>1")]
    assert found(targets, projects)[0].missing == (Missing("core>1", "leaf/pyproject.toml", "leaf", "//core:core"),)
    projects[2] = project("leaf", "core>1", "mid[fast]")
    assert found(targets, projects)[0].missing == (Missing("core>1", "leaf/pyproject.toml", "leaf", "//core:core"),)


def test_extras_of_the_target_count_and_those_that_they_name() -> None:
    leaf = project("leaf", all=("leaf[x]",), x=("core",), y=("other",))
    targets = [target("core"), target("other"), target("leaf", extras=("ALL",))]
    findings = found(targets, [project("core"), project("other"), leaf])
    assert additions(findings) == {"leaf": {"python_deps": ("//core:core",)}}


def test_markers_decide() -> None:
    targets = [target("core"), target("leaf")]
    assert found(targets, [project("core"), project("leaf", "core; sys_platform == 'win32'")]) == []


def test_one_of_two_targets_of_a_project_is_enough() -> None:
    more = replace(target("core"), label="//core:more")
    targets = [target("core"), more, target("leaf", "//core:more"), target("tool")]
    findings = found(targets, [project("core"), project("leaf", "core"), project("tool", "core")])
    assert additions(findings) == {"tool": {"python_deps": ("//core:core",)}}


def test_a_project_of_another_environment_alone_is_absent() -> None:
    targets = [target("core", venv="//other:venv"), target("leaf")]
    (finding,) = found(targets, [project("leaf", "core")])
    assert (finding.kind, finding.additions) == ("absent", ())
    assert finding.missing == (Missing("core", "leaf/pyproject.toml", "leaf", "//core:core"),)


def test_what_no_requirement_asks_for_is_unused() -> None:
    groups = {"//g:used": ("//core:core", "//other:other"), "//g:unused": ("//other:other",)}
    targets = [target("core"), target("other"), target("leaf", "other", "//g:used", "//g:unused")]
    (finding,) = found(targets, [project("core"), project("other"), project("leaf", "core")], groups)
    assert (finding.kind, finding.unused) == ("unused", ("//other:other", "//g:unused"))


@pytest.mark.parametrize(
    "leaf",
    [
        project("leaf", "core; sys_platform == 'win32'"),
        project("leaf", tests=("core",)),
        replace(project("leaf"), build_requires=("core",)),
        replace(project("leaf"), groups={"dev": ("core",)}),
    ],
    ids=["marker", "extra", "build", "group"],
)
def test_what_the_metadata_names_anywhere_may_be_declared(leaf: Project) -> None:
    assert found([target("core"), target("leaf", "core")], [project("core"), leaf]) == []


def test_two_that_require_each_other() -> None:
    projects = [project("a", "b"), project("b", "a")]
    findings = found([target("a"), target("b")], projects)
    assert [finding.kind for finding in findings] == ["cycle", "cycle"]
    assert findings[0].cycle == ("//a:a", "//b:b")
    assert additions(findings) == {
        "a": {"deferred": ("b",)},
        "b": {"python_deps": ("//a:a",), "verify": ("a",)},
    }
    assert found([target("a", deferred=("b",)), target("b", "a", verify=("a",))], projects) == []


def test_the_declared_order_of_a_cycle_stays() -> None:
    findings = found([target("a", "b"), target("b")], [project("a", "b"), project("b", "a")])
    assert additions(findings) == {"a": {"verify": ("b",)}, "b": {"deferred": ("a",)}}


def test_extras_of_a_member_are_verified_too() -> None:
    targets = [target("a", extras=("x",)), target("b")]
    findings = found(targets, [project("a", x=("b",)), project("b", "a")])
    assert additions(findings)["b"] == {"python_deps": ("//a:a",), "verify": ("a[x]",)}


def test_the_last_of_a_cycle_leads_to_all_that_defer() -> None:
    # a -> c -> b -> a: in the order a, b, c nothing else leads from c to a.
    findings = found([target("a"), target("b"), target("c")], [project("a", "c"), project("b"), project("c", "a")])
    assert additions(findings) == {
        "a": {"deferred": ("c",)},
        "c": {"python_deps": ("//a:a",), "verify": ("a",)},
    }


CYCLE = [project("a", "b"), project("b", "a")]


def test_who_needs_a_member_that_defers_declares_the_last_of_the_cycle() -> None:
    cycle = [target("a", deferred=("b",)), target("b", "a", verify=("a",))]
    projects = [*CYCLE, project("leaf", "a"), project("mid", "a"), project("top", "mid")]
    targets = [*cycle, target("leaf", "a"), target("mid"), target("top", "mid")]
    findings = found(targets, projects)
    assert [(finding.kind, finding.lasts) for finding in findings] == [
        ("incomplete", (("//a:a", "//b:b"),)),
        ("undeclared", (("//a:a", "//b:b"),)),
    ]
    assert additions(findings) == {
        "leaf": {"python_deps": ("//b:b",)},
        "mid": {"python_deps": ("//a:a", "//b:b")},
    }
    assert found([*cycle, target("leaf", "a", "b"), target("mid", "a", "b"), target("top", "mid")], projects) == []


def test_the_last_of_a_cycle_that_is_not_declared_yet() -> None:
    projects = [*CYCLE, project("leaf", "a")]
    findings = found([target("a"), target("b"), target("leaf")], projects)
    assert additions(findings) == {
        "a": {"deferred": ("b",)},
        "b": {"python_deps": ("//a:a",), "verify": ("a",)},
        "leaf": {"python_deps": ("//a:a", "//b:b")},
    }


def test_what_the_last_of_a_cycle_depends_on_cannot_wait_for_it() -> None:
    targets = [target("a", deferred=("b",)), target("b", "a", "mid", verify=("a",)), target("mid", "a")]
    assert found(targets, [project("a", "b"), project("b", "a", "mid"), project("mid", "a")]) == []


def test_a_member_is_not_verified_twice() -> None:
    targets = [target("a", verify=()), target("b", verify=("a",))]
    findings = found(targets, [project("a", "b"), project("b", "a")])
    assert additions(findings)["b"] == {"python_deps": ("//a:a",)}


graphs = st.integers(2, 6).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=20),
        st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=6),
    )
)


@given(graphs)
def test_what_is_added_makes_an_order_and_leaves_nothing_out(
    drawn: tuple[int, set[tuple[int, int]], set[tuple[int, int]]],
) -> None:
    size, wanted, given_edges = drawn
    declared = {(one, other) for one, other in given_edges if one > other}  # GN has accepted these: no cycle
    names = [chr(ord("a") + number) for number in range(size)]

    def named(pairs: set[tuple[int, int]], number: int) -> list[str]:
        return sorted(names[other] for one, other in pairs if one == number and other != number)

    projects = [project(name, *named(wanted, number)) for number, name in enumerate(names)]
    targets = [target(name, *named(declared, number)) for number, name in enumerate(names)]
    made = additions([finding for finding in found(targets, projects) if finding.kind != "unused"])
    after = [
        replace(
            each,
            declared=(*each.declared, *made.get(each.name, {}).get("python_deps", ())),
            deferred=made.get(each.name, {}).get("deferred", ()),
            verify=made.get(each.name, {}).get("verify", ()),
        )
        for each in targets
    ]
    assert [finding for finding in found(after, projects) if finding.kind != "unused"] == []
    edges = {each.label: each.declared for each in after}
    assert all(len(component) == 1 for component in components(edges))
    reach = {each.label: reached(each.label, edges) for each in after}
    for each in after:
        for name in each.deferred:
            # Who verifies it comes after it, and after what it deferred.
            (last,) = (one for one in after if each.name in one.verify)
            assert each.label in reach[last.label]
            assert label(name) in {*reach[last.label], last.label}


def reached(start: str, edges: dict[str, tuple[str, ...]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        each = waiting.pop()
        if each not in seen:
            seen.add(each)
            waiting += edges[each]
    return seen


def test_a_plan_for_members_that_defer_already() -> None:
    members = {
        "//a:a": Member("a", "a", frozenset(), (), frozenset({"//c:c"}), verified=False),
        "//b:b": Member("b", "b", frozenset(), ("//a:a", "//c:c"), frozenset(), verified=False),
        "//c:c": Member("c", "c", frozenset(), ("//b:b",), frozenset(), verified=False),
    }
    plans = plan_cycle(members)
    assert (plans["//b:b"].declare, plans["//b:b"].defer) == (("//a:a",), ("c",))
    assert (plans["//c:c"].declare, plans["//c:c"].verify) == (("//b:b",), ("b",))


def test_labels_of_one_rule_are_found(tmp_path: Path) -> None:
    labels = ["//a/b:c", "//a:b_c", "//a:b-c", "//x:x(//conf:second)", "//x:x"]
    assert bad_names(labels, str(tmp_path)) == [BadName("__a_b_c", ("//a/b:c", "//a:b_c"), "")]


def test_rules_of_two_toolchains_are_apart(tmp_path: Path) -> None:
    labels = ["//a/b:c(//conf:second)", "//a:b_c", "//a:b_c(//conf:third)"]
    assert bad_names(labels, str(tmp_path)) == []


def test_characters_that_ninja_refuses_are_named(tmp_path: Path) -> None:
    (found_name,) = bad_names(["//a:b c"], str(tmp_path))
    assert found_name == BadName("__a_b c", ("//a:b c",), " ")


def test_a_plus_is_refused_where_gn_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "toolchain.ninja").write_text("rule __a_b+c___conf_main__rule\n")
    (found_name,) = bad_names(["//a:b+c"], str(tmp_path))
    assert found_name.refused == "+"


def test_a_plus_is_an_underscore_to_a_newer_gn(tmp_path: Path) -> None:
    (tmp_path / "toolchain.ninja").write_text("rule __a_b_c___conf_main__rule\n")
    assert bad_names(["//a:b+c"], str(tmp_path)) == []
    assert bad_names(["//a:b+c", "//a:b_c"], str(tmp_path)) == [BadName("__a_b+c", ("//a:b+c", "//a:b_c"), "")]
