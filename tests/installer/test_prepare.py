"""Prepare: real backends in real processes, and a directory that is whole at any moment."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from prepared_trees import contents_of
from projects import make_project

from interlock.build_environment import remove_unused
from interlock.build_recipe import make_recipe
from interlock.create import create_environment
from interlock.durable import Disk
from interlock.environment import Environment
from interlock.errors import (
    BackendError,
    BackendUnavailable,
    DiskError,
    EnvironmentMismatch,
    RecordMismatch,
    UsageError,
    WheelError,
)
from interlock.prepare import BuildOptions, PrepareResult, prepare, project_metadata
from interlock.prepared import load_prepared
from interlock.transaction import commit

DISK = Disk("fast")

# A hook that no other may run beside in the same tree.
ALONE = """
    import time
    def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
        os.mkdir("busy")
        time.sleep(0.05)
        os.rmdir("busy")
        return wheel(wheel_directory)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return create_environment(str(tmp_path_factory.mktemp("prepare") / "env"), python=None, disk=DISK)[0]


def prepared(source: Path, output: Path, environment: Environment, **options: Any) -> PrepareResult:
    extras = options.pop("extras", ())
    return prepare(str(source), str(output), environment, options=BuildOptions(**options), extras=extras, disk=DISK)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def content_of(output: Path, name: str) -> str:
    """Return the content of the file of this name in what was prepared."""
    (found,) = (text for path, text in contents_of(load_prepared(str(output))).items() if path.endswith(f"/{name}"))
    return found.decode()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_is_prepared(tmp_path: Path, environment: Environment) -> None:
    source = make_project(tmp_path / "p", "My.Core", backend="SCRIPTS['core'] = 'core:main'\n")
    result = prepared(source, tmp_path / "out" / "core", environment)
    one = result.prepared
    assert (one.name, one.normalized, one.version, one.source) == ("My.Core", "my-core", "1.0", str(source))
    assert one == load_prepared(str(tmp_path / "out" / "core"))
    assert one.dist_info == f"{environment.layout.purelib}/My_Core-1.0.dist-info"
    assert (one.environment, one.python) == (environment.path, environment.interpreter.short)
    assert [Path(file.path).name for file in one.files] == [
        *(
            "METADATA",
            "WHEEL",
            "entry_points.txt",
            "My_Core-1.0.pth",
            "core",
            "INSTALLER",
            "REQUESTED",
            "direct_url.json",
        ),
        "RECORD",
    ]
    assert result.changed
    assert names(tmp_path / "out") == ["core"], "nothing is left beside it"


def test_equal_content_is_left_alone(tmp_path: Path, environment: Environment) -> None:
    source, output = make_project(tmp_path / "p"), tmp_path / "out"
    first = prepared(source, output, environment)
    before = output.stat().st_ino, output.stat().st_mtime_ns, output.read_bytes()
    until = time.time() // 2 + 1
    while time.time() // 2 < until:  # the wheel's dates are other ones; an archive's are of each second second
        time.sleep(0.01)
    again = prepared(source, output, environment)
    assert (again.changed, again.prepared) == (False, first.prepared)
    assert (output.stat().st_ino, output.stat().st_mtime_ns, output.read_bytes()) == before
    assert names(tmp_path) == ["out", "p"]
    elsewhere = prepared(source, tmp_path / "elsewhere", environment)
    assert elsewhere.prepared.digest == first.prepared.digest
    assert (tmp_path / "elsewhere").read_bytes() == output.read_bytes()


def test_other_content_takes_its_place_whole(tmp_path: Path, environment: Environment) -> None:
    output = tmp_path / "out"
    first = prepared(make_project(tmp_path / "p", backend="FILES['gone.txt'] = 'x'\n"), output, environment)
    second = prepared(make_project(tmp_path / "p", version="1.1"), output, environment)
    assert second.changed
    assert second.prepared.digest != first.prepared.digest
    listed = [os.path.basename(file.path) for file in load_prepared(str(output)).files]
    assert not {"gone.txt", "core-1.0.pth"} & {*listed}
    assert "core-1.1.pth" in listed
    assert names(tmp_path) == ["out", "p"]


