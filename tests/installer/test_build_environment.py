"""Build environments: one for each recipe, made once, never changed, never deleted under a hook."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project

from interlock.build_environment import BuildEnvironment, ensure, environment_inputs, held, missing, remove_unused
from interlock.build_recipe import Recipe, make_recipe
from interlock.build_requirements import tree_digest, tree_files
from interlock.durable import Disk
from interlock.errors import BackendError, ConfigurationError, LockTimeout, MetadataError
from interlock.interpreter import find_interpreter
from interlock.platforms import Posix

DISK = Disk("fast")
INTERPRETER = find_interpreter()
PROCESSES = 30

# A backend that says in a file beside its project that it has built a wheel.
COUNTED = """
    def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
        with open("../built", "a") as log:
            log.write(NAME + "\\n")
        return wheel(wheel_directory)
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_CACHE_DIR", str(tmp_path / "cache"))


def recipe(*requires: str, local: dict[str, Path] | None = None, constraints: tuple[str, ...] = ()) -> Recipe:
    directories = {name: str(path) for name, path in (local or {}).items()}
    return make_recipe(requires, interpreter=INTERPRETER, local=directories, constraints=constraints)


def built(tmp_path: Path) -> list[str]:
    return (tmp_path / "built").read_text(encoding="utf-8").split()


def directory_of(environment: BuildEnvironment) -> Path:
    return Path(environment.path).parent


def test_one_key_for_each_meaning(tmp_path: Path) -> None:
    assert recipe("Flit_Core >= 3", "b").key == recipe("b", "flit-core>=3", "b ").key
    (tmp_path / "c.txt").write_text("b==1\n", encoding="utf-8")
    (tmp_path / "same.txt").write_text("b==1\n", encoding="utf-8")
    constrained = recipe("b", constraints=(str(tmp_path / "c.txt"),)).key
    assert recipe("b", constraints=(str(tmp_path / "same.txt"),)).key == constrained
    local = recipe("b", local={"B": tmp_path}).key
    assert recipe("b", local={"b": tmp_path, "unrelated": tmp_path}).key == local
    pip = make_recipe(["b"], interpreter=INTERPRETER, engine="pip").key
    others = [
        constrained,
        local,
        pip,
        recipe("b").key,
        recipe("b>1").key,
        recipe().key,
        recipe("b").extended(["c"]).key,
    ]
    (tmp_path / "c.txt").write_text("b==2\n", encoding="utf-8")
    others.append(recipe("b", constraints=(str(tmp_path / "c.txt"),)).key)
    assert len(set(others)) == 8
    assert recipe("b").extended(["c"]).key == recipe("c", "b").key


def test_paths_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing.txt, named for builds, does not exist"):
        recipe("b", constraints=(str(tmp_path / "missing.txt"),))
    with pytest.raises(ConfigurationError, match="missing, named for builds, does not exist"):
        ensure(recipe("b", local={"b": tmp_path / "missing"}), disk=DISK)
    ensure(recipe(local={"b": tmp_path / "missing"}), disk=DISK)


def test_it_is_found_again(tmp_path: Path) -> None:
    wanted = recipe("tool", local={"tool": make_project(tmp_path / "tool", "tool", backend=COUNTED)})
    first = ensure(wanted, disk=DISK)
    assert first.installed() == {"tool": "1.0"}
    marker = Path(first.path, "marker")
    marker.write_text("", encoding="utf-8")
    assert ensure(wanted, disk=DISK) == first
    assert marker.exists()
    assert built(tmp_path) == ["tool"]
    files = [str(tmp_path / "tool" / name) for name in ("backend.py", "pyproject.toml")]
    assert environment_inputs(first, wanted) == [first.receipt, *files]
    receipt = json.loads(Path(first.receipt).read_text(encoding="utf-8"))
    assert (receipt["requires"], receipt["installed"]) == (["tool"], {"tool": "1.0"})
    # Older than any edge that has it as an input.
    assert os.stat(first.receipt).st_mtime == 1


class Watching(Posix):
    """Sync for real, and remember in which order."""

    def __init__(self) -> None:
        self.synced: list[str] = []

    def sync_file(self, descriptor: int) -> None:
        """Remember the path, as the kernel knows it."""
        self.synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        super().sync_file(descriptor)

    def sync_file_system(self, path: str) -> bool:
        """Say no: each file is to be seen."""
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells which file a descriptor is")
def test_all_of_it_is_on_the_disk_before_the_receipt_says_so(tmp_path: Path) -> None:
    watching = Watching()
    wanted = recipe("tool", local={"tool": make_project(tmp_path / "tool", "tool")})
    environment = ensure(wanted, disk=Disk("full", watching))
    receipt = next(n for n, path in enumerate(watching.synced) if f"{environment.key}/.receipt.json." in path)
    before = set(watching.synced[:receipt])
    there = {str(path) for path in directory_of(environment).rglob("*") if not path.is_symlink()}
    assert there - before == {environment.receipt}
    (wheel,) = (str(path) for path in (tmp_path / "cache" / "local-wheels").rglob("*.whl"))
    assert wheel in before


