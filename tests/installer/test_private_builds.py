"""No name of a workspace's project reaches an index by way of build requirements, whichever way it is needed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from projects import make_project

from index_server import Index, serve
from interlock.build_environment import ensure, remove_unused
from interlock.build_recipe import Recipe, make_recipe
from interlock.create import create_environment
from interlock.durable import Disk
from interlock.environment import Environment
from interlock.errors import BackendError, ConfigurationError, MetadataError
from interlock.interpreter import find_interpreter
from interlock.prepare import BuildOptions, PrepareResult, prepare, project_metadata
from interlock.prepared import load_prepared
from interlock_runner import succeed
from trees import write_tree

DISK = Disk("fast")
INTERPRETER = find_interpreter()

# A backend that says in its wheel which versions of others it was built with.
SEES = """
    import importlib.metadata
    def seen():
        found = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
        FILES["seen-" + NAME + ".json"] = json.dumps(found)
    def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
        seen()
        return wheel(wheel_directory)
    def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
        seen()
        return wheel(wheel_directory)
"""


@pytest.fixture(params=["uv", "pip"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """Serve an index that has each private name too, in a version that must not be believed, and make it the only one."""
    with serve() as served:
        for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
            monkeypatch.delenv(name)
        for name, value in served.environ.items():
            monkeypatch.setenv(name, value)
        for name in ("tool", "base", "maker", "outside"):
            served.add(name, "666")
        yield served


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return create_environment(str(tmp_path_factory.mktemp("private") / "env"), python=None, disk=DISK)[0]


def needs(*lines: str) -> str:
    return SEES + "".join(f"    METADATA += {f'Requires-Dist: {line}' + chr(10)!r}\n" for line in lines)


def workspace(root: Path) -> dict[str, str]:
    return {path.parent.name: str(path.parent) for path in root.glob("*/pyproject.toml")}


def recipe(*requires: str, local: dict[str, str], **options: str) -> Recipe:
    return make_recipe(requires, interpreter=INTERPRETER, local=local, **options)  # type: ignore[arg-type]


def prepared(tmp_path: Path, environment: Environment, engine: str, **options: tuple[str, ...]) -> PrepareResult:
    local = workspace(tmp_path / "w")
    chosen = BuildOptions(workspace=local, engine=engine, constraints=options.get("constraints", ()))
    return prepare(str(tmp_path / "w" / "leaf"), str(tmp_path / "out"), environment, options=chosen, disk=DISK)


def seen(tmp_path: Path, name: str = "leaf") -> dict[str, str]:
    contents = {
        os.path.basename(file.path): b"".join(parts) for file, parts in load_prepared(str(tmp_path / "out")).contents()
    }
    found: dict[str, str] = json.loads(contents[f"seen-{name}.json"])
    return found


def test_what_a_local_build_requirement_needs_at_run_time(
    tmp_path: Path, environment: Environment, engine: str, index: Index
) -> None:
    index.add("third", "1.5")
    make_project(tmp_path / "w" / "base", "base")
    make_project(tmp_path / "w" / "tool", "tool", backend=needs("base>=1", "third"))
    make_project(tmp_path / "w" / "leaf", "leaf", requires=["tool"], backend=SEES)
    result = prepared(tmp_path, environment, engine)
    assert seen(tmp_path) == {"base": "1.0", "third": "1.5", "tool": "1.0"}
    assert set(index.asked) == {"third"}
    assert {str(tmp_path / "w" / name / "backend.py") for name in ("base", "tool", "leaf")} < set(result.inputs)


def test_what_a_local_build_requirement_needs_to_be_built(
    tmp_path: Path, environment: Environment, engine: str, index: Index
) -> None:
    """Its own [build-system] requires, and what its backend asks for: from the workspace, within the build constraints."""
    index.add("third", "1.5")
    (tmp_path / "constraints.txt").write_text("third<1\n", encoding="utf-8")
    asks = """
    def get_requires_for_build_wheel(config_settings=None):
        return ["base"]
