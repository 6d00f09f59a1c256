from __future__ import annotations

import json
import os
import shutil
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from interlock import __version__, errors
from interlock.durable import Disk
from interlock_gn import dotfile, vendored
from interlock_gn.commands.init import first_build_file
from interlock_runner import interlock, succeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gn_trees import Tree

TEMPLATES = Path(vendored.PACKAGE)
NAMES = sorted([path.name for path in TEMPLATES.glob("*.gni")] + ["BUILD.gn", "run_interlock.py"])
DOTFILE = 'buildconfig = "//conf/BUILDCONFIG.gn"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a GN source tree with nothing in it."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / ".gn").write_text(DOTFILE, encoding="utf-8")
    return root


@pytest.fixture
def target(root: Path) -> Path:
    """Return //build/interlock with the templates."""
    init(root)
    return root / "build" / "interlock"


def init(root: Path, directory: str = "//build/interlock", *, link: bool = False, disk: Disk | None = None) -> str:
    path = vendored.locate(str(root), directory)
    return show(vendored.initialise(str(root), path, link=link, disk=disk or Disk("fast")))


def update(root: Path, *, disk: Disk | None = None) -> str:
    path = vendored.locate(str(root), "//build/interlock")
    return show(vendored.update(str(root), path, disk=disk or Disk("fast")))


def show(changes: vendored.Changes) -> str:
    return " ".join([f"+{name}" for name in changes.written] + [f"-{name}" for name in changes.removed])


def everything(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and the modification time of each file below a directory."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def refusal(action: Callable[[], object], root: Path) -> str:
    """Return the message of a refusal that changed nothing."""
    before = everything(root)
    with pytest.raises(errors.ConfigurationError) as caught:
        action()
    assert everything(root) == before
    return str(caught.value)


def ship(monkeypatch: pytest.MonkeyPatch, directory: Path, version: str, **changed: str | None) -> None:
    """Be another interlock: of a version, with a file changed (`venv="text"`), added, or gone (None)."""
    shutil.copytree(TEMPLATES, directory, ignore=shutil.ignore_patterns("*.py", "commands", "__pycache__"))
    shutil.copy2(TEMPLATES / "run_interlock.py", directory)
    for name, text in changed.items():
        path = directory / f"{name}.gni"
        if text is None:
            path.unlink()
        else:
            path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(vendored, "PACKAGE", str(directory))
    monkeypatch.setattr(vendored, "__version__", version)


class Interrupted(Exception):
    """The process ended here."""


class DyingDisk(Disk):
    """A disk of a process that dies before one of its operations."""

    def __init__(self, last: int) -> None:
        super().__init__("fast")
        self.left = last

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Interrupted

    def replace(self, source: str, destination: str) -> None:
        self._step()
        super().replace(source, destination)

    def remove(self, path: str) -> bool:
        if path.endswith(".gni"):
            self._step()
        return super().remove(path)


def test_init_copies_what_is_shipped(root: Path) -> None:
    assert init(root) == " ".join(f"+{name}" for name in NAMES)
    target = root / "build" / "interlock"
    assert sorted(os.listdir(target)) == sorted([*NAMES, "VERSION"])
    for name in NAMES:
        assert (target / name).read_bytes() == (TEMPLATES / name).read_bytes()
    assert (target / "VERSION").read_text(encoding="utf-8").startswith(f"interlock {__version__} templates\n")


@pytest.mark.skipif(os.name == "nt", reason="files are executable by their ending there")
def test_the_script_is_executable(target: Path) -> None:
    assert os.access(target / "run_interlock.py", os.X_OK)
    assert not os.access(target / "BUILD.gn", os.X_OK)


def test_init_twice_changes_nothing(root: Path, target: Path) -> None:
    before = everything(root)
    assert init(root) == ""
    assert everything(root) == before


def test_init_leaves_other_files_alone(root: Path) -> None:
    other = root / "build" / "interlock" / "README.md"
    other.parent.mkdir(parents=True)
    other.write_text("ours", encoding="utf-8")
    init(root)
    assert other.read_text(encoding="utf-8") == "ours"


def test_init_refuses_files_of_others(root: Path) -> None:
    target = root / "build" / "interlock"
    target.mkdir(parents=True)
    (target / "BUILD.gn").write_text('group("x") {\n}\n', encoding="utf-8")
    (target / "VERSION").write_text("3\n", encoding="utf-8")
    (target / "venv.gni").mkdir()
    assert refusal(lambda: init(root), root) == (
        "//build/interlock has files of these names that interlock did not write: BUILD.gn, VERSION, venv.gni\n"
        "  Nothing was written. Move them away, or choose another directory: --dir //third_party/interlock"
    )


def test_init_adopts_a_copy_made_by_hand(root: Path) -> None:
    target = root / "build" / "interlock"
    target.mkdir(parents=True)
    for name in NAMES:
        shutil.copy(TEMPLATES / name, target)
    assert init(root) == ""
    assert vendored.status(str(target)).up_to_date


def test_init_refers_to_update(root: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, tmp_path / "next", "99")
    assert refusal(lambda: init(root), root) == (
        f"//build/interlock has templates already, of another interlock: {__version__}; this is 99\n"
        "  `interlock gn update` brings them up to date."
    )


def test_an_interrupted_init_can_be_run_again(root: Path, tmp_path: Path) -> None:
    target = root / "build" / "interlock"
    for last in count():
        try:
            init(root, disk=DyingDisk(last))
        except Interrupted:
            status = vendored.status(str(target))
            assert not status.edited
            assert not status.up_to_date
            assert not list(target.glob(".*.tmp"))
            continue
        break
    assert 2 < last < len(NAMES)  # each attempt went on from the one before
    assert vendored.status(str(target)).up_to_date


def test_an_interrupted_update_can_be_run_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"venv": "# new\n", "added": "# new\n", "workspace": None, "action": "# new\n"}
    for last in count():
        with monkeypatch.context() as patch:
            shutil.rmtree(root / "build", ignore_errors=True)
            init(root)
            ship(patch, tmp_path / f"next{last}", "99", **changed)
            try:
                update(root, disk=DyingDisk(last))
            except Interrupted:
                status = vendored.status(str(root / "build" / "interlock"))
                assert status.edited == ()
                assert (status.state, status.up_to_date) == ("older", False)
                update(root)
                stopped = True
            else:
                stopped = False
            assert vendored.status(str(root / "build" / "interlock")).up_to_date
            assert "workspace.gni" not in os.listdir(root / "build" / "interlock")
        if not stopped:
            break
    assert last == 6  # the manifest twice, three files, one removed


