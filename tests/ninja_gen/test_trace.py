"""Traces: what Ninja's log and the spans make together, and `interlock build --trace` of real builds, however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from interlock.durable import Disk
from interlock_ninja.trace import EdgeRun, Span, edge_runs, log_entries, read_spans, trace_text
from interlock_runner import interlock, succeed
from trees import pyproject, write_tree

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
MS = 1_000_000
PATIENCE = 120.0
HEADER = b"# ninja log v7\n"
OWN_BACKEND = '[build-system]\nrequires = ["flit_core>=3.11"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def at(name: str, start_ms: float, end_ms: float, edge: str = "a/install.stamp", pid: int = 1) -> Span:
    return Span(name, "", round(start_ms * MS), round(end_ms * MS), pid, edge)


def test_the_log_of_one_build_is_what_it_appended() -> None:
    before = HEADER + b"0\t9\t1\told\tff\n"
    assert log_entries(before, before + b"3\t8\t2\tnew stamp\tee\n") == [(3, 8, "new stamp")]
    assert log_entries(b"", HEADER + b"3\t8\t2\tnew\tee\n") == [(3, 8, "new")]


def test_a_log_that_ninja_wrote_anew_is_told_apart_line_by_line() -> None:
    before = HEADER + b"0\t9\t1\tone\tff\n1\t9\t1\ttwo\tff\n0\t9\t1\tone\tff\n"
    after = HEADER + b"1\t9\t1\ttwo\tff\n0\t9\t1\tone\tff\n2\t4\t1\tone\tff\n"
    assert log_entries(before, after) == [(2, 4, "one")]


def test_lines_of_spans_that_are_none_are_passed_over(tmp_path: Path) -> None:
    whole = '{"span": "commit", "subject": "a", "seconds": 0.5, "start_ns": 7, "pid": 3, "edge": "s"}'
    path = tmp_path / "spans"
    path.write_text(f'an older line\n{whole}\n{{"span": "commit"}}\n[]\n{whole[:40]}', encoding="utf-8")
    assert read_spans(str(path)) == [Span("commit", "a", 7, 500_000_007, 3, "s")]
    assert read_spans(str(path), offset=len("an older line\n" + whole)) == []
    assert read_spans(str(tmp_path / "none")) == []


def test_edges_lie_where_their_spans_are() -> None:
    """Ninja counts from some milliseconds after it was started, and writes down whole milliseconds."""
    spans = [at("lock held", 115.4, 119.9)]
    (run,) = edge_runs([(5, 9, "a/install.stamp")], spans, started_ns=100 * MS)
    assert run.start_ns <= spans[0].start_ns
    assert run.end_ns >= spans[0].end_ns
    assert run.end_ns - run.start_ns <= 6 * MS


def test_an_edge_that_failed_is_known_by_its_spans() -> None:
    spans = [at("build", 10, 20, "b/prepare.stamp"), at("other", 1, 2, "")]
    (run,) = edge_runs([], spans, started_ns=0)
    assert (run.output, run.done, run.start_ns, run.end_ns) == ("b/prepare.stamp", False, 10 * MS, 20 * MS)


@pytest.mark.parametrize(
    ("output", "label"),
    [
        ("my-core__editable_install", "install my-core"),
        ("venv__my-core__editable_prepare", "prepare venv__my-core"),
        ("interlock/venv/projects/a/install.stamp", "install a"),
        ("interlock/tools/requirements.stamp", "requirements tools"),
        ("interlock/build-env/05ab.stamp", "build-env 05ab"),
        ("build.ninja", "build.ninja"),
    ],
)
def test_an_edge_is_called_what_it_does(output: str, label: str) -> None:
    assert EdgeRun(output, 0, 1, True, ()).label == label


def test_edges_at_once_have_lanes_of_their_own_and_spans_nest() -> None:
    overlapping = [at("build", 2, 6, "p/a.stamp"), at("fork", 1, 3, "p/a.stamp", pid=2)]
    runs = edge_runs([(0, 9, "p/a.stamp"), (0, 4, "p/b.stamp"), (5, 8, "p/c.stamp")], overlapping, 0)
    document = json.loads(trace_text(runs, began_ns=0, started_ns=0, ended_ns=9 * MS, what="interlock build"))
    lanes = {
        event["args"]["stamp"]: event["tid"] for event in document["traceEvents"] if "stamp" in event.get("args", {})
    }
    assert lanes == {"p/a.stamp": 1, "p/b.stamp": 2, "p/c.stamp": 2}
    check_trace(document)


def check_trace(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Insist on what viewers need: known phases, times that are not negative, events of a track that nest; return the edges."""
    events = document["traceEvents"]
    assert {event["ph"] for event in events} <= {"X", "M", "C"}
    tracks: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for event in events:
        assert {"pid", "tid", "name"} <= event.keys()
        if event["ph"] == "X":
            assert event["ts"] >= 0
            assert event["dur"] >= 0
            tracks.setdefault((event["pid"], event["tid"]), []).append(event)
    for track in tracks.values():
        ends: list[float] = []
        for event in sorted(track, key=lambda event: (event["ts"], -event["dur"])):
            while ends and ends[-1] <= event["ts"] + 0.002:  # rounding
                ends.pop()
            assert not ends or event["ts"] + event["dur"] <= ends[-1] + 0.002, event
            ends.append(event["ts"] + event["dur"])
    return [event for event in events if "stamp" in event.get("args", {})]