"""
    make_project(tmp_path / "w" / "base", "base")
    make_project(tmp_path / "w" / "maker", "maker", backend=SEES)
    make_project(tmp_path / "w" / "tool", "tool", requires=["maker", "third"], backend=SEES + asks)
    make_project(tmp_path / "w" / "leaf", "leaf", requires=["tool"], backend=SEES)
    with pytest.raises(Exception, match="third"):
        prepared(tmp_path, environment, engine, constraints=(str(tmp_path / "constraints.txt"),))
    result = prepared(tmp_path, environment, engine)
    assert seen(tmp_path) == {"tool": "1.0"}, "what built the tool is not there when the leaf is built"
    assert set(index.asked) == {"third"}
    assert {str(tmp_path / "w" / name / "backend.py") for name in ("maker", "base", "tool", "leaf")} < set(
        result.inputs
    )


def test_an_edit_of_what_builds_a_local_build_requirement_builds_it_again(
    tmp_path: Path, environment: Environment, index: Index
) -> None:
    make_project(tmp_path / "w" / "maker", "maker", "1.0", backend=SEES)
    make_project(tmp_path / "w" / "tool", "tool", requires=["maker"], backend=SEES)
    local = workspace(tmp_path / "w")
    first = ensure(recipe("tool", local=local), disk=DISK)
    make_project(tmp_path / "w" / "maker", "maker", "2.0", backend=SEES)
    again = ensure(recipe("tool", local=local), disk=DISK)
    assert again == first
    told = next(Path(again.path).rglob("seen-tool.json")).read_text(encoding="utf-8")
    assert json.loads(told) == {"maker": "2.0"}
    # The same, elsewhere in the workspace.
    shutil.copytree(tmp_path / "w" / "maker", tmp_path / "w" / "moved")
    make_project(tmp_path / "w" / "moved", "maker", "3.0", backend=SEES)
    again = ensure(recipe("tool", local={**local, "maker": str(tmp_path / "w" / "moved")}), disk=DISK)
    told = next(Path(again.path).rglob("seen-tool.json")).read_text(encoding="utf-8")
    assert json.loads(told) == {"maker": "3.0"}
    assert index.asked == []


def test_what_a_backend_asks_for(tmp_path: Path, environment: Environment, engine: str, index: Index) -> None:
    asks = """
    def get_requires_for_build_editable(config_settings=None):
        return ["Tool>=1"]
