"""Projects with a build backend of their own, in their own tree: real hooks in real processes, and no index to ask."""

from __future__ import annotations

import textwrap
from pathlib import Path

PYPROJECT = """\
[build-system]
requires = {requires}
build-backend = "backend"
backend-path = ["."]

[project]
name = "{name}"
version = "{version}"
"""

BACKEND = """\
import base64, hashlib, json, os, zipfile

NAME, VERSION = {name!r}, {version!r}
STEM = NAME.replace("-", "_").replace(".", "_") + "-" + VERSION
METADATA = "Metadata-Version: 2.1\\nName: " + NAME + "\\nVersion: " + VERSION + "\\n"
FILES = {{STEM + ".pth": os.getcwd() + "\\n"}}
SCRIPTS = {{}}

def wheel(directory):
    files = dict(FILES)
    files[STEM + ".dist-info/METADATA"] = METADATA
    files[STEM + ".dist-info/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    if SCRIPTS:
        lines = ["[console_scripts]", *(key + " = " + value for key, value in SCRIPTS.items())]
        files[STEM + ".dist-info/entry_points.txt"] = "\\n".join(lines) + "\\n"
    record = ""
    name = STEM + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for path, text in files.items():
            data = text.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += "%s,sha256=%s,%d\\n" % (path, digest, len(data))
            archive.writestr(path, data)
        archive.writestr(STEM + ".dist-info/RECORD", record + STEM + ".dist-info/RECORD,,\\n")
    return name

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return wheel(wheel_directory)

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return wheel(wheel_directory)
"""


def make_project(
    directory: Path,
    name: str = "core",
    version: str = "1.0",
    *,
    requires: list[str] | None = None,
    project: str = "",
    backend: str = "",
) -> Path:
    """Write a project; `project` is more of its [project] table, `backend` more code of its backend."""
    directory.mkdir(parents=True, exist_ok=True)
    pyproject = PYPROJECT.format(requires=requires or [], name=name, version=version)
    (directory / "pyproject.toml").write_text(pyproject + textwrap.dedent(project), encoding="utf-8")
    code = BACKEND.format(name=name, version=version) + textwrap.dedent(backend)
    (directory / "backend.py").write_text(code, encoding="utf-8")
    return directory
