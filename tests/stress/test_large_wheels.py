"""Wheels of hundreds of megabytes and of thousands of files go through an edge in little memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "installer"))
from projects import make_project

from interlock_runner import succeed
from measured import peak_memory

pytestmark = [pytest.mark.stress, pytest.mark.skipif(os.name == "nt", reason="the kernel is asked as POSIX has it")]

MEBIBYTES = int(os.environ.get("INTERLOCK_TEST_MEBIBYTES", "256"))
FILES = int(os.environ.get("INTERLOCK_TEST_FILES", "2000"))
MOST = 100 << 20

# A backend whose wheel has one large file, written and measured in a stream, and a script as large as that.
LARGE = """
MEBIBYTES = {mebibytes}

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = STEM + "-py3-none-any.whl"
    record, chunk = "", bytes(1 << 20)
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        def add(path, chunks):
            nonlocal record
            digest, size = hashlib.sha256(), 0
            with archive.open(path, "w", force_zip64=True) as writer:
                for one in chunks:
                    digest.update(one)
                    size += len(one)
                    writer.write(one)
            encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
            record += "%s,sha256=%s,%d\\n" % (path, encoded, size)
        add("large.bin", (chunk for _ in range(MEBIBYTES)))
        add(STEM + ".data/scripts/large", [b"#!python\\n", *(chunk for _ in range(4))])
        add(STEM + ".dist-info/METADATA", [METADATA.encode()])
        add(STEM + ".dist-info/WHEEL", [b"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"])
        archive.writestr(STEM + ".dist-info/RECORD", record + STEM + ".dist-info/RECORD,,\\n")
    return name
"""


def edges(project: Path, place: Path) -> list[list[str]]:
    succeed("venv", place / "env")
    start = [sys.executable, "-P", "-m", "interlock"]
    prepared = str(place / "prepared")
    return [
        [*start, "prepare", str(project), "--venv", str(place / "env"), "--output", prepared, "--durability", "fast"],
        [*start, "install", prepared, "--venv", str(place / "env"), "--durability", "fast"],
    ]


def test_a_large_file_is_never_in_memory(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", backend=LARGE.format(mebibytes=MEBIBYTES))
    for command in edges(project, tmp_path):
        code, memory, output = peak_memory(command)
        print(f"{command[4]}: {memory / (1 << 20):.0f} MiB for a file of {MEBIBYTES} MiB")
        assert code == 0, output
        assert memory < MOST, f"{command[4]} took {memory / (1 << 20):.0f} MiB"
    (installed,) = (tmp_path / "env").rglob("large.bin")
    assert installed.stat().st_size == MEBIBYTES << 20
    assert succeed("check", "--venv", tmp_path / "env")


def test_a_limit_stops_it_before_anything_is_unpacked(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", backend=LARGE.format(mebibytes=8))
    prepare, _ = edges(project, tmp_path)
    code, _, output = peak_memory(prepare, INTERLOCK_UNPACKED_LIMIT="1000000")
    assert code == 50
    assert "the limit is 1,000,000" in output
    assert "set INTERLOCK_UNPACKED_LIMIT=" in output
    assert sorted(path.name for path in tmp_path.iterdir() if "lock" not in path.name) == ["env", "p"]
    make_project(project, backend="raise SystemExit(9)\n")  # a variable that is wrong is said before anything is built
    code, _, output = peak_memory(prepare, INTERLOCK_UNPACKED_LIMIT="some")
    assert (code, "INTERLOCK_UNPACKED_LIMIT is 'some', which is no number of bytes" in output) == (2, True)


def test_thousands_of_files(tmp_path: Path) -> None:
    backend = f'FILES.update({{"core/s%d/m%d.py" % (number % 100, number): "" for number in range({FILES})}})\n'
    project = make_project(tmp_path / "p", backend=backend)
    for command in edges(project, tmp_path):
        code, memory, output = peak_memory(command)
        print(f"{command[4]}: {memory / (1 << 20):.0f} MiB for {FILES} files")
        assert code == 0, output
        assert memory < MOST
    assert sum(1 for _ in (tmp_path / "env").rglob("m*.py")) >= FILES
    assert succeed("check", "--venv", tmp_path / "env")
