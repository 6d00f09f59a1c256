"""A short run of the fuzzer, and what longer ones have found: each input is read, or refused in the reader's own words."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from fuzz_readers import attempt
from targets import Target, all_targets

from interlock.durable import Disk
from interlock.environment import record_identity

ROUNDS = int(os.environ.get("INTERLOCK_TEST_ROUNDS", "40"))
NUMBER = b"9" * 5000
POETRY = b"[build-system]\nrequires = []\nbuild-backend = 'poetry.core.masonry.api'\n[tool.poetry]\nname = 'a'\nversion = '1'\n"
FINDS = [
    ("pyproject.toml", b"[project]\nname = " + b"[" * 3000 + b"]" * 3000),
    ("pyproject.toml", b'[tool.setuptools]\npackages = ["a\\u0000b"]\n[project]\nname = "core"\nversion = "1"\n'),
    ("pyproject.toml", b'[tool.poetry]\nname = "a"\nversion = "1"\npackages = 1.5\n[build-system]\nrequires = []\n'),
    ("pyproject.toml", b'[project]\nname = "core"\nversion = "' + NUMBER + b'"\n[build-system]\nrequires = []\n'),
    ("pyproject.toml", POETRY + b"[tool.poetry.dependencies]\nb = { version = '1', extras = 7 }\n"),
    ("setup.cfg", b"[metadata]\nname = core\nversion = attr: core" + b".a" * 3000 + b".x\n"),
    ("setup.cfg", b"[metadata]\nname = core\nlicense_files = " + b"*/" * 3000 + b"x\n"),
    ("pyproject.toml", b'[project]\nname = "core"\nversion = "1"\ndependencies = ["a; extras == \'x\'"]\n'),
    ("interlock.toml", b'out = "a\\u0000b"\n'),
    ("interlock.toml", b'[environments.dev]\npath = "\\u0000"\n'),
    ("manifest", b"[" * 3000),
    ("requirements.txt", b"-r a\0b\n"),
    ("requirements.txt", b"-e a\0b\n"),
    ("requirements.txt", b"-r " + b"x" * 300 + b"\n"),
    ("requirements.txt", b"# coding: hex\n"),
    ("requirements.txt", b"a; " + b"(" * 3000 + b"os_name == 'x'\n"),
    ("METADATA, installed", b"Name: core\nRequires-Python: >=" + NUMBER + b"\n"),
    ("METADATA, installed", b"Name: core\nRequires-Dist: a; " + b"(" * 3000 + b"\n"),
    ("METADATA in a wheel", b"Metadata-Version: 2.1\nName: core\nVersion: " + NUMBER + b"\n"),
    (
        "METADATA in a wheel",
        b"Metadata-Version: 2.1\nName: core\nVersion: 1.0\nRequires-Dist: a; " + b"(" * 3000 + b"\n",
    ),
    ("journal.json", b'{"operations": [[]], "staging": ".interlock/staging/s", "directories": []}'),
    ("METADATA in a wheel", b"Metadata-Version: 2.1\nName: core\nVersion: 1.0\nRequires-Dist: a; 'x' in extras\n"),
    ("METADATA, installed", b"Name: core\nRequires-Dist: a; extras == 'x'\n"),
    ("journal.json", b'{"operations": {}, "staging": ".", "directories": []}'),
    ("journal.json", b"[" * 3000),
    ("stamp, checked", b"[" * 3000),
    ("direct_url.json, installed", b"[" * 3000),
]
NAMES = [
    *("pyproject.toml", "setup.cfg", "interlock.toml", "manifest", "prepared", "stamp", "RECORD", "METADATA"),
    *("METADATA of a wheel", "entry_points.txt", "labels", "requirements.txt", "direct_url.json, installed"),
    *("RECORD, installed", "METADATA, installed", "stamp, checked", "journal.json", "wheel", "METADATA in a wheel"),
    *("WHEEL in a wheel", "entry_points.txt in a wheel", "RECORD in a wheel"),
]


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    place = tmp_path_factory.mktemp("place")
    venv.create(place / "env", symlinks=os.name != "nt")
    record_identity(str(place / "env"), new=True, disk=Disk("fast"))
    return {one.name: one for one in all_targets(tmp_path_factory.mktemp("work"), str(place / "env"))}


def test_every_target_is_tried(targets: dict[str, Target]) -> None:
    assert list(targets) == NAMES
    for target in targets.values():
        for sample in target.samples:
            assert attempt(target, sample) == ("read", ""), target.name


@pytest.mark.parametrize(("name", "data"), FINDS)
def test_what_was_found_once(name: str, data: bytes, targets: dict[str, Target]) -> None:
    end, trace = attempt(targets[name], data)
    assert not trace, f"{end}\n{trace}"


@pytest.mark.stress
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=ROUNDS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 48))
def test_a_reader(name: str, seed: int, targets: dict[str, Target]) -> None:
    data = targets[name].make(Random(seed))
    end, trace = attempt(targets[name], data)
    assert not trace, f"seed {seed}: {end}\n{trace}"


def test_a_find_is_one() -> None:
    def broken(_: bytes) -> None:
        raise KeyError("x")

    end, trace = attempt(Target("x", (), [b""], broken), b"")
    assert end.startswith("FIND KeyError at ")
    assert "broken" in trace
