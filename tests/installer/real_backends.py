"""Real build backends, of the versions that are asked for, each loaded once and forked for each project that it builds."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

from interlock.build_environment import ensure
from interlock.build_recipe import make_recipe
from interlock.durable import Disk
from interlock.interpreter import find_interpreter
from interlock.static.backends import static_answer
from interlock.static.project import read_project
from interlock.static.tree import NotStatic, Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interlock.build_environment import BuildEnvironment

DRIVER = """\
import importlib, json, os, sys, warnings
warnings.simplefilter("ignore")
backend = importlib.import_module(sys.argv[1])

def build(directory, output, settings):
    try:
        os.chdir(directory)
        sys.argv = ["setup.py"]
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        if not output:
            ask = getattr(backend, "get_requires_for_build_editable", lambda settings: [])
            return {"requires": ask(settings)}
        return {"wheel": backend.build_editable(output, settings)}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"}

for line in sys.stdin:
    reading, writing = os.pipe()
    if not os.fork():
        os.write(writing, json.dumps(build(*json.loads(line))).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as reader:
        sys.stdout.write(reader.read().decode() + "\\n")
    sys.stdout.flush()
    os.wait()
"""

MODULES = {
    "flit_core": "flit_core.buildapi",
    "hatchling": "hatchling.build",
    "pdm-backend": "pdm.backend",
    "poetry-core": "poetry.core.masonry.api",
    "setuptools": "setuptools.build_meta",
    "uv_build": "uv_build",
}
# The newest that is known, and the oldest; hatchling asks for editables by itself.
VERSIONS = {
    "flit_core": ("4.2.0", "3.12.0"),
    "hatchling": ("1.33.0", "1.27.0"),
    "pdm-backend": ("2.5.0", "2.4.5"),
    "poetry-core": ("2.5.0", "2.2.0"),
    "setuptools": ("84.2.1", "77.0.3"),
    "uv_build": ("0.13.6", "0.9.30"),
}


@dataclass(frozen=True, slots=True)
class RealBackend:
    """A backend in a process that waits for projects."""

    name: str
    environment: BuildEnvironment
    process: subprocess.Popen[str]
    stdin: IO[str]
    stdout: IO[str]

    def end(self) -> None:
        """Let the process end."""
        self.stdin.close()
        self.process.wait()
        self.stdout.close()

    @property
    def module(self) -> str:
        """What [build-system] build-backend says."""
        return MODULES[self.name]

    def build(self, directory: Path, output: Path, settings: Mapping[str, str]) -> dict[str, bytes] | str:
        """Build an editable wheel and return its files but for RECORD; or what went wrong."""
        output.mkdir(exist_ok=True)
        self.stdin.write(json.dumps([str(directory), str(output), settings or None]) + "\n")
        self.stdin.flush()
        answer = json.loads(self.stdout.readline())
        if "error" in answer:
            return str(answer["error"])
        with zipfile.ZipFile(output / answer["wheel"]) as archive:
            members = [one for one in archive.infolist() if not one.is_dir() and not one.filename.endswith("/RECORD")]
            assert not [one.filename for one in members if (one.external_attr >> 16) & 0o100111 > 0o100000]
            return {one.filename: archive.read(one) for one in members}

    def requires(self, directory: Path) -> list[str] | None:
        """Return what it asks for to build an editable wheel; None where it refuses the project."""
        self.stdin.write(json.dumps([str(directory), "", None]) + "\n")
        self.stdin.flush()
        answer: dict[str, list[str]] = json.loads(self.stdout.readline())
        return answer.get("requires")

    def compare(self, directory: Path, output: Path, settings: Mapping[str, str] | None = None) -> str:
        """Return "" where the static answer is the backend's, and why there is none; a difference fails the test."""
        tree = Tree(str(directory))
        installed, site_packages = self.environment.installed(), self.environment.site_packages
        try:
            answer = static_answer(read_project(tree), tree, installed, settings or {}, site_packages)
        except NotStatic as refused:
            return refused.reason or "for no reason"
        built = self.build(directory, output, settings or {})
        assert not isinstance(built, str), f"{self.name} refuses what is static: {built}"
        assert sorted(answer.files) == sorted(built)
        for name, content in built.items():
            assert answer.files[name].decode() == content.decode(), name
        assert answer.dist_info.endswith(".dist-info")
        return ""


@cache
def real_backend(name: str, version: str) -> RealBackend:
    """Return a backend of a version, started when it is first asked for."""
    requires = [f"{name}=={version}", *(["editables"] if name == "hatchling" else [])]
    disk = Disk("fast")
    interpreter = find_interpreter(None, root=os.getcwd(), disk=disk)
    environment = ensure(make_recipe(requires, interpreter=interpreter), disk=disk)
    path = os.pathsep.join([environment.scripts, os.environ.get("PATH", os.defpath)])
    process = subprocess.Popen(
        [environment.python, "-c", DRIVER, MODULES[name]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": path},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    backend = RealBackend(name, environment, process, process.stdin, process.stdout)
    atexit.register(backend.end)
    return backend


def every_version() -> list[tuple[str, str]]:
    """Return each backend with each of its versions that tests run."""
    return [(name, version) for name, versions in VERSIONS.items() for version in versions]
