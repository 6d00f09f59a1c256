"""Metadata from build backends: asked in parallel, once, and again when what it was made from changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.durable import Disk
from interlock.errors import BackendError, EngineError, MetadataError
from interlock.programs import Output
from interlock_ninja.dynamic import Answers, from_metadata
from interlock_ninja.metadata import LEGACY
from interlock_ninja.project import Project
from interlock_ninja.workspace import read_workspace
from trees import write_tree

SETUP = """
from setuptools import setup
from helper import VERSION
setup(name="My_Girder", version=VERSION, install_requires=["core>=1", "tomli; python_version<'3'"],
      extras_require={"Test_X": ["pytest"], ":os_name=='x'": ["y"], "z:os_name=='x'": ["w"]}, python_requires=">=3.8")
"""
KNOWN = Project("", "", "", "p", "", (), {}, {}, (), LEGACY, "backend", "p/setup.py", (), ())


class Backend:
    """Runs setup.py for real, in this interpreter's own setuptools-free way, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, source: str) -> str:
        self.asked.append(os.path.basename(source))
        code = (
            "import json, sys, types\n"
            "module = types.ModuleType('setuptools')\n"
            "module.setup = lambda **words: print(json.dumps(words))\n"
            "sys.modules['setuptools'] = module\n"
            "sys.path.insert(0, '.')\n"
            "exec(open('setup.py', encoding='utf-8').read())\n"
        )
        result = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)
        if result.returncode:
            raise BackendError(f"the backend failed:\n{result.stderr}", advice="Run it.")
        words = json.loads(result.stdout)
        lines = [f"Name: {words['name']}", f"Version: {words['version']}"]
        lines += [f"Requires-Dist: {line}" for line in words.get("install_requires", ())]
        return "\n".join(lines) + "\n"


def names(root: Path, backend: Backend, *, disk: Disk | None = None) -> list[str]:
    workspace = read_workspace(str(root), ask=backend, disk=disk)
    return [f"{project.name} {project.version}" for project in workspace.projects]


def test_an_answer_is_kept_until_what_it_was_made_from_changes(tmp_path: Path) -> None:
    write_tree(tmp_path, {"p/setup.py": SETUP, "p/helper.py": "VERSION = '1.0'\n", "p/README": ""})
    backend, disk = Backend(), Disk("fast")
    assert names(tmp_path, backend, disk=disk) == ["My_Girder 1.0"]
    assert names(tmp_path, backend, disk=disk) == ["My_Girder 1.0"]
    write_tree(tmp_path, {"p/README": "changed", "p/pkg/x.py": ""})
    assert names(tmp_path, backend, disk=disk) == ["My_Girder 1.0"]
    assert backend.asked == ["p"]
    write_tree(tmp_path, {"p/helper.py": "VERSION = '2.0'\n"})
    assert names(tmp_path, backend, disk=disk) == ["My_Girder 2.0"]
    assert backend.asked == ["p", "p"]
    assert len(list((tmp_path / "out" / "interlock" / "metadata").glob("*.json"))) == 2


