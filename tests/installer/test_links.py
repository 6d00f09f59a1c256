"""Links in the place of a .pth: which a project gets, how they come and go, and that nothing behind them is ever touched."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from interlock.access import changing
from interlock.check import check_environment
from interlock.create import create_environment
from interlock.environment import Environment
from interlock.errors import FileConflict, UnsafePath
from interlock.link_plan import MOST, LinkPlan, plan_links
from interlock.links import is_note, notes, read_note
from interlock.pack import write_prepared
from interlock.prepared import Link, Prepared, load_prepared, seal
from interlock.transaction import commit, uninstall
from interlock.wheel import open_wheel
from trees import write_tree

sys.path.insert(0, str(Path(__file__).parent))
from linked_trees import content_of, links_of, prepare_linked
from prepared_trees import contents_of, make_prepared, store
from test_journal import DISK, DyingDisk, Killed
from wheels import make_wheel

pytestmark = pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege there")

PKGUTIL = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
PKG_RESOURCES = (
    '"""Shared."""\ntry:\n    __import__("pkg_resources").declare_namespace(__name__)\nexcept ImportError:\n'
)
PKG_RESOURCES += "    from pkgutil import extend_path\n    __path__ = extend_path(__path__, __name__)\n"


def plan_for(
    tmp_path: Path, environment: Environment, files: dict[str, str], *, root: str = "src", pth: bytes | None = None
) -> LinkPlan:
    """Return the plan for a project with these files whose .pth names the directory `root`, or is `pth`."""
    source = write_tree(tmp_path / "source", files)
    wheel_path = make_wheel(tmp_path, {"core.pth": f"{source / root}\n".encode() if pth is None else pth})
    with open_wheel(wheel_path) as wheel:
        return plan_links(wheel, environment.layout, str(source))


def planned(plan: LinkPlan, environment: Environment, root: Path) -> list[str]:
    """Return the paths of the links, each of which leads to where it would be imported from."""
    base = f"{os.path.dirname(environment.layout.purelib)}/editable-packages/"
    assert all(link.path.startswith(base) for link in plan.links)
    found = [link.path.removeprefix(base) for link in plan.links]
    assert [os.path.relpath(link.target, root) for link in plan.links] == found
    assert plan.why_not == ""
    assert plan.replaces == "core.pth"
    return found


SRC = {
    "a package": (["core/__init__.py", "core/data.txt", "core/deep/x.py"], ["core"]),
    "modules": (
        ["one.py", "two.pyi", "three.cpython-311-x.so", "four.abi3.so", "README.txt", "not-one.py"],
        ["four.abi3.so", "one.py", "three.cpython-311-x.so", "two.pyi"],
    ),
    "stubs": (["core-stubs/__init__.pyi", "core-1.0/x.py"], ["core-stubs"]),
    "what nobody imports": (
        ["core/__init__.py", "core.egg-info/PKG-INFO", ".hidden/x.py", "__pycache__/x.py"],
        ["core"],
    ),
    "a namespace": (
        ["ns/core/__init__.py", "ns/more.py", "ns/data.txt", "ns/.x"],
        ["ns/core", "ns/data.txt", "ns/more.py"],
    ),
    "namespaces in each other": (["a/b/c/core/__init__.py", "a/b/x.py"], ["a/b/c/core", "a/b/x.py"]),
    "data alone": (["core/__init__.py", "templates/deep/x.html"], ["core", "templates"]),
    "data in a namespace": (["ns/core/__init__.py", "ns/data/x.txt"], ["ns/core", "ns/data"]),
    "no __init__.py at all": (["core/a.py", "core/sub/b.py"], ["core/a.py", "core/sub/b.py"]),
}


@pytest.mark.parametrize("what", SRC)
def test_a_package_of_its_own_is_one_link_and_a_shared_one_a_directory(
    what: str, tmp_path: Path, environment: Environment
) -> None:
    files, expected = SRC[what]
    plan = plan_for(tmp_path, environment, {f"src/{path}": "" for path in files})
    assert planned(plan, environment, tmp_path / "source" / "src") == expected


@pytest.mark.parametrize("text", [PKGUTIL, PKG_RESOURCES], ids=["pkgutil", "pkg_resources"])
def test_an_init_that_only_declares_a_namespace_is_left_out(
    text: str, tmp_path: Path, environment: Environment
) -> None:
    """Each of the projects has one, and a directory without it is a namespace as well."""
    files = {"src/ns/__init__.py": text, "src/ns/core/__init__.py": "", "src/ns/deep/__init__.py": text + "x = 1\n"}
    plan = plan_for(tmp_path, environment, files)
    assert planned(plan, environment, tmp_path / "source" / "src") == ["ns/core", "ns/deep/__init__.py"]


FLAT = {
    "a package": (["core/__init__.py", "tests/__init__.py", "docs/conf.py", "setup.py", "conftest.py"], ["core"]),
    "two packages": (["core/__init__.py", "more/__init__.py", "assets/x.png"], ["core", "more"]),
    "a module": (["core.py", "test/x.py", "noxfile.py"], ["core.py"]),
    "a namespace": (["ns/core/__init__.py", "node_modules/gyp/x/__init__.py"], ["ns/core"]),
    "other projects": (
        ["core/__init__.py", "packages/other/pyproject.toml", "packages/other/other/__init__.py"],
        ["core"],
    ),
    "scripts that are no package": (["core/__init__.py", "scripts/x.py"], ["core"]),
}


@pytest.mark.parametrize("what", FLAT)
def test_of_a_flat_layout_only_what_is_shipped_is_linked(what: str, tmp_path: Path, environment: Environment) -> None:
    files, expected = FLAT[what]
    plan = plan_for(tmp_path, environment, dict.fromkeys(files, ""), root=".")
    assert planned(plan, environment, tmp_path / "source") == expected


UNSUITED = {
    "perhaps shipped": (["core/__init__.py", "tools/__init__.py"], ".", "whether 'tools' in"),
    "perhaps a module": (["core/__init__.py", "tasks.py"], ".", "whether 'tasks' in"),
    "nothing": (["core.txt"], ".", "nothing to import"),
    "too many": ([f"src/ns/m{number}.py" for number in range(MOST + 1)], "src", f"more than {MOST} links"),
    "elsewhere": (["src/core.py"], "..", "no directory of the project"),
    "nowhere": (["src/core.py"], "lib", "no directory of the project"),
}


@pytest.mark.parametrize("what", UNSUITED)
def test_what_cannot_be_told_stays_as_it_is(what: str, tmp_path: Path, environment: Environment) -> None:
    files, root, why = UNSUITED[what]
    plan = plan_for(tmp_path, environment, dict.fromkeys(files, ""), root=root)
    assert (plan.links, plan.replaces) == ((), "")
    assert why in plan.why_not


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import os\n", "more than one absolute path"),
        ("{src}\nimport os\n", "more than one absolute path"),
        ("{src}\n{src}\n", "more than one absolute path"),
        ("../src\n", "more than one absolute path"),
        ("", "more than one absolute path"),
        ("\udcff{src}\n", "not UTF-8"),
    ],
)
def test_a_pth_that_is_more_than_a_path_stays(text: str, why: str, tmp_path: Path, environment: Environment) -> None:
    pth = text.format(src=tmp_path / "source" / "src").encode("utf-8", "surrogateescape")
    assert why in plan_for(tmp_path, environment, {"src/core/__init__.py": ""}, pth=pth).why_not


def test_comments_and_empty_lines_of_a_pth_say_nothing(tmp_path: Path, environment: Environment) -> None:
    pth = f"# made\n\n{tmp_path}/source/src  \n".encode()
    assert len(plan_for(tmp_path, environment, {"src/core/__init__.py": ""}, pth=pth).links) == 1


def test_two_pth_or_one_elsewhere_stay(tmp_path: Path, environment: Environment) -> None:
    source = write_tree(tmp_path / "source", {"src/core.py": ""})
    line = f"{source}/src\n".encode()
    for files in ({"a.pth": line, "b.pth": line}, {"deep/a.pth": line}, {"a.py": b""}):
        with open_wheel(make_wheel(tmp_path, files)) as wheel:
            assert ".pth, not one at its top" in plan_links(wheel, environment.layout, str(source)).why_not


def test_on_windows_there_are_no_links(tmp_path: Path, environment: Environment) -> None:
    with open_wheel(make_wheel(tmp_path)) as wheel:
        assert "Windows" in plan_links(wheel, environment.layout, str(tmp_path), platform="win32").why_not


def test_no_link_leads_out_of_the_project(tmp_path: Path, environment: Environment) -> None:
    write_tree(
        tmp_path, {"outside/x/__init__.py": "", "source/src/core/__init__.py": "", "source/more/__init__.py": ""}
    )
    (tmp_path / "source" / "src" / "more").symlink_to("../more")
    assert [link.path.rpartition("/")[2] for link in plan_for(tmp_path, environment, {}).links] == ["core", "more"]
    (tmp_path / "source" / "src" / "other").symlink_to(tmp_path / "outside" / "x")
    assert "leads out of the project" in plan_for(tmp_path, environment, {}).why_not


def test_a_link_to_a_directory_above_is_not_walked(tmp_path: Path, environment: Environment) -> None:
    write_tree(tmp_path, {"source/src/ns/core.py": ""})
    (tmp_path / "source" / "src" / "ns" / "again").symlink_to("..")
    plan = plan_for(tmp_path, environment, {})
    assert planned(plan, environment, tmp_path / "source" / "src") == ["ns/again", "ns/core.py"]


def test_what_was_looked_at_is_an_input(tmp_path: Path, environment: Environment) -> None:
    plan = plan_for(
        tmp_path, environment, {"src/ns/core/__init__.py": "", "src/core/__init__.py": "", "src/data/x": ""}
    )
    inside = {os.path.relpath(path, tmp_path / "source" / "src") for path in plan.inputs}
    assert inside == {".", "ns", "ns/core/__init__.py", "core/__init__.py", "data"}


def test_a_note_says_where_the_links_beside_it_lead(tmp_path: Path) -> None:
    links = [Link("lib/editable-packages/a", "/x/a"), Link("lib/editable-packages/ns/b.py", "/x/b.py")]
    found = notes(links, "core")
    assert list(found) == ["lib/editable-packages/.core.links", "lib/editable-packages/ns/.core.links"]
    assert all(map(is_note, found))
    (tmp_path / "note").write_bytes(found["lib/editable-packages/ns/.core.links"])
    assert read_note(str(tmp_path / "note")) == {"b.py": "/x/b.py"}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1, "../b": "/x"}', "\x00"])
def test_a_damaged_note_says_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "note").write_text(text, encoding="utf-8")
    assert read_note(str(tmp_path / "note")) == {}
    assert read_note(str(tmp_path / "none")) == {}


@pytest.mark.parametrize(
    "path",
    ["core-1.0.data/data/lib/python{v}/editable-packages/other/x.py", "interlock-editable-packages.pth"],
)
def test_a_wheel_cannot_ship_what_is_of_the_links(path: str, tmp_path: Path, environment: Environment) -> None:
    name = path.format(v=environment.interpreter.short)
    with (
        open_wheel(make_wheel(tmp_path, {name: b"x"})) as wheel,
        pytest.raises(UnsafePath, match="the environment itself"),
    ):
        write_prepared(wheel, LinkPlan(), str(tmp_path / "new"), str(tmp_path), environment, (), DISK)


# Commits


def project(tmp_path: Path, name: str, *paths: str, text: str = "x = 1\n") -> Path:
    return write_tree(tmp_path / "sources" / name, {f"src/{path}": text for path in paths})


class Sources:
    """The projects of a test, prepared again and again."""

    def __init__(self, tmp_path: Path, environment: Environment) -> None:
        self.base = tmp_path
        self.environment = environment
        self.count = 0

    def prepare(self, name: str, *paths: str, version: str = "1.0") -> Prepared:
        """Make a project consist of these files (and no others) and prepare it."""
        source = self.base / "sources" / name
        for path in sorted(source.rglob("*"), reverse=True) if paths else ():
            path.rmdir() if path.is_dir() else path.unlink()
        project(self.base, name, *paths)
        self.count += 1
        return prepare_linked(self.base / f"prepared-{self.count}", self.environment, name, version, source)

    def install(self, name: str, *paths: str, version: str = "1.0") -> None:
        prepared = self.prepare(name, *paths, version=version)
        before = self.content()
        assert commit(prepared, self.environment.path, disk=DISK).changed
        assert self.content() == before
        assert not commit(prepared, self.environment.path, disk=DISK).changed
        assert check_environment(self.environment.path).problems == ()

    def content(self) -> dict[str, str]:
        return content_of(self.base / "sources")

    def links(self) -> list[str]:
        return sorted(links_of(self.environment))


@pytest.fixture
def sources(tmp_path: Path, environment: Environment) -> Sources:
    return Sources(tmp_path, environment)


PACKAGE, NAMESPACE = ("ns/__init__.py", "ns/a/__init__.py", "ns/a/b.py"), ("ns/a/__init__.py", "ns/a/b.py", "ns/c.py")
DEEP = ("ns/a/b.py",)
CHANGES = {
    "package to namespace": (PACKAGE, NAMESPACE),
    "namespace to package": (NAMESPACE, PACKAGE),
    "package to files": (PACKAGE, DEEP),
    "files to package": (DEEP, PACKAGE),
    "files to namespace": (DEEP, NAMESPACE),
    "namespace to files": (NAMESPACE, DEEP),
    "another package": (PACKAGE, ("other/__init__.py",)),
    "module to package": (("ns.py",), PACKAGE),
}


@pytest.fixture(params=["beside the environment", "in the environment"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Sources:
    """Return projects that may lie in the environment itself, where pip puts what it has cloned."""
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    return Sources(tmp_path if request.param.startswith("beside") else Path(environment.path), environment)


def test_what_is_listed_and_was_missing_is_not_removed_behind_a_new_link(anywhere: Sources) -> None:
    anywhere.install("core", *NAMESPACE)
    base = Path(anywhere.environment.site_packages[0]).parent / "editable-packages"
    (base / "ns" / "c.py").unlink()
    anywhere.install("core", "ns/__init__.py", "ns/c.py")
    assert anywhere.links() == ["ns"]
    uninstall(anywhere.environment.path, ["core"], disk=DISK)
    assert (anywhere.base / "sources" / "core" / "src" / "ns" / "c.py").exists()


def test_what_is_listed_behind_the_link_of_another_project_is_not_removed(anywhere: Sources) -> None:
    anywhere.install("one", "ns/c.py")
    base = Path(anywhere.environment.site_packages[0]).parent / "editable-packages"
    (base / "ns" / "c.py").unlink()
    (base / "ns" / ".one.links").unlink()
    commit(anywhere.prepare("two", *PACKAGE, "ns/c.py"), anywhere.environment.path, disk=DISK)
    content = anywhere.content()
    uninstall(anywhere.environment.path, ["one"], disk=DISK)
    assert (anywhere.content(), anywhere.links()) == (content, ["ns"])


def test_a_directory_that_another_project_lists_does_not_become_a_link(sources: Sources) -> None:
    """Its uninstall, by whatever tool, would remove what it lists: through the link, from the sources."""
    sources.install("one", "ns/a.py")
    sources.install("two", "ns/b.py")
    shutil.rmtree(Path(sources.environment.site_packages[0]).parent / "editable-packages")
    with pytest.raises(FileConflict, match=r"two 1\.0 and one 1\.0 both ship \S*editable-packages/ns,"):
        commit(sources.prepare("two", "ns/__init__.py", "ns/a.py"), sources.environment.path, disk=DISK)
    assert sources.links() == []


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_package_can_become_one_of_another_kind(change: str, version: str, sources: Sources) -> None:
    before, after = CHANGES[change]
    sources.install("core", *before)
    sources.install("core", *after, version=version)
    expected = {
        PACKAGE: ["ns"],
        NAMESPACE: ["ns/a", "ns/c.py"],
        DEEP: ["ns/a/b.py"],
        ("other/__init__.py",): ["other"],
    }
    assert sources.links() == expected[after]
    content = sources.content()
    uninstall(sources.environment.path, ["core"], disk=DISK)
    assert sources.links() == []
    assert sources.content() == content
    base = Path(sources.environment.site_packages[0]).parent / "editable-packages"
    assert not base.exists()


@pytest.mark.parametrize("change", CHANGES)
def test_a_death_at_any_point_of_a_change_leaves_old_or_new_and_the_sources(change: str, sources: Sources) -> None:
    before, after = CHANGES[change]
    environment = sources.environment
    for survive in range(100):
        sources.install("core", *before)
        old = sources.links()
        prepared = sources.prepare("core", *after, version="2.0")
        content = sources.content()
        disk = DyingDisk(survive)
        try:
            commit(prepared, environment.path, disk=disk)
        except Killed:
            pass
        else:
            break
        assert sources.content() == content
        with changing(environment.path, disk=DISK):
            pass
        assert sources.content() == content
        wanted = sorted(link.path.partition("editable-packages/")[2] for link in prepared.links)
        assert sources.links() in (old, wanted)
        assert check_environment(environment.path).problems == () or sources.links() == old
        uninstall(environment.path, ["core"], disk=DISK)
        assert sources.links() == []
        assert sources.content() == content
    else:
        pytest.fail("it never came to an end")
    assert survive > 10


def test_projects_share_a_namespace_and_leave_it_alone(sources: Sources) -> None:
    sources.install("one", "ns/one/__init__.py")
    sources.install("two", "ns/two/__init__.py")
    sources.install("three", "ns/three.py")
    assert sources.links() == ["ns/one", "ns/three.py", "ns/two"]
    uninstall(sources.environment.path, ["one"], disk=DISK)
    assert sources.links() == ["ns/three.py", "ns/two"]
    uninstall(sources.environment.path, ["two", "three"], disk=DISK)
    assert sources.links() == []
    site = Path(sources.environment.site_packages[0])
    assert (site / "interlock-editable-packages.pth").read_text(encoding="utf-8") == "../editable-packages\n"


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        (("ns/__init__.py",), ("ns/two/__init__.py",), "ns"),
        (("ns/one/__init__.py",), ("ns/__init__.py",), "ns"),
        (("ns/__init__.py",), ("ns/__init__.py",), "ns"),
        (("ns/x.py",), ("ns/x.py",), "ns/x.py"),
    ],
)
def test_what_is_another_projects_is_a_conflict(
    first: tuple[str, ...], second: tuple[str, ...], path: str, sources: Sources
) -> None:
    sources.install("one", *first)
    prepared = sources.prepare("two", *second)
    content, links = sources.content(), links_of(sources.environment)
    with pytest.raises(FileConflict, match=rf"two 1\.0 and one 1\.0 both ship \S*editable-packages/{path}\b") as caught:
        commit(prepared, sources.environment.path, disk=DISK)
    assert "Nothing was changed" in caught.value.advice
    assert (sources.content(), links_of(sources.environment)) == (content, links)


def test_a_project_that_moved_under_a_new_name_is_told_how_to_remove_the_old_one(sources: Sources) -> None:
    sources.install("core", *PACKAGE)
    os.rename(sources.base / "sources" / "core", sources.base / "sources" / "heart")
    with pytest.raises(FileConflict) as caught:
        sources.install("heart", *PACKAGE)
    path = sources.environment.path
    assert f"interlock uninstall --venv {path} core. Nothing was changed" in caught.value.advice
    uninstall(path, ["core"], disk=DISK)
    sources.install("heart", *PACKAGE)
    assert check_environment(path).problems == ()


def test_a_project_under_a_new_name_shares_its_links_until_the_old_one_goes(sources: Sources) -> None:
    sources.install("core", *PACKAGE)
    source = sources.base / "sources" / "core"
    renamed = prepare_linked(sources.base / "renamed", sources.environment, "heart", "1.0", source)
    commit(renamed, sources.environment.path, disk=DISK)
    uninstall(sources.environment.path, ["core"], disk=DISK)
    assert sources.links() == ["ns"]
    assert check_environment(sources.environment.path).problems == ()


@pytest.mark.parametrize("left", ["ns", "ns/a", "ns/__pycache__/c.pyc"])
def test_what_another_tool_left_is_in_nobodys_way(left: str, sources: Sources) -> None:
    """pip leaves a link that leads nowhere, uv the directories of a namespace."""
    path = Path(sources.environment.site_packages[0]).parent / "editable-packages" / left
    path.parent.mkdir(parents=True)
    path.write_bytes(b"") if left.endswith(".pyc") else path.symlink_to("/nowhere")
    sources.install("core", *(PACKAGE if left != "ns" else NAMESPACE))


def test_a_file_of_somebody_in_the_place_of_a_link_stays(sources: Sources) -> None:
    path = Path(sources.environment.site_packages[0]).parent / "editable-packages" / "ns" / "mine.txt"
    path.parent.mkdir(parents=True)
    path.write_text("mine\n", encoding="utf-8")
    with pytest.raises(FileConflict, match="which is a directory in"):
        commit(sources.prepare("core", *PACKAGE), sources.environment.path, disk=DISK)
    assert path.read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize("target", ["/etc", "{base}/sources", "{base}/sources/core/../other", "src/ns"])
def test_an_edited_manifest_leads_no_link_out_of_the_project(target: str, sources: Sources) -> None:
    prepared = sources.prepare("core", *PACKAGE)
    wrong = seal(replace(prepared, links=(Link(prepared.links[0].path, target.format(base=sources.base)),)))
    store(wrong, contents_of(prepared).values())
    with pytest.raises(UnsafePath, match=r"which is not in .*sources/core"):
        commit(load_prepared(prepared.path), sources.environment.path, disk=DISK)
    assert sources.links() == []


def test_an_edited_manifest_puts_no_link_elsewhere(sources: Sources) -> None:
    prepared = sources.prepare("core", *PACKAGE)
    for path in ("bin/python", "lib/x", "../x"):
        wrong = seal(replace(prepared, links=(Link(path, prepared.links[0].target),)))
        store(wrong, contents_of(prepared).values())
        with pytest.raises(UnsafePath):
            commit(load_prepared(prepared.path), sources.environment.path, disk=DISK)


def test_a_link_that_changed_is_put_back_and_a_source_that_is_gone_is_said(sources: Sources) -> None:
    prepared = sources.prepare("core", *PACKAGE)
    commit(prepared, sources.environment.path, disk=DISK)
    link = Path(sources.environment.absolute(prepared.links[0].path))
    link.unlink()
    assert [problem.kind for problem in check_environment(sources.environment.path).problems] == ["missing"]
    link.symlink_to("/etc")
    (problem,) = check_environment(sources.environment.path).problems
    assert (problem.kind, problem.path) == ("changed", str(link))
    assert commit(prepared, sources.environment.path, disk=DISK).changed
    assert check_environment(sources.environment.path).problems == ()
    os.rename(sources.base / "sources", sources.base / "moved")
    (problem,) = check_environment(sources.environment.path).problems
    assert problem.kind == "missing"
    assert "leads to" in problem.detail


def test_the_pth_of_all_is_put_back(sources: Sources) -> None:
    prepared = sources.prepare("core", *PACKAGE)
    commit(prepared, sources.environment.path, disk=DISK)
    pth = Path(sources.environment.site_packages[0], "interlock-editable-packages.pth")
    pth.unlink()
    (problem,) = check_environment(sources.environment.path).problems
    assert (problem.kind, problem.path) == ("missing", str(pth))
    pth.write_text("../elsewhere\n", encoding="utf-8")
    (problem,) = check_environment(sources.environment.path).problems
    assert (problem.kind, problem.path) == ("changed", str(pth))
    assert commit(prepared, sources.environment.path, disk=DISK).changed
    assert check_environment(sources.environment.path).problems == ()


def test_links_come_in_the_place_of_a_pth_and_go_again(sources: Sources) -> None:
    plain = make_prepared(sources.base / "plain", sources.environment, "core")
    pth = Path(sources.environment.site_packages[0], "__editable__.core.pth")
    commit(plain, sources.environment.path, disk=DISK)
    sources.install("core", *PACKAGE)
    assert not pth.exists()
    commit(plain, sources.environment.path, disk=DISK)
    assert pth.exists()
    assert sources.links() == []


def test_record_lists_each_link_and_note_and_not_the_pth_of_all(sources: Sources) -> None:
    prepared = sources.prepare("core", "ns/a/__init__.py", "b.py")
    record = contents_of(prepared)[prepared.files[-1].path].decode().splitlines()
    ours = [line for line in record if "editable-packages" in line]
    assert [line.partition(",")[0] for line in ours] == [
        "../editable-packages/.core.links",
        "../editable-packages/b.py",
        "../editable-packages/ns/.core.links",
        "../editable-packages/ns/a",
    ]
    assert ours[1] == "../editable-packages/b.py,,"
    assert load_prepared(prepared.path).links[0].target.endswith("src/b.py")
