"""Spans: what is written, and when."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from interlock.timings import VARIABLE, record, span


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "spans"))
    return tmp_path / "spans"


def spans(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def test_a_span_says_what_and_when(file: Path) -> None:
    with span("outer", "core"):
        pass
    record("before", 5, "leaf")
    outer, before = spans(file)
    assert (outer["span"], outer["subject"], outer["pid"]) == ("outer", "core", os.getpid())
    assert 0 <= outer["seconds"] < 60
    assert (before["start_ns"], before["subject"]) == (5, "leaf")


def test_nothing_is_written_as_long_as_a_span_lasts(file: Path) -> None:
    """All processes of a build write to one file: who holds a lock must not wait for it."""

    def fail() -> None:
        with span("held"):
            with span("first"):
                record("second", 1)
            assert not file.exists()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [one["span"] for one in spans(file)] == ["second", "first", "held"]


def test_threads_have_spans_of_their_own(file: Path) -> None:
    with span("mine"):
        thread = threading.Thread(target=lambda: record("theirs", 1))
        thread.start()
        thread.join()
        assert [one["span"] for one in spans(file)] == ["theirs"]
    assert [one["span"] for one in spans(file)] == ["theirs", "mine"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_writes_nothing_that_its_parent_does(file: Path) -> None:
    with span("outer"):
        record("parent", 1)
        if not (child := os.fork()):
            try:
                record("child", 1)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert [one["span"] for one in spans(file)] == ["child"]
    assert [one["span"] for one in spans(file)] == ["child", "parent", "outer"]


def test_nothing_is_measured_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    with span("outer"):
        record("inner", 1)
    assert os.listdir(tmp_path) == []
