"""Whose turn it is in a worker; that its processes do what they are told is in test_worker_start and test_worker_jobs."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("workers are on Linux", allow_module_level=True)

import resource

from interlock._worker_jobs import Client
from interlock._worker_programs import Own
from interlock._worker_server import PATIENCE, Process, Server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a worker of two processors that does not serve."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.chdir(tmp_path)  # for a path that is short enough
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("a.sock")
        made = Server(Own(), listener, "a.sock", 10.0)
        try:
            yield made
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for client in made.clients.values():
                client.connection.close()
            for descriptor in (made.start.lifeline, made.start.end_of_lifeline):
                os.close(descriptor)


def client(server: Server, kind: str) -> Client:
    """Return a client that wants to install ("i") or to prepare ("p")."""
    made = Client(socket.socket(socket.AF_UNIX))
    made.fields = [b"run", b"1" if kind == "i" else b""]
    server.clients[made.connection.fileno()] = made
    return made


@pytest.mark.parametrize(
    ("running", "waiting", "turn"),
    [
        ("", "p", "p"),
        ("", "ip", "i"),
        ("ppp", "p", "p"),
        ("pppp", "p", ""),
        ("pppp", "i", ""),  # they are not stopped
        ("ppp", "ip", "i"),
        ("ip", "p", "p"),
        ("ipp", "p", ""),  # a commit holds the environment: no more beside it
        ("ipp", "ip", "i"),
        ("ii", "i", ""),
        ("ii", "ip", "p"),  # who cannot begin keeps nobody else from it
        ("iipp", "ip", ""),
        ("iii", "ip", "p"),  # one was let in beyond that
        ("", "", ""),
    ],
)
def test_whose_turn_it_is(running: str, waiting: str, turn: str, server: Server) -> None:
    for number, kind in enumerate(running, 1):
        server.processes[number] = Process(number)
        server.processes[number].client = client(server, kind)
    server.processes[100] = idle = Process(100)
    server.idle.append(idle)
    server.waiting = [client(server, kind) for kind in waiting]
    server.last_end = time.monotonic() + 1000
    found = server.whose_turn()
    assert ("" if found is None else "i" if found.is_urgent else "p") == turn
    # Has none ended for long, then one that others wait for may be among those that wait.
    server.last_end = time.monotonic() - PATIENCE
    assert server.whose_turn() is (server.waiting[0] if waiting else None)
