"""Scripts: their text is that of pip, they run from awkward places, and what cannot be made is refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.environment import Environment, open_environment
from interlock.errors import WheelError
from interlock.scripts import EntryPoint, make_script, parse_scripts, rewrite_script, shebang

POSIX = pytest.mark.skipif(os.name == "nt", reason="scripts are programs on Windows")
LONG = "/" + "x" * 124


def rewritten(data: bytes, environment: Environment, size: int = 1 << 20) -> bytes:
    """Rewrite a script that comes in parts of `size` bytes."""
    return b"".join(rewrite_script((data[at : at + size] for at in range(0, len(data), size)), environment))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    path = tmp_path_factory.mktemp("scripts") / "env"
    venv.create(path, symlinks=os.name != "nt")
    return open_environment(str(path))


def test_console_and_gui_scripts_are_read() -> None:
    text = """
[console_scripts]
core = core.cli:main
# a comment
core-x=core.cli : Main.run [extra, other]
core = core.cli:later
[gui_scripts]
core-window = core.gui:main
core-x = core.gui:x
[other.group]
not/a script = anything
"""
    assert parse_scripts(text, "core.whl") == [
        EntryPoint("core", "core.cli", "later", gui=False),
        EntryPoint("core-x", "core.gui", "x", gui=True),
        EntryPoint("core-window", "core.gui", "main", gui=True),
    ]


@pytest.mark.parametrize(
    "line",
    [
        *("../core = core:main", "a/b = core:main", "a\\b = core:main", "C:core = core:main", ".. = core:main"),
        *(" = core:main", "core = core", "core = core:", "core = :main", "core = core:main()", "core = import os;x:y"),
        *("core = 1core:main", "core = core:main\x00", "core"),
    ],
)
def test_what_cannot_be_a_script_is_refused(line: str) -> None:
    with pytest.raises(WheelError, match="core.whl declares a script that cannot be made"):
        parse_scripts(f"[console_scripts]\n{line}\n", "core.whl")


def test_the_text_of_a_script(environment: Environment) -> None:
    entry = EntryPoint("core", "core.cli", "Main.run", gui=False)
    name, data = make_script(entry, environment, "linux")
    assert name == "core"
    assert data.decode() == (
        f"#!{environment.python}\nimport sys\nfrom core.cli import Main\nif __name__ == '__main__':\n"
        "    sys.argv[0] = sys.argv[0].removesuffix('.exe')\n    sys.exit(Main.run())\n"
    )


def test_old_interpreters_have_no_removesuffix(environment: Environment) -> None:
    old = replace(environment, interpreter=replace(environment.interpreter, version="3.8.18"))
    _, data = make_script(EntryPoint("core", "core", "main", gui=False), old, "linux")
    assert b"removesuffix" not in data
    assert b"if sys.argv[0].endswith('.exe'):\n        sys.argv[0] = sys.argv[0][:-4]\n" in data
    compile(data, "core", "exec")


def test_first_lines() -> None:
    assert shebang("/env/bin/python", "linux") == b"#!/env/bin/python\n"
    assert shebang(LONG[:124], "linux") == f"#!{LONG[:124]}\n".encode()
    assert shebang(LONG, "linux") == f"#!/bin/sh\n'''exec' {LONG} \"$0\" \"$@\"\n' '''\n".encode()
    assert shebang(LONG, "darwin") == f"#!{LONG}\n".encode()
    assert shebang("/a b/python", "linux") == b"#!/bin/sh\n'''exec' \"/a b/python\" \"$0\" \"$@\"\n' '''\n"
    assert shebang("/a $b/python", "linux") == b"#!/bin/sh\n'''exec' '/a $b/python' \"$0\" \"$@\"\n' '''\n"
    assert shebang("C:\\a b\\python.exe", "win32") == b'#!"C:\\a b\\python.exe"\n'
    assert shebang("/é/python", "linux") == "#!/é/python\n".encode()
    with pytest.raises(WheelError, match="not UTF-8"):
        shebang("/\udcff/python", "linux")


@POSIX
@pytest.mark.parametrize(
    "directory",
    ["plain", "with space", "with 'quote' and $HOME and `pwd`", 'double " quote', "x" * 140, "é ñ", "a;b#c"],
)
def test_scripts_run_wherever_the_environment_is(directory: str, tmp_path: Path) -> None:
    path = tmp_path / directory / "env"
    venv.create(path, symlinks=True)
    environment = open_environment(str(path))
    Path(environment.site_packages[0], "core.py").write_text(
        "def main():\n    import sys\n    print(sys.prefix, sys.argv[1])\n", encoding="utf-8"
    )
    _, data = make_script(EntryPoint("core", "core", "main", gui=False), environment)
    for name, content in (
        ("core", data),
        (
            "rewritten",
            rewritten(
                b"#!python3 -u\n" + data.split(b"\n' '''\n")[-1].removeprefix(shebang(environment.python)), environment
            ),
        ),
    ):
        script = tmp_path / name
        script.write_bytes(content)
        script.chmod(0o755)
        result = subprocess.run([script, "an 'argument' $x"], capture_output=True, text=True, check=False)
        assert (result.stdout, result.stderr) == (f"{environment.path} an 'argument' $x\n", "")


def test_only_the_first_line_of_a_python_script_changes(environment: Environment) -> None:
    line = shebang(environment.python)
    assert rewritten(b"#!python\nprint(1)\n", environment) == line + b"print(1)\n"
    assert rewritten(b"#!pythonw\r\nprint(1)\r\n", environment) == line + b"print(1)\r\n"
    assert rewritten(b"#!python", environment) == line
    assert rewritten(b"#!python -u\nprint(1)\n", environment, size=9) == line + b"print(1)\n"
    for other in (b"#!/usr/bin/env python\n", b"#!/bin/sh\n#!python\n", b"\x7fELF", b""):
        assert rewritten(other, environment) == other
        assert rewritten(other, environment, size=9) == other


def test_windows_gets_launchers(environment: Environment) -> None:
    distlib = pytest.importorskip("distlib")
    markers = {**environment.interpreter.markers, "platform_machine": "AMD64"}
    there = replace(environment, interpreter=replace(environment.interpreter, markers=markers))
    launchers = Path(distlib.__file__).parent
    name, data = make_script(EntryPoint("core.py", "core", "main", gui=False), there, "win32")
    assert name == "core.exe"
    assert data.startswith((launchers / "t64.exe").read_bytes() + b"#!")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["__main__.py"]
        assert b"sys.exit(main())" in archive.read("__main__.py")
    name, window = make_script(EntryPoint("core", "core", "main", gui=True), there, "win32")
    assert name == "core.exe"
    assert window.startswith((launchers / "w64.exe").read_bytes())
    assert b"pythonw" in window[len((launchers / "w64.exe").read_bytes()) :]
    assert make_script(EntryPoint("core", "core", "main", gui=True), there, "win32") == (name, window), "no date inside"
    for machine, launcher in (("ARM64", "t64-arm.exe"), ("x86", "t32.exe")):
        other = replace(there, interpreter=replace(there.interpreter, markers={**markers, "platform_machine": machine}))
        _, data = make_script(EntryPoint("core", "core", "main", gui=False), other, "win32")
        assert data.startswith((launchers / launcher).read_bytes())


@POSIX
def test_distlib_is_loaded_only_for_windows() -> None:
    code = "import sys, interlock.prepare; print('distlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