"""
    make_project(tmp_path / "w" / "tool", "tool")
    make_project(tmp_path / "w" / "leaf", "leaf", backend=SEES + asks)
    prepared(tmp_path, environment, engine)
    assert seen(tmp_path) == {"tool": "1.0"}
    assert index.asked == []


def test_what_third_party_build_requirements_need(
    tmp_path: Path, environment: Environment, engine: str, index: Index
) -> None:
    """They get it from the workspace, with what the extras that they ask for need; and nothing is made twice for that."""
    index.add("third", "1.5", ("base[more]<2", "fourth"))
    index.add("fourth", "1.0", ("tool ; python_version < '3'",))
    index.add("fifth", "1.0")
    extra = needs('fifth ; extra == "more"')
    make_project(tmp_path / "w" / "base", "base", backend=extra)
    make_project(tmp_path / "w" / "tool", "tool")
    make_project(tmp_path / "w" / "leaf", "leaf", requires=["third"], backend=SEES)
    result = prepared(tmp_path, environment, engine)
    assert seen(tmp_path) == {"base": "1.0", "fifth": "1.0", "fourth": "1.0", "third": "1.5"}
    assert set(index.asked) == {"third", "fourth", "fifth"}
    assert str(tmp_path / "w" / "base" / "backend.py") in result.inputs
    asked = len(index.asked)
    prepared(tmp_path, environment, engine)
    assert index.asked[asked:] == []


def test_workspaces_with_one_recipe_and_other_projects_do_not_share(tmp_path: Path, engine: str, index: Index) -> None:
    index.add("third", "1.5", ("base",))
    one = make_project(tmp_path / "one" / "base", "base", "1.0")
    two = make_project(tmp_path / "two" / "base", "base", "2.0")
    unrelated = {"other": str(make_project(tmp_path / "other", "other"))}
    recipes = [
        recipe("third", local={"base": str(one)}, engine=engine),
        recipe("third", local={"base": str(two)}, engine=engine),
        recipe("third", local=unrelated, engine=engine),
        recipe("third", local={}, engine=engine),
        recipe("third", local={"base": str(one), **unrelated}, engine=engine),
    ]
    for _ in range(2):
        made = [ensure(each, disk=DISK) for each in recipes]
        assert [each.installed()["base"] for each in made] == ["1.0", "2.0", "666", "666", "1.0"]
    assert made[0] == made[4]
    assert made[2] == made[3]
    assert len({each.key for each in made}) == 3


def test_a_name_that_becomes_one_of_the_workspace(tmp_path: Path, index: Index) -> None:
    index.add("third", "1.5", ("base",))
    assert ensure(recipe("third", local={}), disk=DISK).installed() == {"base": "666", "third": "1.5"}
    local = {"base": str(make_project(tmp_path / "base", "base"))}
    assert ensure(recipe("third", local=local), disk=DISK).installed() == {"base": "1.0", "third": "1.5"}
    assert ensure(recipe("third", local={}), disk=DISK).installed()["base"] == "666"


@pytest.mark.parametrize("how", ["itself", "each other", "through a third party"])
def test_a_circle_is_an_error_that_names_it(how: str, tmp_path: Path, index: Index) -> None:
    index.add("third", "1.5", ("tool",))
    tool, maker = tmp_path / "w" / "tool", tmp_path / "w" / "maker"
    requires = {"itself": ["tool"], "each other": ["maker"], "through a third party": ["third"]}[how]
    make_project(tool, "tool", requires=requires)
    make_project(maker, "maker", requires=["tool"])
    with pytest.raises(MetadataError, match="tool is needed to build itself") as caught:
        ensure(recipe("tool", local=workspace(tmp_path / "w")), disk=DISK)
    circle = [tool, maker, tool] if how == "each other" else [tool, tool]
    assert caught.value.message.endswith(" -> ".join(map(str, circle)))
    assert "backend-path" in caught.value.advice
    assert "tool" not in index.asked


def test_a_failure_far_down_names_those_who_need_it(tmp_path: Path) -> None:
    make_project(tmp_path / "w" / "maker", "maker", backend="def build_wheel(*a, **k): raise SystemExit('broken')\n")
    make_project(tmp_path / "w" / "tool", "tool", requires=["maker"])
    make_project(tmp_path / "w" / "leaf", "leaf", requires=["tool"])
    with pytest.raises(BackendError) as caught:
        project_metadata(
            str(tmp_path / "w" / "leaf"), interpreter=INTERPRETER, workspace=workspace(tmp_path / "w"), disk=DISK
        )
    first = caught.value.message.splitlines()[0]
    assert first.startswith(f"the local build requirement tool of {tmp_path / 'w' / 'leaf'}: ")
    assert f"the local build requirement maker of {tmp_path / 'w' / 'tool'}: the build backend of" in first
    assert "-m build --wheel" in caught.value.advice


def test_a_name_without_a_directory_cannot_be_built(tmp_path: Path, index: Index) -> None:
    with pytest.raises(
        ConfigurationError, match="tool, which is needed for a build, is a name of the workspace without"
    ):
        ensure(recipe("tool", local={"tool": ""}), disk=DISK)
    assert index.asked == []


def test_wheels_and_notes_go_with_the_cache(tmp_path: Path, index: Index) -> None:
    index.add("third", "1.5", ("tool",))
    local = {"tool": str(make_project(tmp_path / "tool", "tool"))}
    ensure(recipe("third", local=local), disk=DISK)
    cache = tmp_path / "cache"
    assert list(cache.rglob("*.whl"))
    assert list(cache.rglob("*.names.json"))
    remove_unused(30, disk=DISK)
    assert list(cache.rglob("*.whl"))
    remove_unused(None, disk=DISK)
    assert {path.suffix for path in cache.rglob("*") if path.is_file()} <= {".lock", ".json"}
    assert not list(cache.rglob("*.names.json"))
    assert ensure(recipe("third", local=local), disk=DISK).installed() == {"third": "1.5", "tool": "1.0"}


def test_a_generated_workspace_keeps_every_name_to_itself(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend outside the chosen projects, and what it needs; also while backends are asked for metadata."""
    monkeypatch.setenv("INTERLOCK_DURABILITY", "fast")
    root = tmp_path / "w"
    write_tree(root, {"interlock.toml": '[environments.venv]\nprojects = ["leaf"]\n'})
    make_project(root / "base", "base")
    make_project(root / "outside", "outside", backend=needs("base"))
    make_project(root / "leaf", "leaf", requires=["outside"], backend=SEES)
    make_project(root / "dynamic", "dynamic", requires=["outside"], backend=SEES)
    # One whose metadata only its backend knows needs another such to be asked.
    for name in ("outside", "dynamic"):
        pyproject = root / name / "pyproject.toml"
        text = pyproject.read_text(encoding="utf-8").replace('version = "1.0"', 'dynamic = ["dependencies", "version"]')
        pyproject.write_text(text, encoding="utf-8")
    succeed("build", cwd=root)
    assert index.asked == []
    found = next((root / ".venv").rglob("seen-leaf.json")).read_text(encoding="utf-8")
    assert json.loads(found) == {"base": "1.0", "outside": "1.0"}
    names = (root / "out" / "interlock" / "workspace-names.txt").read_text(encoding="utf-8")
    assert names.splitlines()[0] == "base\t../../base"
    # Another project is no reason to prepare again.
    stamps = {path: path.stat().st_mtime_ns for path in (root / "out").glob("*__editable_prepare")}
    prepared_at = {path: path.stat().st_ctime_ns for path in (root / "out").rglob("prepared")}
    assert prepared_at
    make_project(root / "more", "more")
    said = succeed("build", cwd=root)
    assert "prepare leaf" not in said
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert {path: path.stat().st_ctime_ns for path in prepared_at} == prepared_at