def test_equal_projects_share_an_answer_wherever_they_are(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a/setup.py": SETUP, "a/helper.py": "VERSION = '1.0'\n"})
    backend, disk = Backend(), Disk("fast")
    names(tmp_path, backend, disk=disk)
    (tmp_path / "a").rename(tmp_path / "moved")
    assert names(tmp_path, backend, disk=disk) == ["My_Girder 1.0"]
    assert backend.asked == ["a"]


def test_a_damaged_answer_is_asked_for_again(tmp_path: Path) -> None:
    write_tree(tmp_path, {"p/setup.py": SETUP, "p/helper.py": "VERSION = '1.0'\n"})
    backend, disk = Backend(), Disk("fast")
    names(tmp_path, backend, disk=disk)
    for kept in (tmp_path / "out" / "interlock" / "metadata").iterdir():
        kept.write_text("{", encoding="utf-8")
    assert names(tmp_path, backend, disk=disk) == ["My_Girder 1.0"]
    assert backend.asked == ["p", "p"]


def test_without_a_disk_nothing_is_written(tmp_path: Path) -> None:
    write_tree(tmp_path, {"p/setup.py": SETUP, "p/helper.py": "VERSION = '1.0'\n"})
    assert names(tmp_path, Backend()) == ["My_Girder 1.0"]
    assert not (tmp_path / "out").exists()


def test_everything_that_is_read_is_tracked(tmp_path: Path) -> None:
    write_tree(
        tmp_path, {"p/setup.py": SETUP, "p/helper.py": "VERSION = '1.0'\n", "p/VERSION": "1", "p/MANIFEST.in": ""}
    )
    workspace = read_workspace(str(tmp_path), ask=Backend())
    assert workspace.files_read == ("p/MANIFEST.in", "p/VERSION", "p/helper.py", "p/setup.py")
    assert workspace.projects[0].build_files == ("p/setup.py", "p/MANIFEST.in", "p/helper.py", "p/VERSION")


def test_a_backend_that_fails_costs_its_own_project_only(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "bad/setup.py": "from setuptools import setup\nraise ValueError('no way')\nsetup()\n",
            "good/setup.py": SETUP,
            "good/helper.py": "VERSION = '1'\n",
        },
    )
    said: list[str] = []
    backend, disk = Backend(), Disk("fast")
    workspace = read_workspace(str(tmp_path), ask=backend, disk=disk, progress=said.append)
    assert [project.directory for project in workspace.projects] == ["good"]
    assert said == ["asking the build backends of 2 projects for their metadata"]
    assert workspace.warnings == (
        'bad/setup.py: the backend failed: ValueError: no way; skipped (for good: exclude = ["bad"])',
    )
    assert "Traceback" in workspace.skipped[0].reason
    # A failure is not remembered: what it was about may be mended elsewhere.
    read_workspace(str(tmp_path), ask=backend, disk=disk, progress=said.append)
    assert backend.asked.count("bad") == 2
    assert said[1] == "asking the build backend of bad for its metadata (setup.py decides)"
    with pytest.raises(MetadataError, match="1 project has metadata that cannot be read"):
        read_workspace(str(tmp_path), ask=backend, disk=disk, strict=True)


def test_a_machine_that_cannot_ask_is_an_error(tmp_path: Path) -> None:
    """Otherwise every project of a machine without an index would be skipped, and the build a success."""

    def ask(source: str) -> str:
        raise EngineError(f"no index for {source}")

    write_tree(tmp_path, {"p/setup.py": "from setuptools import setup\nsetup()\n"})
    with pytest.raises(EngineError, match="no index"):
        read_workspace(str(tmp_path), ask=ask)
    with Output() as output:  # who catches it can go on
        assert output.run([sys.executable, "-c", ""], cwd=None, env=os.environ) == 0


METADATA = """\
Metadata-Version: 2.2
Name: My.Name
Version: 1.0.RC1
Requires-Python: >=3.8
Requires-Dist: core>=1
Requires-Dist: tomli; python_version < "3.11"
Requires-Dist: pytest; extra == "test"
Requires-Dist: pytest-cov; (os_name == "nt") and extra == 'test'
Requires-Dist: both; extra == "test" or extra == "Other_X"
Provides-Extra: test
Provides-Extra: Other_X
Provides-Extra: empty

Requires-Dist: a line of the description
"""


def test_core_metadata_is_read(tmp_path: Path) -> None:
    found = from_metadata(KNOWN, METADATA)
    assert (found.name, found.normalized, found.version, found.requires_python) == (
        "My.Name",
        "my-name",
        "1.0rc1",
        ">=3.8",
    )
    assert found.dependencies == ("core>=1", 'tomli; python_version < "3.11"')
    both = 'both; extra == "test" or extra == "Other_X"'
    assert found.optional_dependencies == {
        "test": ('pytest; extra == "test"', "pytest-cov; (os_name == \"nt\") and extra == 'test'", both),
        "other-x": (both,),
        "empty": (),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Name: UNKNOWN\nVersion: 0\n", "p/setup.py gives the project no name"),
        ("Version: 0\n", "p/setup.py: what the backend says, Name, is '', which is no valid name"),
        ("Name: a\nVersion: x\n", "p/setup.py: what the backend says, Version, is 'x', which is no valid version"),
        (
            "Name: a\nVersion: 1\nRequires-Dist: <x>\n",
            "p/setup.py: what the backend says, Requires-Dist, has '<x>', which",
        ),
    ],
)
def test_core_metadata_that_is_invalid(text: str, message: str) -> None:
    with pytest.raises(MetadataError) as caught:
        from_metadata(KNOWN, text)
    assert message in caught.value.message


def test_the_interpreter_and_the_settings_are_part_of_the_digest(tmp_path: Path) -> None:
    from interlock_ninja.metadata import Pending

    pending = Pending(KNOWN, "")
    digests = {Answers("d", str(tmp_path), context, None).digest(pending) for context in ([], ["3.11"], ["3.12"])}
    assert len(digests) == 3
