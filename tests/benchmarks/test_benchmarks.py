"""The benchmarks compute what they say, and run; the figures themselves are nobody's test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import bench  # noqa: E402
import chart  # noqa: E402
import edges  # noqa: E402
import measuring  # noqa: E402
import page  # noqa: E402
import product  # noqa: E402
import small_changes  # noqa: E402
import toolbox  # noqa: E402
import workspaces  # noqa: E402
from report import Row, Table, load, save  # noqa: E402

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the benchmarks run on POSIX")


def test_ratios_are_taken_round_by_round() -> None:
    """Each round is twice as fast; the ratio of the medians would be 6."""
    assert Row("x", [1, 2, 10], [2, 12, 20]).ratio == 2
    assert Row("x", [2, 12, 20], [1, 2, 10], compare="cost").ratio == 2


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("x", [1], [30], target=30), True),
        (Row("x", [1], [29], target=30), False),
        (Row("x", [4], [1], compare="cost", target=4), True),
        (Row("x", [5], [1], compare="cost", target=4), False),
        (Row("x", [149, 151, 900], unit="ms", target=151), True),
        (Row("x", [151], unit="ms", target=150), False),
        (Row("x", [151], unit="ms"), None),
    ],
)
def test_targets_are_met_or_missed(row: Row, met: bool | None) -> None:
    assert row.met is met
    said = row.cells()[4]
    assert ("MISSED" in said, ": met" in said) == (met is False, met is True)


def test_the_build_in_which_every_backend_runs_is_beside_the_other() -> None:
    table = Table("t", "T", [Row("x", [1.0], [30.0], built=[3.0], target=30), Row("y", [2.0])])
    assert table.markdown().splitlines()[2] == "| x | 1 s | 30 s | 30x | ≥ 30x: met | 3 s | 10x |"
    assert "backends run" not in Table("t", "T", [Row("y", [2.0])]).markdown()


def test_a_small_run_judges_nothing() -> None:
    table = Table(
        "t", "T", [Row("x", [1], [2], target=30)], measured={"rounds": 1, "when": "", "load": "", "projects": 4}
    )
    assert "≥ 30x" in table.text()
    assert "MISSED" not in table.text()
    assert "targets are for more" in table.text()


def test_tables_of_two_runs_are_kept_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    save(path, [Table("one", "1", [Row("x", [1.0], [2.0])]), Table("two", "2")], {}, {})
    save(path, [Table("one", "1", [Row("x", [1.0], [3.0], keys={"projects": 4})])], {"cores": "2"}, {"uv": "1"})
    one, two = load(path)
    assert (one.rows[0].ratio, one.rows[0].keys, two.name) == (3, {"projects": 4}, "two")
    assert json.loads(path.read_text())["tables"][0]["rows"][0]["ratio"] == 3


def test_pages_are_filled_where_they_are_marked() -> None:
    text = "a\n<!-- bench:one -->\nold\n<!-- /bench -->\nb\n<!-- bench:two -->\nkept\n<!-- /bench -->\n"
    filled, missing = page.filled(text, {"one": "| new |\n"})
    assert filled == text.replace("old\n", "| new |\n")
    assert missing == ["two"]
    assert page.filled(filled, {"one": "| new |\n"})[0] == filled


def test_every_mark_in_the_documentation_is_a_table() -> None:
    import run

    marks = page.MARKED.findall((ROOT / "docs" / "explanation" / "performance.md").read_text(encoding="utf-8"))
    assert {name for _, name, _, _ in marks} == {*run.TABLES, "machine"}


def test_the_parts_of_an_edge_add_up(tmp_path: Path) -> None:
    def event(name: str, start: float, end: float, **more: object) -> dict[str, object]:
        return {"ph": "X", "pid": 1, "tid": 1, "name": name, "cat": "span", "ts": start, "dur": end - start, **more}

    events = [
        event("prepare a", 0, 9000, cat="prepare", args={"stamp": "a"}),
        event("build", 1000, 6000),
        event("fsync", 2000, 3000),
        event("unpack", 6000, 8000),
        event("install a", 9000, 10000, cat="install", args={"stamp": "b"}),
        event("fsync", 9000, 9500),
    ]
    trace = tmp_path / "t.json"
    trace.write_text(json.dumps({"traceEvents": events}), encoding="utf-8")
    assert edges.parts(trace, "prepare") == {
        "the whole edge": [9.0],
        "backend: build_editable": [4.0],
        "unpack": [2.0],
        edges.REST: [2.0],
        "fsync": [1.0],
    }
    assert edges.parts(trace, "venv") == {}


def test_charts_are_well_formed() -> None:
    rows = [
        Row("", [count / 30], [count * 1.2], keys={"projects": count, "peer": peer})
        for count in (32, 64, 128)
        for peer in ("uv, an edge each", "one uv")
    ]
    parts = [
        Row("", [3.0, 4.0], keys={"edge": "prepare <x>", "part": part}) for part in ("fsync", "locks", "the whole edge")
    ]
    for text in (chart.by_size(rows), chart.bars(parts)):
        assert ET.fromstring(text).tag.endswith("svg")
        assert "prefers-color-scheme: dark" in text


def test_workspaces_have_the_shape_that_they_are_named_for(tmp_path: Path) -> None:
    graph = workspaces.layered(tmp_path / "a", 128, "setuptools").graph
    depth: dict[str, int] = {}
    for name, dependencies in graph.items():
        depth[name] = 1 + max((depth[one] for one in dependencies), default=0)
    assert len(graph) == 128
    assert max(depth.values()) == 6
    assert {len(dependencies) for name, dependencies in graph.items() if depth[name] > 1} == {2}
    assert [len(one) for one in workspaces.hub(tmp_path / "b", 5, "hatchling").graph.values()] == [0, 1, 1, 1, 1, 1]


def test_what_fails_is_shown(tmp_path: Path) -> None:
    with pytest.raises(measuring.Failed, match=r"(?s)failed \(3\).*last words"):
        measuring.run([sys.executable, "-c", "print('last words'); raise SystemExit(3)"], os.environ)


@posix_only
def test_a_table_is_measured(tmp_path: Path) -> None:
    """The one that needs no peer: a real workspace is built, and changed."""
    tools = toolbox.Toolbox(tmp_path, {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})
    mine = product.Product(tools.environ, jobs=4)
    table = small_changes.every_day(bench.Bench(mine, tools, tmp_path / "scratch", rounds=1, projects=3))
    mine.stop_workers()
    assert [len(row.ours) for row in table.rows] == [3, 3, 3, 1, 1]
    assert None not in {table.rows[0].ratio, table.rows[1].ratio}
    assert "plain edges" in table.markdown()


@posix_only
@pytest.mark.parametrize("script", ["run.py", "compare.py"])
def test_the_commands_explain_themselves(script: str) -> None:
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "python benchmarks/" in done.stdout
