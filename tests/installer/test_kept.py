"""Editable wheels that are kept: taken only where the backend would build the same again, and never otherwise."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from real_backends import MODULES, VERSIONS, every_version, real_backend

from interlock import kept as module
from interlock.build_environment import BuildEnvironment, remove_unused
from interlock.create import create_environment
from interlock.durable import Disk
from interlock.environment import Environment
from interlock.kept import Kept, kept_wheels
from interlock.prepare import BuildOptions, PrepareResult, prepare

DISK = Disk("fast")
PYPROJECT = """\
[build-system]
requires = ["{requires}"]
build-backend = "{module}"

[project]
name = "my-core"
version = "1.0"
description = "One line"
readme = "README.md"
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return create_environment(str(tmp_path_factory.mktemp("kept") / "env"), python=None, disk=DISK)[0]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the wheels that are kept be this test's own, and build environments those of all tests."""
    monkeypatch.setattr(module, "kept_wheels", lambda: str(tmp_path / "kept"))
    return tmp_path / "kept"


def write(directory: Path, backend: str, more: str = "", version: str = "") -> Path:
    source = directory / "src" / "my_core"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text('"""A core."""\n', encoding="utf-8")
    (directory / "README.md").write_text("# Core\n", encoding="utf-8")
    text = PYPROJECT.format(requires=f"{backend}=={version or VERSIONS[backend][0]}", module=MODULES[backend])
    (directory / "pyproject.toml").write_text(text + more, encoding="utf-8")
    return directory


def build(source: Path, environment: Environment, output: Path, **options: Any) -> tuple[PrepareResult, bool]:
    """Prepare a project, and tell whether its backend was asked."""
    timings = output.with_name("timings")
    os.environ["INTERLOCK_TIMINGS"] = str(timings)
    try:
        result = prepare(str(source), str(output), environment, options=BuildOptions(**options), disk=DISK)
    finally:
        del os.environ["INTERLOCK_TIMINGS"]
    spans = [json.loads(line)["span"] for line in timings.read_text(encoding="utf-8").splitlines()]
    timings.unlink()
    return result, "build" in spans


def setuptools_environment() -> BuildEnvironment:
    return real_backend("setuptools", VERSIONS["setuptools"][0]).environment


def setuptools_project(tmp_path: Path) -> Path:
    return write(tmp_path / "p", "setuptools")


def keep(source: Path, content: bytes = b"a wheel", **changed: Any) -> Kept:
    """Keep something in the place of a wheel."""
    one = Kept(str(source), setuptools_environment(), changed.get("settings", {}), DISK)
    wheel = source.parent / "my_core-1.0-py3-none-any.whl"
    wheel.write_bytes(content)
    one.keep(str(wheel))
    return one


def is_there(source: Path, **changed: Any) -> bool:
    found = Kept(str(source), setuptools_environment(), changed.get("settings", {}), DISK).wheel()
    return found is not None and found[1].read() == b"a wheel"


@pytest.mark.parametrize(("backend", "version"), every_version())
def test_the_second_build_asks_no_backend_and_makes_the_same(
    backend: str, version: str, tmp_path: Path, environment: Environment, cache: Path
) -> None:
    source = write(tmp_path / "p", backend, version=version)
    first, asked = build(source, environment, tmp_path / "first")
    assert asked
    second, asked = build(source, environment, tmp_path / "second")
    assert not asked
    assert (second.prepared.digest, second.inputs) == (first.prepared.digest, first.inputs)
    assert len(list(cache.iterdir())) == 1
    assert not (cache.stat().st_mode | next(cache.iterdir()).stat().st_mode) & 0o022
    with (source / "pyproject.toml").open("a", encoding="utf-8") as writer:
        writer.write('keywords = ["new"]\n')
    third, asked = build(source, environment, tmp_path / "third")
    assert asked
    assert third.prepared.digest != first.prepared.digest
    assert len(list(cache.iterdir())) == 1  # in the place of the first