def test_many_processes_at_once_make_it_once(tmp_path: Path) -> None:
    project = make_project(tmp_path / "tool", "tool", backend=COUNTED)
    command = [sys.executable, "-m", "interlock", "build-env", "-r", "tool", "--python", INTERPRETER.executable]
    (tmp_path / "names").write_text(f"tool\t{project}\n", encoding="utf-8")
    command += ["--workspace", str(tmp_path / "names"), "--durability", "fast"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(PROCESSES)]
    said = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES, said
    assert len({stdout for stdout, _ in said}) == 1
    assert built(tmp_path) == ["tool"]


@pytest.mark.network
@pytest.mark.parametrize("engine", ["uv", "pip"])
def test_requirements_of_an_index_are_there_and_compiled(engine: str, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("idna==3.10\n", encoding="utf-8")
    wanted = make_recipe(["idna>=3"], interpreter=INTERPRETER, constraints=[str(tmp_path / "c.txt")], engine=engine)
    environment = ensure(wanted, disk=DISK)
    assert environment.installed() == {"idna": "3.10"}
    assert list(Path(environment.site_packages[0], "idna", "__pycache__").glob("core.*.pyc"))
    assert missing(environment, wanted, ["idna", "idna<4", "IDNA >=3.5 ; python_version > '3'"]) == []
    assert missing(environment, wanted, ["idna>=4", "absent", "x; python_version < '3'", "idna @ file:///x"]) == [
        *("absent", "idna @ file:///x", "idna>=4")
    ]


def test_an_incomplete_one_is_made_again(tmp_path: Path) -> None:
    wanted = recipe("tool", local={"tool": make_project(tmp_path / "tool", "tool", backend=COUNTED)})
    environment = ensure(wanted, disk=DISK)
    Path(environment.receipt).unlink()
    rubbish = Path(environment.path, "rubbish")
    rubbish.write_text("", encoding="utf-8")
    assert ensure(wanted, disk=DISK) == environment
    assert not rubbish.exists()
    assert environment.installed() == {"tool": "1.0"}
    assert built(tmp_path) == ["tool"], "its wheel was kept"


def test_one_that_could_not_be_made_is_not_complete(tmp_path: Path) -> None:
    project = make_project(tmp_path / "tool", "tool", backend="def build_wheel(*a, **k): raise SystemExit('broken')\n")
    wanted = recipe("tool", local={"tool": project})
    with pytest.raises(BackendError, match="the local build requirement tool: .* failed in build_wheel") as caught:
        ensure(wanted, disk=DISK)
    assert "broken" in caught.value.message
    make_project(tmp_path / "tool", "tool", backend=COUNTED)
    assert ensure(wanted, disk=DISK).installed() == {"tool": "1.0"}


def test_a_local_build_requirement_that_changed_is_built_again(tmp_path: Path) -> None:
    tool = make_project(tmp_path / "tool", "tool", backend=COUNTED)
    wanted = recipe("tool", local={"tool": tool})
    key = ensure(wanted, disk=DISK).key
    (tool / "backend.py").write_text((tool / "backend.py").read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    assert ensure(wanted, disk=DISK).key == key
    assert ensure(wanted, disk=DISK).key == key
    assert built(tmp_path) == ["tool", "tool"]


def test_local_build_requirements_bring_their_own(tmp_path: Path) -> None:
    """No index has these names: asking one would fail, or worse."""
    base = make_project(tmp_path / "base", "Private.Base-1f3a", backend=COUNTED)
    middle = make_project(
        tmp_path / "middle",
        "private-middle-1f3a",
        backend=COUNTED
        + "    METADATA += \"Requires-Dist: private_base-1f3a>=1\\nRequires-Dist: x; extra == 'no'\\n\"\n",
    )
    local = {"private-base-1f3a": base, "private-middle-1f3a": middle}
    environment = ensure(recipe("private-middle-1f3a", local=local), disk=DISK)
    assert environment.installed() == {"private-base-1f3a": "1.0", "private-middle-1f3a": "1.0"}
    assert built(tmp_path) == ["private-middle-1f3a", "Private.Base-1f3a"]
    wanted = recipe(f"private-base-1f3a @ {base.as_uri()}")
    by_url = ensure(wanted, disk=DISK)
    assert by_url.installed() == {"private-base-1f3a": "1.0"}
    assert str(base / "pyproject.toml") in environment_inputs(by_url, wanted)


def test_a_directory_of_another_name(tmp_path: Path) -> None:
    wanted = recipe("tool", local={"tool": make_project(tmp_path / "tool", "other")})
    with pytest.raises(MetadataError, match="the build requirement tool is not what its directory builds"):
        ensure(wanted, disk=DISK)


def test_a_requirement_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MetadataError, match="a build requirement cannot be read"):
        ensure(recipe("setuptools >>> 3"), disk=DISK)


def test_more_requirements_leave_an_environment_as_it_is(tmp_path: Path) -> None:
    local = {name: make_project(tmp_path / name, name, backend=COUNTED) for name in ("tool", "more")}
    wanted = recipe("tool", local=local)
    with held(wanted, disk=DISK) as environment:
        assert missing(environment, wanted, ["tool", "more"]) == ["more"]
    larger = ensure(wanted.extended(["more"]), disk=DISK)
    assert larger.installed() == {"more": "1.0", "tool": "1.0"}
    assert environment.installed() == {"tool": "1.0"}
    assert larger.path != environment.path


def test_one_in_use_is_not_deleted(tmp_path: Path) -> None:
    wanted = recipe()
    with held(wanted, disk=DISK) as environment:
        code = (
            "from interlock.build_environment import remove_unused\nfrom interlock.durable import Disk\n"
            "print(remove_unused(0, disk=Disk()))\nremove_unused(None, disk=Disk(), timeout=0.1)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout == "[]\n"
        assert LockTimeout.__name__ in done.stderr
        assert Path(environment.receipt).exists()
    assert remove_unused(None, disk=DISK) == [environment.key]
    assert not directory_of(environment).exists()
    assert remove_unused(None, disk=DISK) == []


def test_one_that_was_deleted_meanwhile_is_made_again(tmp_path: Path) -> None:
    wanted = recipe()
    code = (
        "import sys\nfrom interlock.build_environment import held\nfrom interlock.build_recipe import make_recipe\n"
        "from interlock.durable import Disk\n"
        "from interlock.interpreter import find_interpreter\n"
        "with held(make_recipe([], interpreter=find_interpreter()), disk=Disk('fast')) as environment:\n"
        "    import os; assert os.path.exists(environment.python)\n"
    )
    ensure(wanted, disk=DISK)
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(6)]
    removed: list[str] = []
    while any(process.poll() is None for process in started):
        time.sleep(0.01)
        if len(removed) < 30:  # on a slow machine each of them could be too late for ever
            with contextlib.suppress(LockTimeout):
                removed += remove_unused(None, disk=DISK, timeout=0.05)
    said = [line for process in started for line in process.communicate()[1].splitlines()]
    assert [line for line in said if not line.startswith("interlock: waiting for build environment ")] == []
    assert [process.returncode for process in started] == [0] * 6
    assert removed


def test_only_what_was_not_used_for_long_is_pruned(tmp_path: Path) -> None:
    old, new = (
        ensure(recipe(), disk=DISK),
        ensure(recipe("tool", local={"tool": make_project(tmp_path / "t", "tool")}), disk=DISK),
    )
    long_ago = time.time() - 31 * 86400
    for environment in (old, new):
        os.utime(f"{directory_of(environment)}.used", (long_ago, long_ago))
    ensure(recipe("tool", local={"tool": tmp_path / "t"}), disk=DISK)
    assert remove_unused(30, disk=DISK) == [old.key]
    assert Path(new.receipt).exists()


def test_what_builds_leave_in_a_tree_is_no_source(tmp_path: Path) -> None:
    make_project(tmp_path / "tool", "tool")
    before = tree_digest(str(tmp_path / "tool"))
    for name in ("__pycache__/a.pyc", "build/x", "dist/y", "tool.egg-info/PKG-INFO", ".git/HEAD", "env/pyvenv.cfg"):
        (tmp_path / "tool" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tool" / name).write_text("", encoding="utf-8")
    assert tree_digest(str(tmp_path / "tool")) == before
    assert [Path(path).name for path in tree_files(str(tmp_path / "tool"))] == ["backend.py", "pyproject.toml"]
    for name in ("more.py", "src/build/__init__.py"):
        before = tree_digest(str(tmp_path / "tool"))
        (tmp_path / "tool" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tool" / name).write_text("", encoding="utf-8")
        assert tree_digest(str(tmp_path / "tool")) != before