def workspace(root: Path, backend: str = "") -> Path:
    """Write a workspace of two projects, of which the second has a backend of its own where one is given."""
    files = {
        "interlock.toml": "",
        "core/core.py": '"""c"""\n',
        "core/pyproject.toml": pyproject("core", more='description = "c"'),
    }
    files |= {"leaf/leaf.py": '"""l"""\n', "leaf/pyproject.toml": pyproject("leaf", "core", more='description = "l"')}
    if backend:
        files["leaf/pyproject.toml"] = pyproject("leaf", "core", more='description = "l"', build=OWN_BACKEND)
        files["leaf/backend.py"] = f"from flit_core.buildapi import *\nimport sys, time\n{backend}"
    return write_tree(root, files)


def traced(path: Path) -> dict[str, dict[str, Any]]:
    """Read a trace; return the edges by what they do."""
    return {event["name"]: event for event in check_trace(json.loads(path.read_text(encoding="utf-8")))}


def test_a_build_leaves_a_trace_of_this_build_alone(tmp_path: Path) -> None:
    root, trace = workspace(tmp_path / "ws"), tmp_path / "trace.json"
    said = succeed("build", "--trace", trace, cwd=root)
    assert "ui.perfetto.dev" in said
    edges = traced(trace)
    installed = edges["install leaf"]
    assert {"lock held ms", "lock wait ms", "fsync ms", "commit ms"} <= installed["args"].keys()
    assert {"build ms", "unpack ms", "wait for source tree ms"} <= edges["prepare leaf"]["args"].keys()
    assert (
        edges["install core"]["ts"] + edges["install core"]["dur"] <= installed["ts"] + 2000
    )  # Ninja counts in milliseconds
    assert not list((root / "out").glob(".interlock-spans*"))
    assert "no work to do" in succeed("build", "--trace", "again.json", cwd=root)
    assert traced(root / "again.json") == {}
    (root / "leaf" / "pyproject.toml").write_text(pyproject("leaf", "core", version="2", more='description = "l"'))
    succeed("build", "--trace", trace, cwd=root)
    assert {name for name in traced(trace) if "core" not in name and "build-env" not in name} >= {
        "prepare leaf",
        "install leaf",
    }
    assert "install core" not in traced(trace)


def test_a_measurement_that_was_asked_for_goes_on(tmp_path: Path) -> None:
    root, spans = workspace(tmp_path / "ws"), tmp_path / "spans"
    spans.write_text("mine\n", encoding="utf-8")
    succeed("build", "--trace", "t.json", cwd=root, INTERLOCK_TIMINGS=str(spans))
    assert "lock held ms" in traced(root / "t.json")["install leaf"]["args"]
    lines = spans.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "mine"
    assert {json.loads(line)["edge"] for line in lines[1:]} >= {"leaf__editable_install"}


def test_a_build_that_fails_leaves_a_trace_and_ninjas_exit_code(tmp_path: Path) -> None:
    root = workspace(tmp_path / "ws", "def build_editable(*a):\n    sys.exit(3)\n")
    plain = interlock("build", cwd=root)
    failed = interlock("build", "--trace", "t.json", cwd=root)
    assert failed.returncode == plain.returncode != 0
    edges = traced(root / "t.json")
    assert edges["prepare leaf (failed or interrupted)"]["args"]["build ms"] > 0


@pytest.mark.parametrize("path", ["missing/t.json", "core"])
def test_a_trace_that_cannot_be_is_refused_before_the_build(tmp_path: Path, path: str) -> None:
    root = workspace(tmp_path / "ws")
    refused = interlock("build", "--trace", path, cwd=root)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"interlock: error: --trace {path}: ")
    assert not (root / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes")
def test_a_trace_takes_the_place_of_no_device_and_no_link(tmp_path: Path) -> None:
    root = workspace(tmp_path / "ws")
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("out.json", "pipe"), ("link.json", "t.json")):
        (tmp_path / name).symlink_to(target)
    refused = interlock("build", "--trace", tmp_path / "out.json", cwd=root)
    assert (refused.returncode, "that is no file" in refused.stderr) == (2, True)
    assert (tmp_path / "pipe").is_fifo()
    succeed("build", "--trace", tmp_path / "link.json", cwd=root)
    assert (tmp_path / "link.json").is_symlink()
    assert traced(tmp_path / "t.json")


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_build_that_is_interrupted_leaves_a_trace(tmp_path: Path, number: signal.Signals) -> None:
    backend = "def build_editable(*a):\n    open('begun', 'w').close()\n    time.sleep(600)\n"
    root = workspace(tmp_path / "ws", backend)
    command = [sys.executable, "-P", "-m", "interlock", "build", "--root", root, "--trace", tmp_path / "t.json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True) as build:
        try:
            wait_for(root / "leaf" / "begun", build)
            os.kill(build.pid, number)
            said, _ = build.communicate(timeout=PATIENCE)
        finally:
            build.kill()
    assert build.returncode not in {0, -number}, said  # Ninja's, which it reports
    assert "prepare leaf (failed or interrupted)" in traced(tmp_path / "t.json")
    assert not list((root / "out").glob(".interlock-spans*"))


def wait_for(path: Path, build: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert build.poll() is None, build.communicate()
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


def test_nothing_is_measured_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from interlock import platforms

    monkeypatch.delenv("INTERLOCK_TIMINGS", raising=False)
    assert type(platforms.current("linux")) is platforms.Posix
    monkeypatch.setenv("INTERLOCK_TIMINGS", str(tmp_path / "spans"))
    Disk().publish(str(tmp_path / "file"), b"x")
    assert [(span.name, span.subject) for span in read_spans(str(tmp_path / "spans"))] == [
        ("fsync", ""),
        ("fsync", "directory"),
    ]
