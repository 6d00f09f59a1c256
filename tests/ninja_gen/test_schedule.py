"""Which edge goes first."""

from __future__ import annotations

from pathlib import Path

from interlock.durable import Disk
from interlock_ninja.build_file import parse_build_file
from interlock_ninja.ninja_deps import DepsLog
from interlock_ninja.ninja_log import NinjaLog
from interlock_ninja.out_of_date import Scan, Step
from interlock_ninja.schedule import Schedule

HEAD = "pool narrow\n  depth = 1\nrule prepare\n  command = x\nrule install\n  command = x\n"


def schedule(tmp_path: Path, text: str, **seconds: float) -> Schedule:
    (tmp_path / "s").touch()
    file = parse_build_file((HEAD + text + "default all\n").encode())
    disk = Disk("fast")
    scan = Scan(file, str(tmp_path), NinjaLog(str(tmp_path), disk, version=lambda: 7), DepsLog(str(tmp_path), disk))
    scan.run(file.targets([]))
    return Schedule(scan, file.pools, lambda step: seconds.get(name(step)))


def name(step: Step | None) -> str:
    return step.edge.output.decode() if step else ""


def drain(plan: Schedule) -> list[str]:
    """Run one after the other."""
    order = []
    while (step := plan.next()) is not None:
        order.append(name(step))
        plan.finished(step, changed=True)
    return order


def test_the_longest_chain_goes_first(tmp_path: Path) -> None:
    text = (
        "build a: prepare | s\nbuild b: prepare | s\nbuild c: prepare | s\nbuild c2: prepare | c\nbuild c3: prepare | c2\n"
        "build b2: prepare | b\nbuild all: phony a b b2 c c2 c3\n"
    )
    assert drain(schedule(tmp_path, text)) == ["c", "b", "c2", "a", "b2", "c3"]


def test_what_was_slow_the_last_time_counts(tmp_path: Path) -> None:
    text = "build a: prepare | s\nbuild b: prepare | s\nbuild c: prepare | s\nbuild all: phony a b c\n"
    assert drain(schedule(tmp_path, text, b=9.0, c=0.01)) == ["b", "a", "c"]


def test_a_prepare_that_many_wait_for_goes_before_an_install(tmp_path: Path) -> None:
    text = "build i: install | s\nbuild p: prepare | s\nbuild q: install | p\nbuild all: phony i p q\n"
    assert drain(schedule(tmp_path, text))[0] == "p"


def test_a_pool_holds_what_it_may(tmp_path: Path) -> None:
    text = "".join(f"build {one}: install | s\n  pool = narrow\n" for one in "abc") + "build all: phony a b c\n"
    plan = schedule(tmp_path, text, b=5.0)
    first = plan.next()
    assert first is not None
    assert plan.next() is None
    plan.failed(first)
    second = plan.next()
    assert second is not None
    assert plan.next() is None
    plan.finished(second, changed=True)
    assert plan.next() is not None
    assert plan.total == 3


def test_nothing_that_needs_a_failure_begins(tmp_path: Path) -> None:
    plan = schedule(tmp_path, "build a: prepare | s\nbuild b: prepare | a\nbuild all: phony a b\n")
    step = plan.next()
    assert step is not None
    plan.failed(step)
    assert plan.next() is None


def test_a_name_for_names_is_no_work(tmp_path: Path) -> None:
    plan = schedule(tmp_path, "build a: prepare | s\nbuild n: phony a\nbuild b: prepare | n\nbuild all: phony b\n")
    assert plan.total == 2
    assert drain(plan) == ["a", "b"]