def test_a_second_environment_takes_the_same_wheel(tmp_path: Path, environment: Environment, cache: Path) -> None:
    source = write(tmp_path / "p", "flit_core", '[project.scripts]\nrun = "my_core:main"\n')
    build(source, environment, tmp_path / "one")
    other = create_environment(str(tmp_path / "env"), python=None, disk=DISK)[0]
    result, asked = build(source, other, tmp_path / "two")
    assert not asked
    script = next(file for file in result.prepared.files if file.path.endswith("/run"))
    assert script.executable
    assert result.prepared.environment == other.path


def test_a_proof_and_a_build_without_isolation_ask_the_backend(
    tmp_path: Path, environment: Environment, cache: Path
) -> None:
    source = write(tmp_path / "p", "flit_core")
    build(source, environment, tmp_path / "one")
    _, asked = build(source, environment, tmp_path / "one", editable="proof")
    assert asked
    assert not Kept(str(source), None, {}, DISK).path  # which is what there is without isolation


def test_a_proof_of_what_has_no_static_answer_asks_the_backend(
    tmp_path: Path, environment: Environment, cache: Path
) -> None:
    source = write(tmp_path / "p", "flit_core", '[tool.flit.sdist]\ninclude = ["x"]\n')
    result, _ = build(source, environment, tmp_path / "one", editable="static-if-possible")
    assert result.not_static
    _, asked = build(source, environment, tmp_path / "one", editable="static-if-possible")
    assert not asked
    _, asked = build(source, environment, tmp_path / "one", editable="proof")
    assert asked


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("README.md", "# Other\n"),
        ("LICENSE", "Do as you like.\n"),
        ("src/other/__init__.py", ""),
        ("src/my_core/deep/new.py", ""),
        ("MANIFEST.in", "include x\n"),
        ("setup.cfg", "[metadata]\nkeywords = a\n"),
        (".gitignore", "src\n"),
        ("../.gitignore", "src\n"),
        ("setup.py", "from setuptools import setup; setup()\n"),
        ("build/lib.py", "x"),
        ("lib/build/__init__.py", "x"),
        ("venv/pyvenv.cfg", "x"),
        ("src/my_core/__pycache__/x.txt", "x"),
        (".env/pyvenv.cfg", "x"),
        (".svn/x.py", "x"),
        ("src/node_modules/x/x.js", "x"),
        ("src/my_core/.tox/x", "x"),
    ],
)
def test_whatever_changes_in_the_project_is_seen(path: str, content: str, tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    keep(source)
    assert is_there(source)
    (source / path).parent.mkdir(parents=True, exist_ok=True)
    (source / path).write_text(content, encoding="utf-8")
    assert not is_there(source)


def test_the_same_content_written_again_is_the_same(tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    keep(source)
    for path in source.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
            os.utime(path, (1, 1))
    for made in ("__pycache__/x.pyc", "src/my_core/__pycache__/x.pyc", ".git/HEAD", ".venv/pyvenv.cfg"):
        (source / made).parent.mkdir(parents=True, exist_ok=True)
        (source / made).write_text("made", encoding="utf-8")
    assert is_there(source)


def test_a_package_named_build_and_an_empty_directory_are_source(tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    package = source / "src" / "build"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    keep(source)
    (package / "__init__.py").write_text("changed = True\n", encoding="utf-8")
    assert not is_there(source)
    keep(source)
    assert is_there(source)
    (source / "src" / "namespace").mkdir()
    assert not is_there(source)


@pytest.mark.parametrize("name", ["build", "dist"])
def test_what_lies_in_the_directories_of_builds_is_read(name: str, tmp_path: Path, cache: Path) -> None:
    # A package of that name, or what a front end was built to.
    source = setuptools_project(tmp_path)
    (source / name).mkdir()
    (source / name / "__init__.py").write_text('VERSION = "1.0"\n', encoding="utf-8")
    keep(source)
    assert is_there(source)
    (source / name / "__init__.py").write_text('VERSION = "2.0"\n', encoding="utf-8")
    assert not is_there(source)


@pytest.mark.parametrize(
    ("backend", "more", "change"),
    [
        ("hatchling", '[tool.hatch.build.targets.wheel.force-include]\n"." = "data"\n', ".pdm-build/x"),
        ("hatchling", '[tool.hatch.build.targets.wheel.force-include]\n"src" = "data"\n', "src/x.egg-info/x"),
        (
            "hatchling",
            '[tool.hatch.build.targets.wheel]\ninclude = ["*.py"]\nsources = ["src"]\n',
            "venv/lib/x.py",
        ),
        ("poetry-core", "", "LICENSES/x.egg-info/x"),
        ("setuptools", '[tool.setuptools.packages.find]\nwhere = ["."]\n', "src/__pycache__/x/x.py"),
        ("setuptools", '[tool.setuptools.packages.find]\nwhere = ["."]\n', "build/lib/x.py"),
        ("uv_build", '[tool.uv.build-backend]\ndata = { data = "." }\n', ".tox/x"),
        ("uv_build", '[tool.uv.build-backend]\ndata = { data = "src" }\n', "src/node_modules/x"),
    ],
)
def test_wherever_a_backend_looks_so_does_the_digest(backend: str, more: str, change: str, tmp_path: Path) -> None:
    real = real_backend(backend, VERSIONS[backend][0])
    source = write(tmp_path / "repo" / "p", backend, more)
    (source / "LICENSES").mkdir()
    (source / "LICENSES" / "MIT").write_text("As you like.\n", encoding="utf-8")
    before, built = Kept(str(source), real.environment, {}, DISK), real.build(source, tmp_path / "out", {})
    (source / change).parent.mkdir(parents=True)
    (source / change).write_text("", encoding="utf-8")
    after, again = Kept(str(source), real.environment, {}, DISK), real.build(source, tmp_path / "out", {})
    assert isinstance(built, dict)
    assert built != again
    assert not before.path or before._digest != after._digest


def test_the_permission_to_run_a_file_counts(tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    (source / "README.md").chmod(0o644)
    keep(source)
    (source / "README.md").chmod(0o600)
    assert is_there(source)
    (source / "README.md").chmod(0o755)
    assert not is_there(source)


def test_a_cache_that_cannot_be_written_fails_no_build(tmp_path: Path, environment: Environment, cache: Path) -> None:
    source = write(tmp_path / "p", "flit_core")
    cache.write_text("", encoding="utf-8")  # where its directory would be
    result, asked = build(source, environment, tmp_path / "first")
    assert asked
    assert result.changed


def test_the_same_version_of_a_backend_with_other_content_is_another(tmp_path: Path, cache: Path) -> None:
    source, there = setuptools_project(tmp_path), setuptools_environment()
    files = [Path(path) for root in there.site_packages for path in Path(root).glob("setuptools-*.dist-info")]
    copied = tmp_path / "env" / files[0].relative_to(there.path)
    shutil.copytree(files[0], copied)
    other = BuildEnvironment(
        str(tmp_path / "env"), there.python, there.scripts, there.key, there.receipt, there.interpreter
    )
    before = Kept(str(source), other, {}, DISK)
    assert before.path
    with (copied / "RECORD").open("a", encoding="utf-8") as writer:
        writer.write("setuptools/more.py,sha256=x,1\n")
    assert Kept(str(source), other, {}, DISK)._digest != before._digest


def test_a_name_that_is_no_unicode(tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    try:
        (source / os.fsdecode(b"\xff")).write_text("", encoding="utf-8")
    except OSError:
        pytest.skip("this file system has no such names")
    keep(source)
    assert is_there(source)


def test_what_setuptools_leaves_there_is_no_source(tmp_path: Path, environment: Environment, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    left = source / "src" / "my_core.egg-info"
    left.mkdir()
    (left / "PKG-INFO").write_text("Version: 9\n", encoding="utf-8")
    first, asked = build(source, environment, tmp_path / "first")
    assert asked
    shutil.rmtree(left)
    second, asked = build(source, environment, tmp_path / "second")
    assert not asked
    assert second.prepared.digest == first.prepared.digest


def test_a_change_without_a_new_time_or_size_is_seen(tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    readme = source / "README.md"
    keep(source)
    status = readme.stat()
    with readme.open("r+b") as writer:
        writer.write(b"# Cure\n")
    os.utime(readme, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not is_there(source)


def test_a_file_that_is_renamed_or_removed_is_seen(tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    keep(source)
    package = source / "src" / "my_core"
    package.rename(package.with_name("your_core"))
    assert not is_there(source)
    package.with_name("your_core").rename(package)
    assert is_there(source)
    (package / "__init__.py").unlink()
    assert not is_there(source)


def test_what_a_link_leads_to_is_read(tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    (tmp_path / "LICENSE").write_text("One\n", encoding="utf-8")
    (source / "LICENSE").symlink_to("../LICENSE")
    keep(source)
    assert is_there(source)
    (tmp_path / "LICENSE").write_text("Two\n", encoding="utf-8")
    assert not is_there(source)


def test_a_file_that_becomes_a_link_is_seen(tmp_path: Path, cache: Path) -> None:
    # flit_core takes in no license from elsewhere.
    source = setuptools_project(tmp_path)
    for path in (source / "LICENSE", tmp_path / "LICENSE"):
        path.write_text("One\n", encoding="utf-8")
    keep(source)
    assert is_there(source)
    (source / "LICENSE").unlink()
    (source / "LICENSE").symlink_to("../LICENSE")
    assert not is_there(source)


def test_a_directory_that_is_a_link_is_not_followed(tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    (tmp_path / "outside").mkdir()
    (source / "src" / "linked").symlink_to("../../outside")
    assert not keep(source).path
    assert not cache.exists()


def test_a_project_that_is_too_large_is_built(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = setuptools_project(tmp_path)
    monkeypatch.setattr(module, "MOST_FILES", 2)
    assert not keep(source).path
    monkeypatch.setattr(module, "MOST_FILES", 3)
    assert keep(source).path
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    assert not keep(source).path


def test_a_wheel_that_is_too_large_is_not_kept(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = setuptools_project(tmp_path)
    monkeypatch.setattr(module, "LARGEST_WHEEL", 6)
    keep(source)
    assert not cache.exists()


def test_variables_settings_and_the_build_environment_count(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = setuptools_project(tmp_path)
    keep(source)
    assert not is_there(source, settings={"editable_mode": "compat"})
    assert is_there(source)
    monkeypatch.setenv("SETUPTOOLS_ANYTHING", "1")
    assert not is_there(source)
    monkeypatch.delenv("SETUPTOOLS_ANYTHING")
    monkeypatch.setenv("GITHUB_RUN_ID", "1")
    assert is_there(source)
    receipt = tmp_path / "receipt.json"
    receipt.write_text("{}", encoding="utf-8")
    there = setuptools_environment()
    again = BuildEnvironment(there.path, there.python, there.scripts, there.key, str(receipt), there.interpreter)
    assert Kept(str(source), again, {}, DISK).wheel() is None


def test_a_change_while_the_backend_built_is_not_kept(tmp_path: Path, cache: Path) -> None:
    source = setuptools_project(tmp_path)
    one = Kept(str(source), setuptools_environment(), {}, DISK)
    wheel = tmp_path / "my_core-1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    (source / "README.md").write_text("# Meanwhile\n", encoding="utf-8")
    one.keep(str(wheel))
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["content", "header", "empty", "no json", "another schema"])
def test_a_damaged_entry_is_none(damage: str, tmp_path: Path, environment: Environment, cache: Path) -> None:
    source = write(tmp_path / "p", "flit_core")
    first, _ = build(source, environment, tmp_path / "first")
    (entry,) = cache.iterdir()
    header, _, content = entry.read_bytes().partition(b"\n")
    entry.write_bytes(
        {
            "content": header + b"\n" + content[:-1] + b"x",
            "header": header[1:] + b"\n" + content,
            "empty": b"",
            "no json": b"\xff\n" + content,
            "another schema": header.replace(b'"schema": 2', b'"schema": 1') + b"\n" + content,
        }[damage]
    )
    second, asked = build(source, environment, tmp_path / "second")
    assert asked
    assert second.prepared.digest == first.prepared.digest
    assert entry.read_bytes() == header + b"\n" + content


def test_entries_are_deleted_with_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = setuptools_project(tmp_path)
    there = setuptools_environment()
    monkeypatch.setenv("INTERLOCK_CACHE_DIR", str(tmp_path / "cache"))
    wheel = tmp_path / "my_core-1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    Kept(str(source), there, {}, DISK).keep(str(wheel))
    (entry,) = Path(kept_wheels()).iterdir()
    (tmp_path / "cache" / "build-environments").mkdir()
    remove_unused(1, disk=DISK)
    assert entry.exists()
    remove_unused(None, disk=DISK)
    assert not entry.exists()


# Paths that a build may look at, or must not; and what may be written there.
PATHS = (
    *(
        "LICENSE",
        "LICENSE.txt",
        "licenses/A",
        "README.md",
        "README.rst",
        "MANIFEST.in",
        "setup.cfg",
        "AUTHORS",
        "NOTICE.md",
    ),
    *("src/my_core/__init__.py", "src/my_core/data.txt", "src/my_core/deep/__init__.py", "src/other/__init__.py"),
    *("src/module.py", "other.py", "other/__init__.py", "my_core/__init__.py", "my_core.py", "tests/__init__.py"),
    *(".gitignore", "../.gitignore", "src/.gitignore", "build/x/__init__.py", "dist/x.py", "src/build/__init__.py"),
    *(".hidden/LICENSE", "src/__init__.py", "LICENSES/MIT.txt", "my_core-1.0.dist-info/METADATA"),
    *("dist/__init__.py", "build/lib/my_core/__init__.py", "venv/pyvenv.cfg", "venv/lib/__init__.py"),
    *("src/my_core.egg-info/PKG-INFO", "my_core.egg-info/SOURCES.txt", "__pycache__/x.py", "other/__pycache__/x/x.py"),
    *("docs/conf.py", "PKG-INFO", "requirements.txt", ".hgignore", ".flake8", "py.typed"),
)
NOT_LOOKED_AT = (
    *("__pycache__/x.pyc", "src/__pycache__/my_core.pyc", "src/my_core/__pycache__/x.pyc"),
    *(".venv/pyvenv.cfg", ".venv/lib/__init__.py", ".git/HEAD", ".tox/LICENSE", ".pytest_cache/README.md"),
    *(".mypy_cache/x.py", ".pdm-build/x.py"),
)
CONTENTS = ("", "src/my_core\n", "*\n", "# text\n", "[metadata]\nkeywords = x\n", "Name: other\nVersion: 9\n")
ROUNDS = int(os.environ.get("INTERLOCK_TEST_STATIC_EXAMPLES", "15"))


@pytest.mark.parametrize("backend", sorted(MODULES))
def test_where_nothing_changed_the_backend_builds_the_same(backend: str, tmp_path: Path) -> None:
    real, chance, same = real_backend(backend, VERSIONS[backend][0]), random.Random(backend), 0
    source = write(tmp_path / "repo" / "p", backend)
    before = Kept(str(source), real.environment, {}, DISK)
    built = real.build(source, tmp_path / "out", {})
    for _ in range(ROUNDS):
        path = source / chance.choice(chance.choice([PATHS, NOT_LOOKED_AT]))
        if path.exists() and chance.random() < 0.4 and path.name != "__init__.py":
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(chance.choice(CONTENTS), encoding="utf-8")
        after = Kept(str(source), real.environment, {}, DISK)
        again = real.build(source, tmp_path / "out", {})
        if after._digest and after._digest == before._digest:
            same += 1
            assert again == built, path
        before, built = after, again
    assert 0 < same < ROUNDS
