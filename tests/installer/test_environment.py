"""What an environment is, and how it is told from another one at its path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from interlock.durable import Disk
from interlock.environment import (
    identity_file,
    is_environment,
    open_environment,
    python_path,
    record_identity,
    record_identity_of_new,
)
from interlock.errors import NotAnEnvironment

DISK = Disk("fast")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    venv.create(tmp_path / "e", symlinks=os.name != "nt")
    return tmp_path / "e"


def test_an_environment_of_another_tool_is_opened(made: Path) -> None:
    environment = open_environment(str(made))
    assert environment.path == os.path.realpath(made)
    assert environment.identity == ""
    assert environment.interpreter.version == "{}.{}.{}".format(*sys.version_info)
    assert environment.python == python_path(environment.path)
    question = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = subprocess.run(
        [environment.python, "-I", "-c", question], capture_output=True, text=True, check=True
    ).stdout
    assert environment.site_packages == [purelib.strip()]


def test_opening_writes_nothing(made: Path) -> None:
    open_environment(str(made))
    assert not (made / ".interlock").exists()


def test_an_identity_stays_until_a_new_one_is_asked_for(made: Path) -> None:
    first = record_identity(str(made), new=False, disk=DISK)
    assert len(first.identity) == 32
    assert record_identity(str(made), new=False, disk=DISK) == first
    assert open_environment(str(made)) == first
    assert record_identity(str(made), new=True, disk=DISK).identity != first.identity


def test_what_is_noted_spares_the_question(made: Path) -> None:
    first = record_identity(str(made), new=True, disk=DISK)
    note = json.loads((made / ".interlock" / "environment.json").read_text(encoding="utf-8"))
    note["interpreter"]["version"] = "3.99.0"
    (made / ".interlock" / "environment.json").write_text(json.dumps(note), encoding="utf-8")
    assert open_environment(str(made)).interpreter.version == "3.99.0"
    assert first.interpreter.version != "3.99.0"


def test_what_is_noted_is_not_believed_once_the_environment_changed(made: Path) -> None:
    first = record_identity(str(made), new=True, disk=DISK)
    note = json.loads((made / ".interlock" / "environment.json").read_text(encoding="utf-8"))
    note["interpreter"]["version"] = "3.99.0"
    (made / ".interlock" / "environment.json").write_text(json.dumps(note), encoding="utf-8")
    os.utime(made / "pyvenv.cfg", ns=(1, 1))
    # It is still the same environment, with its identity; the facts are asked anew.
    assert open_environment(str(made)) == first


@pytest.mark.parametrize(
    "damage",
    [b"", b"[]", b"{}", b'{"schema": 1}', b'{"schema": 2, "path": "x"}', b"\xff", b'"text"'],
)
def test_a_damaged_note_is_no_note(made: Path, damage: bytes) -> None:
    record_identity(str(made), new=True, disk=DISK)
    (made / ".interlock" / "environment.json").write_bytes(damage)
    assert open_environment(str(made)).identity == ""
    assert len(record_identity(str(made), new=False, disk=DISK).identity) == 32


@pytest.mark.parametrize("field", ["identity", "interpreter", "witness", "path"])
def test_a_note_that_lacks_something_is_no_note(made: Path, field: str) -> None:
    record_identity(str(made), new=True, disk=DISK)
    path = made / ".interlock" / "environment.json"
    note = json.loads(path.read_text(encoding="utf-8"))
    del note[field]
    path.write_text(json.dumps(note), encoding="utf-8")
    assert open_environment(str(made)).identity == ""


def test_a_copy_is_another_environment(made: Path, tmp_path: Path) -> None:
    first = record_identity(str(made), new=True, disk=DISK)
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    copy = open_environment(str(tmp_path / "copy"))
    assert copy.identity == ""
    assert record_identity(str(tmp_path / "copy"), new=False, disk=DISK).identity != first.identity
    assert open_environment(str(made)) == first


def test_a_deleted_and_recreated_environment_is_another(made: Path) -> None:
    record_identity(str(made), new=True, disk=DISK)
    venv.create(made, clear=True, symlinks=os.name != "nt")
    assert open_environment(str(made)).identity == ""


def test_the_identity_of_a_new_one_is_noted_before_it_is_in_its_place(tmp_path: Path) -> None:
    built, final = tmp_path / ".built", os.path.join(os.path.realpath(tmp_path), "final")
    venv.create(built, symlinks=os.name != "nt")
    interpreter = open_environment(str(built)).interpreter
    noted = record_identity_of_new(str(built), final, interpreter, disk=DISK, mtime_ns=5_000_000_000)
    assert os.stat(identity_file(str(built))).st_mtime_ns == 5_000_000_000
    os.rename(built, final)
    assert noted.path == final
    assert open_environment(final) == noted
    # The note was believed, no interpreter was asked: the witness holds for the final place.
    note = json.loads(Path(identity_file(final)).read_text(encoding="utf-8"))
    assert note["witness"][0][0] == os.path.join(final, "pyvenv.cfg")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")
def test_a_link_to_an_environment_is_that_environment(made: Path, tmp_path: Path) -> None:
    first = record_identity(str(made), new=True, disk=DISK)
    (tmp_path / "link").symlink_to(made)
    assert open_environment(str(tmp_path / "link")) == first


def test_uvs_environments_are_environments(tmp_path: Path) -> None:
    import uv

    subprocess.run([uv.find_uv_bin(), "-q", "venv", "--python", sys.executable, str(tmp_path / "e")], check=True)
    environment = record_identity(str(tmp_path / "e"), new=False, disk=DISK)
    assert os.path.isdir(environment.site_packages[0])
    assert open_environment(str(tmp_path / "e")) == environment


def test_what_is_none_says_why(made: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    assert why(tmp_path / "nothing") == "nothing is there"
    assert why(tmp_path / "file") == "it is not a directory"
    assert why(tmp_path / "directory") == "it has no pyvenv.cfg"
    shutil.rmtree(os.path.dirname(python_path(str(made))))
    assert (
        why(made)
        == f"its python ({python_path(os.path.realpath(made))}) is missing; was the interpreter that made it removed?"
    )
    assert not is_environment(str(made))


def why(path: Path) -> str:
    with pytest.raises(NotAnEnvironment) as caught:
        open_environment(str(path))
    assert caught.value.exit_code == 21
    assert "interlock venv" in caught.value.advice
    assert not is_environment(str(path))
    return caught.value.message.partition("not a virtual environment: ")[2]