def test_what_was_damaged_is_repaired(tmp_path: Path, environment: Environment) -> None:
    source, output = make_project(tmp_path / "p"), tmp_path / "out"
    prepared(source, output, environment)
    good = output.read_bytes()
    damaged = [good[: len(good) // 2], good[:-1], good + b"more"]
    # A byte in the head, in each file and in the manifest; the last file of a build may be at either end of that.
    damaged += [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(20, len(good), 29)]
    for data in damaged:
        output.write_bytes(data)
        assert prepared(source, output, environment).changed
        assert output.read_bytes() == good
    output.unlink()
    assert prepared(source, output, environment).changed
    assert output.read_bytes() == good


def test_what_is_somebody_elses_is_not_replaced(tmp_path: Path, environment: Environment) -> None:
    source = make_project(tmp_path / "p")
    (tmp_path / "file").write_text("interlock prepare", encoding="utf-8")
    (tmp_path / "nothing").write_text("", encoding="utf-8")
    os.symlink("nowhere", tmp_path / "link")
    for there in (source, tmp_path / "file", tmp_path / "nothing", tmp_path / "link"):
        with pytest.raises(UsageError, match="is nothing that interlock prepared"):
            prepared(source, there, environment)
        assert os.path.lexists(there)
    (tmp_path / "empty").mkdir()
    assert prepared(source, tmp_path / "empty", environment).changed


def make_directory_of_old(output: Path, environment: Environment) -> None:
    """Turn what was prepared into what a version before this would have prepared."""
    one = load_prepared(str(output))
    found = contents_of(one)
    output.unlink()
    for path, data in found.items():
        (output / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (output / "tree" / path).write_bytes(data)
    manifest = {**dataclasses.asdict(one), "schema": 2}
    del manifest["path"], manifest["digest"]
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
    manifest["digest"] = hashlib.sha256(text).hexdigest()
    (output / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_directory_of_a_version_before_can_be_installed_and_is_replaced(tmp_path: Path) -> None:
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    source, output = make_project(tmp_path / "p", backend="SCRIPTS['core'] = 'core:main'\n"), tmp_path / "out"
    new = prepared(source, output, environment).prepared
    good = output.read_bytes()
    make_directory_of_old(output, environment)
    old = load_prepared(str(output))
    assert contents_of(old) == {
        file.path: data for file, data in zip(new.files, contents_of(old).values(), strict=True)
    }
    assert commit(old, environment.path, disk=DISK).changed
    assert not commit(old, environment.path, disk=DISK).changed
    assert prepared(source, output, environment).changed
    assert output.read_bytes() == good
    assert not commit(load_prepared(str(output)), environment.path, disk=DISK).changed
    assert {"out", "p"} == {name for name in names(tmp_path) if "env" not in name}


def test_a_directory_of_a_version_before_stays_where_nothing_takes_its_place(
    tmp_path: Path, environment: Environment
) -> None:
    source, output = make_project(tmp_path / "p"), tmp_path / "out"
    prepared(source, output, environment)
    good = output.read_bytes()
    make_directory_of_old(output, environment)
    before = contents(output)
    for failures in range(1, 99):
        try:
            prepare(str(source), str(output), environment, disk=FailingDisk(failures))
        except DiskError:
            assert contents(output) == before
            assert names(tmp_path) == ["out", "p"]
        else:
            break
    assert failures == 1 + 3, "the file, two renames"
    assert output.read_bytes() == good


@pytest.mark.parametrize(
    ("backend", "error"),
    [
        ("def build_editable(*a, **k): raise SystemExit(1)\n", BackendError),
        ("del build_editable\n", BackendUnavailable),
        ("FILES['../../../evil.py'] = ''\n", WheelError),
        ("METADATA += 'Requires-Dist: !\\n'\n", WheelError),
        ("hashlib.sha256 = hashlib.sha512\n", RecordMismatch),
    ],
)
def test_a_failure_leaves_everything_as_it_was(
    backend: str, error: type[Exception], tmp_path: Path, environment: Environment
) -> None:
    output = tmp_path / "out"
    prepared(make_project(tmp_path / "p"), output, environment)
    before, files = output.read_bytes(), contents(Path(environment.path))
    with pytest.raises(error):
        prepared(make_project(tmp_path / "p", version="2.0", backend=backend), output, environment)
    assert output.read_bytes() == before
    assert contents(Path(environment.path)) == files
    assert names(tmp_path) == ["out", "p"]


class FailingDisk(Disk):
    """A disk that is full at the n-th write or rename, once."""

    def __init__(self, fails_at: int) -> None:
        super().__init__("fast")
        self.left = [fails_at]  # in one place for all disks that are made of this one

    def write(self, path: str, data: bytes, *, executable: bool = False, mtime_ns: int | None = None) -> None:
        self._count(path)
        super().write(path, data, executable=executable, mtime_ns=mtime_ns)

    def write_chunks(
        self, path: str, chunks: Iterable[bytes], *, executable: bool = False, mtime_ns: int | None = None
    ) -> None:
        self._count(path)
        super().write_chunks(path, chunks, executable=executable, mtime_ns=mtime_ns)

    def replace(self, source: str, destination: str) -> None:
        self._count(destination)
        super().replace(source, destination)

    def _count(self, path: str) -> None:
        self.left[0] -= 1
        if self.left[0] == 0:
            raise DiskError(f"cannot write {path}: full")


def test_a_disk_that_is_full_at_any_moment(tmp_path: Path, environment: Environment) -> None:
    output = tmp_path / "out"
    prepared(make_project(tmp_path / "p"), output, environment)
    before = output.read_bytes()
    make_project(tmp_path / "p", version="2.0")
    failures = 0
    while True:
        try:
            prepare(str(tmp_path / "p"), str(output), environment, disk=FailingDisk(failures + 1))
        except DiskError:
            failures += 1
            assert output.read_bytes() == before
            assert names(tmp_path) == ["out", "p"]
        else:
            break
    assert load_prepared(str(output)).version == "2.0"
    assert failures == 1 + 1, "one file, one rename"


def test_a_failure_says_the_command_that_shows_it_again(tmp_path: Path, environment: Environment) -> None:
    source = make_project(
        tmp_path / "a project's $HOME", backend="def build_editable(*a, **k): print(a); raise SystemExit(1)\n"
    )
    settings = {"key": ["one two", "3"], "other": "'"}
    with pytest.raises(BackendError) as caught:
        prepared(source, tmp_path / "out", environment, config_settings=settings, extras=["x"])
    words = shlex.split(caught.value.advice.partition("To see it again: ")[2])
    assert words[:2] == ["interlock", "prepare"]
    again = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    assert again.returncode == BackendError.exit_code
    assert str(settings) in again.stderr
    assert caught.value.advice in again.stderr


def test_the_command_that_shows_it_again_is_for_every_directory(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_project(tmp_path / "p", backend="def build_editable(*a, **k): raise SystemExit(1)\n")
    (tmp_path / "limits.txt").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    options = BuildOptions(constraints=("limits.txt",), names_file="names.txt")
    with pytest.raises(BackendError) as caught:
        prepare("p", "out", environment, options=options, disk=DISK)
    words = shlex.split(caught.value.advice.partition("To see it again: ")[2])
    paths = [words[words.index(before) + 1] for before in ("prepare", "--output", "--build-constraint", "--workspace")]
    assert paths == [str(path) for path in (source, tmp_path / "out", tmp_path / "limits.txt", tmp_path / "names.txt")]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_killed_prepare_leaves_what_was_there_and_is_cleaned_up(tmp_path: Path, environment: Environment) -> None:
    source, output = make_project(tmp_path / "p"), tmp_path / "out"
    prepared(source, output, environment)
    before = output.read_bytes()
    make_project(
        source, version="1.1", backend="def build_editable(*a, **k): open('there', 'w'); import time; time.sleep(99)\n"
    )
    command = [
        sys.executable,
        "-m",
        "interlock",
        "prepare",
        str(source),
        "--venv",
        environment.path,
        "--output",
        str(output),
    ]
    process = subprocess.Popen(command, start_new_session=True)
    while not (source / "there").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert output.read_bytes() == before
    assert names(tmp_path) == [".out.tmp", "out", "p"]
    (tmp_path / ".out.new.tmp").write_text("half", encoding="utf-8")  # killed a little later
    assert prepared(make_project(source, version="1.2"), output, environment).prepared.version == "1.2"
    assert names(tmp_path) == ["out", "p"]


def test_hooks_have_a_source_tree_to_themselves(tmp_path: Path, environment: Environment) -> None:
    source = make_project(tmp_path / "p", backend=ALONE)
    (tmp_path / "link").symlink_to(source, target_is_directory=True)
    command = [sys.executable, "-m", "interlock", "prepare", "--venv", environment.path, "--durability", "fast"]
    started = [
        subprocess.Popen(
            [*command, "--output", str(tmp_path / f"out{number % 3}"), str(tmp_path / ("p", "link")[number % 2])]
        )
        for number in range(10)
    ]
    assert [process.wait() for process in started] == [0] * 10
    for number in range(3):
        assert load_prepared(str(tmp_path / f"out{number}")).version == "1.0"


def test_dynamic_requirements_are_there_when_it_is_built(tmp_path: Path, environment: Environment) -> None:
    tool = make_project(tmp_path / "tool", "private-tool-1f3a", backend="FILES['private_tool.py'] = 'VALUE = 7\\n'\n")
    backend = """
        def get_requires_for_build_editable(config_settings=None):
            return ["private_tool-1f3a>=1"]
        def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
            import private_tool
            FILES["value.txt"] = str(private_tool.VALUE)
            return wheel(wheel_directory)
    """
    source = make_project(tmp_path / "p", backend=backend)
    local = {"Private.Tool-1f3a": str(tool)}
    result = prepared(source, tmp_path / "out", environment, workspace=local)
    assert content_of(tmp_path / "out", "value.txt") == "7"
    receipts = [path for path in result.inputs if path.endswith("receipt.json")]
    assert len(receipts) == 1
    assert sorted(set(result.inputs) - set(receipts)) == sorted(
        str(path)
        for path in (source / "backend.py", source / "pyproject.toml", tool / "backend.py", tool / "pyproject.toml")
    )
    # The environment without the tool, from which its need was asked, stays as it was.
    key = make_recipe([], interpreter=environment.interpreter, local=local).key
    assert Path(receipts[0]).parent.name != key


@pytest.mark.skipif(os.name == "nt", reason="there shared locks exclude each other")
def test_those_who_waited_for_a_build_environment_use_it_at_once(tmp_path: Path, environment: Environment) -> None:
    """Each hook ends only when all hooks run: one that had to wait for another would never see that."""
    number = 6
    make_project(tmp_path / "tool", "tool")
    backend = f"""
        import time
        def get_requires_for_build_editable(config_settings=None):
            return ["tool"]
        def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
            open("../running-" + NAME, "w").close()
            deadline = time.monotonic() + 300
            while sum(name.startswith("running-") for name in os.listdir("..")) < {number}:
                assert time.monotonic() < deadline, "alone"
                time.sleep(0.01)
            return wheel(wheel_directory)
    """
    command = [sys.executable, "-m", "interlock", "prepare", "--venv", environment.path, "--durability", "fast"]
    (tmp_path / "names").write_text("tool\ttool\n", encoding="utf-8")
    command += ["--workspace", str(tmp_path / "names")]
    started = []
    for name in (f"core{index}" for index in range(number)):
        source = make_project(tmp_path / name, name, backend=backend)
        started.append(subprocess.Popen([*command, "--output", str(tmp_path / "out" / name), str(source)]))
    assert [process.wait() for process in started] == [0] * number


def test_build_requirements_that_cannot_be_had_name_the_project(tmp_path: Path, environment: Environment) -> None:
    tool = make_project(
        tmp_path / "tool", "tool", backend="def build_wheel(*a, **k): raise SystemExit('broken tool')\n"
    )
    source = make_project(tmp_path / "p", requires=["tool"])
    with pytest.raises(BackendError, match="local build requirement tool of ") as caught:
        prepared(source, tmp_path / "out", environment, workspace={"tool": str(tool)})
    assert str(source) in caught.value.message
    assert "broken tool" in caught.value.message


def test_build_constraints_are_inputs(tmp_path: Path, environment: Environment) -> None:
    (tmp_path / "constraints.txt").write_text("", encoding="utf-8")
    result = prepared(
        make_project(tmp_path / "p"), tmp_path / "out", environment, constraints=(str(tmp_path / "constraints.txt"),)
    )
    assert str(tmp_path / "constraints.txt") in result.inputs


def test_without_isolation_the_environments_own_python_runs_the_backend(tmp_path: Path) -> None:
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    backend = """
        def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
            import sys, private_tool
            FILES["prefix.txt"] = sys.prefix
            return wheel(wheel_directory)
    """
    source = make_project(tmp_path / "p", requires=["private-tool-1f3a"], backend=backend)
    with pytest.raises(BackendError, match="No module named 'private_tool'"):
        prepared(source, tmp_path / "out", environment, isolation=False)
    Path(environment.site_packages[0], "private_tool.py").write_text("", encoding="utf-8")
    result = prepared(source, tmp_path / "out", environment, isolation=False)
    assert content_of(tmp_path / "out", "prefix.txt") == environment.path
    assert not [path for path in result.inputs if path.endswith("receipt.json")]


def test_requirements_are_those_of_the_environment_and_the_extras(tmp_path: Path, environment: Environment) -> None:
    lines = [
        *(
            "always>=1",
            "never; python_version < '3'",
            "b[y,x] >=1,<2; python_version > '3'",
            "fast; extra == 'Fast_Er'",
        ),
        *("core[fast.er]; extra == 'all'", "core; extra == 'all'", "slow; extra == 'slow'", "at @ file:///x"),
    ]
    metadata = "".join(f"Requires-Dist: {line}\n" for line in lines)
    source = make_project(tmp_path / "p", backend=f"METADATA += {metadata!r}\n")

    def required(*extras: str) -> list[str]:
        return [
            one.requirement for one in prepared(source, tmp_path / "out", environment, extras=extras).prepared.requires
        ]

    plain = ["always>=1", "at @ file:///x", "b[x,y]<2,>=1"]
    assert required() == plain
    assert required("fast.er") == sorted([*plain, "fast"])
    assert required("all") == sorted([*plain, "fast"]), "an extra of itself brings its own requirements, not itself"


def test_a_python_that_the_project_excludes(tmp_path: Path, environment: Environment) -> None:
    failing = "def build_editable(*a, **k): raise SystemExit('never called')\n"
    source = make_project(tmp_path / "static", project='requires-python = "<3"\n', backend=failing)
    with pytest.raises(EnvironmentMismatch, match=r"requires Python <3, but .*env has Python 3") as caught:
        prepared(source, tmp_path / "out", environment)
    assert str(source / "pyproject.toml") in caught.value.message
    source = make_project(tmp_path / "dynamic", backend="METADATA += 'Requires-Python: >=4\\n'\n")
    with pytest.raises(EnvironmentMismatch, match="requires Python >=4"):
        prepared(source, tmp_path / "out", environment)
    source = make_project(tmp_path / "nonsense", backend="METADATA += 'Requires-Python: new\\n'\n")
    assert prepared(source, tmp_path / "out", environment).changed


def test_it_can_be_committed(tmp_path: Path) -> None:
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    source = make_project(tmp_path / "p", backend="SCRIPTS['core'] = 'core:main'\n")
    (source / "core.py").write_text("def main():\n    print('hello')\n", encoding="utf-8")
    result = prepared(source, tmp_path / "out", environment)
    assert commit(result.prepared, environment.path, disk=DISK).changed
    script = environment.absolute(f"{environment.layout.scripts}/core")
    suffix = ".exe" if os.name == "nt" else ""
    assert subprocess.run([script + suffix], capture_output=True, text=True, check=True).stdout == "hello\n"
    assert not commit(result.prepared, environment.path, disk=DISK).changed


def test_metadata_alone(tmp_path: Path, environment: Environment) -> None:
    backend = """
        def prepare_metadata_for_build_editable(metadata_directory, config_settings=None):
            os.mkdir(os.path.join(metadata_directory, STEM + ".dist-info"))
            text = METADATA + "Summary: from the hook, %s\\n" % config_settings
            open(os.path.join(metadata_directory, STEM + ".dist-info", "METADATA"), "w").write(text)
            return STEM + ".dist-info"
    """
    interpreter = environment.interpreter
    source = make_project(tmp_path / "p", backend=backend)
    text = project_metadata(str(source), interpreter=interpreter, config_settings={"a": "1"}, disk=DISK)
    assert text.endswith("Name: core\nVersion: 1.0\nSummary: from the hook, {'a': '1'}\n")
    text = project_metadata(str(make_project(tmp_path / "fallback")), interpreter=interpreter, disk=DISK)
    assert text == "Metadata-Version: 2.1\nName: core\nVersion: 1.0\n"
    broken = make_project(tmp_path / "broken", backend="def build_editable(*a, **k): raise SystemExit(1)\n")
    with pytest.raises(BackendError) as caught:
        project_metadata(str(broken), interpreter=interpreter, disk=DISK)
    assert "-m build --metadata" in caught.value.advice


@pytest.mark.network
def test_metadata_of_a_setup_py(tmp_path: Path, environment: Environment) -> None:
    (tmp_path / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='My.Core', version='1' + '.0', install_requires=['a>=1'])\n",
        encoding="utf-8",
    )
    text = project_metadata(str(tmp_path), interpreter=environment.interpreter, disk=DISK)
    assert {"Name: My.Core", "Version: 1.0", "Requires-Dist: a>=1"} <= set(text.splitlines())


@pytest.mark.network
def test_setuptools_that_is_too_old(tmp_path: Path, environment: Environment) -> None:
    if environment.interpreter.short >= "3.12":
        pytest.skip("this setuptools needs distutils")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "setup.py").write_text("from setuptools import setup\nsetup(name='core')\n", encoding="utf-8")
    (tmp_path / "p" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools<64", "wheel"]\n', encoding="utf-8"
    )
    with pytest.raises(BackendUnavailable, match=r"has no build_editable \(PEP 660\)") as caught:
        prepared(tmp_path / "p", tmp_path / "out", environment)
    assert "setuptools>=64" in caught.value.advice


def test_a_build_environment_that_went_away_comes_back(
    tmp_path: Path, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_CACHE_DIR", str(tmp_path / "cache"))  # others use those of the run's cache
    source = make_project(tmp_path / "p")
    first = prepared(source, tmp_path / "out", environment)
    assert len(remove_unused(None, disk=DISK)) == 1
    again = prepared(source, tmp_path / "out", environment)
    assert not again.changed
    assert again.inputs == first.inputs
    assert all(os.path.exists(path) for path in again.inputs)