def test_update_of_an_older_version(root: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (target / "own.gni").write_text("# ours\n", encoding="utf-8")
    ship(monkeypatch, tmp_path / "next", "99", venv="# new\n", added="# new\n", workspace=None)
    found = vendored.status(str(target))
    assert (found.state, found.version, found.up_to_date) == ("older", __version__, False)
    assert found.warning == (
        f"the templates in //build/interlock are of interlock {__version__}; `interlock gn update` brings those of 99"
    )
    assert update(root) == "+added.gni +venv.gni -workspace.gni"
    found = vendored.status(str(target))
    assert (found.state, found.version, found.up_to_date, found.warning) == ("current", "99", True, "")
    assert (target / "own.gni").read_text(encoding="utf-8") == "# ours\n"
    assert update(root) == ""


def test_update_of_a_newer_version(root: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, tmp_path / "previous", "0.0.1", venv="# old\n")
    expected = (
        f"the templates in //build/interlock are of interlock {__version__}; this is 0.0.1, which is older\n"
        f"  Install interlock {__version__} or newer, and run that. Nothing was written."
    )
    assert refusal(lambda: update(root), root) == expected
    assert refusal(lambda: init(root), root) == expected
    assert refusal(lambda: vendored.check(str(root), str(target)), root) == expected
    assert vendored.status(str(target)).warning == expected.partition("\n")[0]


def test_versions_are_compared_as_such(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, tmp_path / "one", "1.9")
    init(root)
    ship(monkeypatch, tmp_path / "two", "1.10", venv="# new\n")
    assert vendored.status(str(root / "build" / "interlock")).state == "older"


def test_the_same_version_with_other_content(
    root: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(monkeypatch, tmp_path / "other", __version__, venv="# new\n")
    found = vendored.status(str(target))
    assert found.state == "different"
    assert found.warning == (
        "the templates in //build/interlock are not those of this interlock; `interlock gn update` brings them"
    )
    assert update(root) == "+venv.gni"
    assert vendored.status(str(target)).up_to_date


def test_edited_files_are_not_replaced(
    root: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("venv.gni", "project.gni"):
        (target / name).write_text("# edited\n", encoding="utf-8")
    expected = (
        "edited by hand in //build/interlock: project.gni, venv.gni\n"
        "  Nothing was written. To go back to ours, delete what is edited and run `interlock gn update`.\n"
        "  What the edit is for belongs into a .gni of your own, which imports //build/interlock/interlock.gni."
    )
    assert refusal(lambda: update(root), root) == expected
    assert refusal(lambda: init(root), root) == expected
    ship(monkeypatch, tmp_path / "next", "99", venv=None)
    assert refusal(lambda: update(root), root) == expected
    (target / "project.gni").unlink()
    (target / "venv.gni").unlink()
    assert update(root) == "+project.gni"
    assert vendored.status(str(target)).up_to_date


def test_an_edit_to_what_is_shipped_is_none(root: Path, target: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        ship(patch, tmp_path / "next", "99", venv="# new\n")
        (target / "venv.gni").write_text("# new\n", encoding="utf-8")
        assert update(root) == ""
        assert vendored.status(str(target)).up_to_date


def test_missing_files_come_back(root: Path, target: Path) -> None:
    (target / "venv.gni").unlink()
    found = vendored.status(str(target))
    assert (found.state, found.missing, found.up_to_date) == ("current", ("venv.gni",), False)
    assert found.warning == "//build/interlock lacks venv.gni; `interlock gn update` brings that back"
    assert update(root) == "+venv.gni"
    assert vendored.status(str(target)).up_to_date


def test_line_endings_are_no_edit(root: Path, target: Path) -> None:
    for path in target.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert vendored.status(str(target)).up_to_date


def test_a_new_template_does_not_overwrite_a_file_of_others(
    root: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (target / "added.gni").write_text("# ours\n", encoding="utf-8")
    ship(monkeypatch, tmp_path / "next", "99", added="# new\n")
    assert refusal(lambda: update(root), root).startswith(
        "//build/interlock has files of these names that interlock did not write: added.gni\n"
    )


def test_update_without_init(root: Path) -> None:
    assert refusal(lambda: update(root), root) == (
        "//build/interlock has no templates of interlock: there is no VERSION of interlock in it\n"
        "  `interlock gn init` puts them there; --dir names another directory."
    )
    assert vendored.status(str(root / "build" / "interlock")).state == "absent"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("interlock 1 templates\n", 1),
        ("interlock one templates\n" + "0" * 64 + "  BUILD.gn\n", 1),
        ("interlock 1 templates\nBUILD.gn\n", 2),
        ("interlock 1 templates\n" + "0" * 64 + "  ../../.gn\n", 2),
        ("interlock 1 templates\n" + "0" * 64 + "  BUILD.gn\n" + "0" * 64 + "  ..\n", 3),
        ("interlock 1 templates\n" + "0" * 64 + "  a\\b\n", 2),
        ("interlock 1 templates\n<<<<<<< ours\n", 2),
        ("interlock \udcff\n", 1),
    ],
)
def test_a_manifest_that_is_not_ours(root: Path, target: Path, text: str, line: int) -> None:
    (target / "VERSION").write_bytes(text.encode(errors="surrogateescape"))
    expected = (
        f"//build/interlock/VERSION, line {line}: not as interlock wrote it\n"
        "  Restore it from version control; or delete //build/interlock and run `interlock gn init`."
    )
    assert refusal(lambda: update(root), root) == expected
    assert refusal(lambda: init(root), root) == expected
    assert refusal(lambda: vendored.status(str(target)), root) == expected


def test_another_directory_is_named_in_commands(root: Path) -> None:
    init(root, "//third_party/interlock")
    (root / "third_party" / "interlock" / "venv.gni").unlink()
    status = vendored.status(str(root / "third_party" / "interlock"))
    assert "`interlock gn update --dir //third_party/interlock`" in status.warning


def test_paths_of_the_shell(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "build").mkdir()
    monkeypatch.chdir(root / "build")
    assert vendored.locate(str(root), "rules") == str(root / "build" / "rules")
    assert vendored.locate(str(root), str(root / "x")) == str(root / "x")
    assert vendored.locate(str(root), "//build/interlock/") == str(root / "build" / "interlock")


@pytest.mark.parametrize("directory", ["//", "//..", "//../x", "/somewhere/else", "//build/.."])
def test_a_directory_that_is_not_below_the_root(root: Path, directory: str) -> None:
    assert refusal(lambda: init(root, directory), root) == (
        f"{directory} is not a directory below the root of the source tree, {root}\n"
        "  Name one that is, as GN does: --dir //build/interlock"
    )


@pytest.mark.parametrize("directory", ["//my rules", "//c++", "//a$b", "//ü"])
def test_a_directory_that_no_pool_can_be_named_for(root: Path, directory: str) -> None:
    assert refusal(lambda: init(root, directory), root).startswith(f"{directory} cannot hold the templates: ")


@pytest.mark.parametrize("directory", ["//file", "//file/interlock"])
def test_a_file_in_the_way(root: Path, directory: str) -> None:
    (root / "file").write_text("", encoding="utf-8")
    assert refusal(lambda: init(root, directory), root).startswith("//file is not a directory\n")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="nothing is refused to root")
def test_a_directory_that_may_not_be_written(root: Path) -> None:
    (root / "build").mkdir()
    (root / "build").chmod(0o555)
    with pytest.raises(errors.DiskError, match="build/interlock: Permission denied"):
        init(root)


def test_a_link_is_one_file(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, tmp_path / "one", "1")
    assert init(root, link=True) == "+interlock.gni"
    target = root / "build" / "interlock"
    assert sorted(os.listdir(target)) == ["VERSION", "interlock.gni"]
    assert f'import("{tmp_path}/one/interlock.gni")\n' in (target / "interlock.gni").read_text(encoding="utf-8")
    assert init(root, link=True) == ""
    assert update(root) == ""


def test_a_link_follows_the_tool(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, tmp_path / "one", "1")
    init(root, link=True)
    target = root / "build" / "interlock"
    for version in ("2", "0.5"):
        monkeypatch.setattr(vendored, "__version__", version)
        assert vendored.status(str(target)).up_to_date
    ship(monkeypatch, tmp_path / "two", "1")
    assert vendored.status(str(target)).state == "different"
    assert update(root) == "+interlock.gni"
    assert f'import("{tmp_path}/two/' in (target / "interlock.gni").read_text(encoding="utf-8")


def test_a_package_inside_the_tree_is_named_from_its_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, root / "tools" / "interlock_gn", "1")
    init(root, link=True)
    assert 'import("//tools/interlock_gn/interlock.gni")' in (root / "build/interlock/interlock.gni").read_text("utf-8")


def test_a_copy_becomes_a_link_and_a_copy_again(root: Path, target: Path) -> None:
    assert init(root, link=True) == "+interlock.gni " + " ".join(
        f"-{name}" for name in NAMES if name != "interlock.gni"
    )
    assert vendored.status(str(target)).linked
    assert init(root) == " ".join(f"+{name}" for name in NAMES)
    assert not vendored.status(str(target)).linked
    assert vendored.status(str(target)).up_to_date


def test_a_package_that_cannot_be_linked(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ship(monkeypatch, tmp_path / "site packages", "1")
    message = refusal(lambda: init(root, link=True), root)
    assert message.startswith("the templates of this interlock cannot be linked: GN names a pool of Ninja after")
    init(root)


# The command.


def test_the_commands(root: Path) -> None:
    out = succeed("gn", "init", cwd=root)
    assert out.startswith(f"//build/interlock: the templates of interlock {__version__}, {len(NAMES)} files written\n")
    assert f'\nAdd at the end of {root / ".gn"}:\n\n  ninja_required_version = "1.11.0"\n' in out
    assert (root / ".gn").read_text(encoding="utf-8") == DOTFILE
    up_to_date = f"//build/interlock: up to date with interlock {__version__}\n"
    assert succeed("gn", "update", cwd=root) == up_to_date
    assert succeed("gn", "update", "--check", "--root", root) == up_to_date
    (root / "build/interlock/venv.gni").unlink()
    checked = interlock("gn", "update", "--check", cwd=root)
    assert (checked.returncode, checked.stdout) == (
        1,
        "//build/interlock lacks venv.gni; `interlock gn update` brings that back\n",
    )
    assert succeed("gn", "update", cwd=root) == (f"//build/interlock: updated to {__version__}\n  written venv.gni\n")
    manifest = root / "build/interlock/VERSION"
    manifest.write_text(manifest.read_text("utf-8").replace(__version__, "0.0.1", 1), encoding="utf-8")
    assert interlock("gn", "update", "--check", cwd=root).returncode == 1
    assert succeed("gn", "update", cwd=root) == f"//build/interlock: updated from 0.0.1 to {__version__}\n"
    (root / "build/interlock/venv.gni").write_text("# edited\n", encoding="utf-8")
    checked = interlock("gn", "update", "--check", cwd=root)
    assert (checked.returncode, checked.stdout) == (1, "//build/interlock: edited by hand: venv.gni\n")
    assert interlock("gn", "update", cwd=root).returncode == errors.ConfigurationError.exit_code


@pytest.mark.parametrize("command", ["init", "update"])
def test_outside_of_a_gn_tree(tmp_path: Path, command: str) -> None:
    result = interlock("gn", command, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (errors.ConfigurationError.exit_code, "")
    assert result.stderr.startswith("interlock: error: no GN source tree here: ")


def test_init_as_json(root: Path) -> None:
    (root / ".gn").write_text(DOTFILE + 'script_executable = "python3"\n', encoding="utf-8")
    (root / "sub").mkdir()
    out = json.loads(succeed("gn", "init", "--format", "json", "--root", root / "sub"))
    names = [line.pop("name") for line in out.pop("dotfile")]
    assert out.pop("build_file") == {
        "path": "//build/venv/BUILD.gn",
        "text": first_build_file("//build/interlock"),
    }
    assert out == {
        "root": str(root),
        "directory": "//build/interlock",
        "version": __version__,
        "linked": False,
        "written": NAMES,
        "removed": [],
    }
    assert names in (["ninja_required_version", "default_args"], ["ninja_required_version", "script_executable"])


# A real GN.

PROJECT = """\
[project]
name = "core"
version = "1"

[build-system]
requires = ["flit_core>=3.11"]
build-backend = "flit_core.buildapi"
"""


@pytest.fixture
def adopted(tree: Tree) -> Tree:
    """Return a tree without templates, with a project, and with a .gn that knows nothing of interlock."""
    shutil.rmtree(tree.root / "build")
    tree.write(
        {
            ".gn": DOTFILE,
            "BUILD.gn": 'group("default") {\n  deps = [ "//build/venv" ]\n}\n',
            "core/BUILD.gn": 'import("//build/interlock/interlock.gni")\n\ninterlock_project("core") {\n}\n',
            "core/pyproject.toml": PROJECT,
            "core/core.py": '"""The core."""\n',
        }
    )
    return tree


def follow(tree: Tree, *, link: bool = False) -> None:
    """Do what `interlock gn init` says is left to do, with the program that runs these tests."""
    init(tree.root, link=link)
    program = dotfile.running_program("pytest")
    text = DOTFILE + "".join(f"{line.text}\n" for line in dotfile.missing_lines(str(tree.root), program))
    example = first_build_file("//build/interlock").replace("projects = []", 'projects = [ "//core" ]')
    tree.write({".gn": text, "build/venv/BUILD.gn": example})
    assert dotfile.missing_lines(str(tree.root), program) == ()


@pytest.mark.parametrize("link", [False, True], ids=["copied", "linked"])
def test_a_tree_that_follows_init_builds(
    adopted: Tree, link: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(monkeypatch, tmp_path / "installed", __version__)
    follow(adopted, link=link)
    adopted.gen("--fail-on-unused-args")
    adopted.build("-n")  # Ninja reads all of it, the pool's name too
    adopted.build("build/venv:venv__venv")
    assert (adopted.root / ".venv" / "pyvenv.cfg").exists()
    assert "deps = gcc" in (adopted.root / "out" / "toolchain.ninja").read_text(encoding="utf-8")
    written = (adopted.root / "out" / "build.ninja").read_text(encoding="utf-8")
    pools = [line for line in written.splitlines() if line.startswith("pool ") and "install_pool" in line]
    assert len(pools) == 1


def test_the_printed_files_are_formatted(adopted: Tree) -> None:
    follow(adopted)
    adopted.run_gn("format", "--dry-run", ".gn", "build/venv/BUILD.gn")


def test_default_args_that_are_there_get_a_member(adopted: Tree) -> None:
    there = DOTFILE + 'default_args = {\n  interlock_engine = "pip"\n}\n'
    adopted.write({".gn": there, "build/venv/BUILD.gn": first_build_file("//build/interlock")})
    init(adopted.root)
    lines = dotfile.missing_lines(str(adopted.root), str(adopted.root / "tools" / "interlock"))
    adopted.write({".gn": there + "".join(f"{line.text}\n" for line in lines)})
    adopted.gen()
    args = json.loads(adopted.run_gn("args", "out", "--list", "--json"))
    current = {arg["name"]: arg["current"]["value"] for arg in args if "current" in arg}
    assert (current["interlock_program"], current["interlock_engine"]) == ('"//tools/interlock"', '"pip"')


def test_a_pool_is_why_some_directories_are_refused(adopted: Tree) -> None:
    follow(adopted)
    shutil.copytree(adopted.root / "build" / "interlock", adopted.root / "my rules")
    for name in ("build/venv/BUILD.gn", "core/BUILD.gn"):
        text = (adopted.root / name).read_text(encoding="utf-8")
        adopted.write({name: text.replace("//build/interlock", "//my rules")})
    refused = adopted.gen(code=None)
    if "This GN is too old for the space" not in refused:
        assert "pool my rules_install_pool" in adopted.build("-n", code=1)
