"""What `interlock check` and `interlock list` find in environments that real tools made and something damaged."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from holding import held_elsewhere
from index_server import wheel
from interlock.check import Problem, check_environment
from interlock.create import create_environment
from interlock.durable import Disk
from interlock.engine import find_engine
from interlock.environment import Environment
from interlock.errors import LockTimeout, NotAnEnvironment
from interlock.inventory import Entry, inventory
from interlock.locks import environment_lock_path, uv_lock_path
from interlock.stamp import write_stamp
from interlock_runner import interlock

DISK = Disk("fast")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """Make an environment in which uv installed `third` 1.5, which needs `fourth`, and `fourth` 2.0."""
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    (tmp_path / "third-1.5-py3-none-any.whl").write_bytes(wheel("third", "1.5", ("fourth>=2",)))
    (tmp_path / "fourth-2.0-py3-none-any.whl").write_bytes(wheel("fourth", "2.0", ()))
    wheels = [str(path) for path in tmp_path.glob("*.whl")]
    # Copies, not links into uv's cache: these tests damage what they find.
    find_engine("uv").install(environment.python, ["--offline", "--link-mode", "copy", *wheels], what="two wheels")
    return environment


def site(environment: Environment) -> Path:
    return Path(environment.site_packages[0])


def problems(environment: Environment, **options: str) -> list[tuple[str, str, str]]:
    report = check_environment(environment.path, **options)
    return [(problem.kind, problem.subject, problem.detail) for problem in report.problems]


def test_an_environment_in_order_has_no_problems(environment: Environment) -> None:
    report = check_environment(environment.path)
    assert report.problems == ()
    assert (report.environment, report.identity, report.distributions) == (environment.path, environment.identity, 2)
    assert report.files > 8


def test_an_empty_environment_has_no_problems(tmp_path: Path) -> None:
    create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    assert check_environment(str(tmp_path / "env")).problems == ()


def test_a_missing_file(environment: Environment) -> None:
    (site(environment) / "third.py").unlink()
    report = check_environment(environment.path)
    path = str(site(environment) / "third.py")
    assert report.problems == (Problem("missing", "third 1.5", "third.py is missing", path),)


def test_missing_bytecode_is_no_problem(environment: Environment) -> None:
    record = site(environment) / "third-1.5.dist-info" / "RECORD"
    with record.open("a", encoding="utf-8") as writer:
        writer.write("__pycache__/third.cpython-399.pyc,,\n")
    assert problems(environment) == []


def test_a_changed_file(environment: Environment) -> None:
    module = site(environment) / "third.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(text + "#", encoding="utf-8")
    assert problems(environment) == [
        ("changed", "third 1.5", f"third.py has {len(text) + 1} bytes, not the {len(text)} of its RECORD")
    ]
    module.write_text(text[:-2] + "#\n", encoding="utf-8")
    assert problems(environment) == [("changed", "third 1.5", "third.py is not what its RECORD says")]


def test_other_hashes_than_sha256_count_too(environment: Environment) -> None:
    module = site(environment) / "third.py"
    record = site(environment) / "third-1.5.dist-info" / "RECORD"
    lines = [line for line in record.read_text(encoding="utf-8").splitlines() if not line.startswith("third.py")]
    digest = base64.urlsafe_b64encode(hashlib.sha512(module.read_bytes()).digest()).rstrip(b"=").decode()
    record.write_text("\n".join([*lines, f"third.py,sha512={digest},"]) + "\n", encoding="utf-8")
    assert problems(environment) == []
    record.write_text("\n".join([*lines, f"third.py,sha512={digest[::-1]},"]) + "\n", encoding="utf-8")
    assert problems(environment) == [("changed", "third 1.5", "third.py is not what its RECORD says")]
    record.write_text("\n".join([*lines, "third.py,rot13=xyz,"]) + "\n", encoding="utf-8")
    assert problems(environment) == [("changed", "third 1.5", "third.py has a digest of an unknown kind, rot13")]


@pytest.mark.parametrize("path", ["../../../../../outside.txt", "/etc/hostname"])
def test_a_file_outside_of_the_environment(environment: Environment, path: str) -> None:
    with (site(environment) / "third-1.5.dist-info" / "RECORD").open("a", encoding="utf-8") as writer:
        writer.write(f"{path},,\n")
    assert problems(environment) == [
        ("outside", "third 1.5", f"its RECORD lists a file outside of the environment: {path}")
    ]


def test_a_file_elsewhere_in_the_environment_is_fine(environment: Environment) -> None:
    path = os.path.relpath(Path(environment.path, "pyvenv.cfg"), site(environment)).replace(os.sep, "/")
    with (site(environment) / "third-1.5.dist-info" / "RECORD").open("a", encoding="utf-8") as writer:
        writer.write(f"{path},,\n")
    assert problems(environment) == []


def test_one_name_twice(environment: Environment) -> None:
    shutil.copytree(site(environment) / "fourth-2.0.dist-info", site(environment) / "Fourth-1.0.dist-info")
    found = problems(environment)
    assert ("duplicate", "fourth", "installed 2 times (1.0, 2.0)") in found


def test_half_an_installation(environment: Environment) -> None:
    (site(environment) / "third-1.5.dist-info" / "RECORD").unlink()
    (site(environment) / "fourth-2.0.dist-info" / "METADATA").unlink()
    found = problems(environment)
    assert ("record", "third 1.5", "has no RECORD: it is half installed") in found
    assert ("metadata", "fourth 2.0", "has no METADATA, or one without a name: it is half installed") in found


def test_a_record_that_cannot_be_read(environment: Environment) -> None:
    (site(environment) / "third-1.5.dist-info" / "RECORD").write_text("a,b,c,d,e\n", encoding="utf-8")
    kinds = [(kind, subject) for kind, subject, _ in problems(environment)]
    assert kinds == [("record", "third 1.5")]


def test_a_record_that_is_no_text(environment: Environment) -> None:
    (site(environment) / "third-1.5.dist-info" / "RECORD").write_bytes(b"\xff\xfe,,\n")
    assert [kind for kind, _, _ in problems(environment)] == ["record"]


def test_a_dependency_that_is_missing_or_too_old(environment: Environment) -> None:
    shutil.move(site(environment) / "fourth-2.0.dist-info", site(environment) / "fourth-1.0.dist-info")
    found = problems(environment)
    assert ("dependency", "third 1.5", "requires fourth>=2, but fourth 1.0 is installed") in found
    shutil.rmtree(site(environment) / "fourth-1.0.dist-info")
    assert problems(environment) == [("dependency", "third 1.5", "requires fourth>=2, but fourth is not installed")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Requires-Dist: fifth ; sys_platform == 'plan9'", []),
        ("Requires-Dist: fifth ; extra == 'more'", []),
        ("Requires-Dist: third[more]", []),
        ("Requires-Dist: fifth ; python_version >= '3'", ["requires fifth, but fifth is not installed"]),
        ("Requires-Python: >=3", []),
        ("Requires-Python: >=4.7", ["requires Python >=4.7, but the environment has "]),
        ("Requires-Dist: no requirement !", ["its METADATA has a requirement that is none: "]),
        ("Requires-Python: three", ["its METADATA has a requirement that is none: "]),
    ],
)
def test_requirements_are_those_of_the_environments_interpreter(
    environment: Environment, line: str, expected: list[str]
) -> None:
    info = site(environment) / "third-1.5.dist-info"
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: third\nVersion: 1.5\n{line}\n", encoding="utf-8")
    found = [detail for kind, _, detail in problems(environment) if kind in {"dependency", "metadata"}]
    assert len(found) == len(expected)
    for detail, start in zip(found, expected, strict=True):
        assert detail.startswith(start)


def test_an_extra_of_a_distribution_whose_metadata_is_damaged(environment: Environment) -> None:
    third = site(environment) / "third-1.5.dist-info" / "METADATA"
    third.write_text("Name: third\nVersion: 1.5\nRequires-Dist: fourth[more]\n", encoding="utf-8")
    fourth = site(environment) / "fourth-2.0.dist-info" / "METADATA"
    fourth.write_text("Name: fourth\nVersion: 2.0\nRequires-Dist: no requirement !\n", encoding="utf-8")
    found = {subject: detail for kind, subject, detail in problems(environment) if kind in {"dependency", "metadata"}}
    assert found["fourth 2.0"].startswith("its METADATA has a requirement that is none: ")
    assert "fourth 2.0 has a requirement that cannot be read: " in found["third 1.5"]


def test_interrupted_commits(environment: Environment) -> None:
    state = Path(environment.path, ".interlock")
    (state / "journal.json").write_text("{}", encoding="utf-8")
    (state / "journal.damaged.json").write_text("{}", encoding="utf-8")
    assert [(kind, subject) for kind, subject, _ in problems(environment)] == [("journal", environment.path)] * 2
    assert "finishes it" in problems(environment)[0][2]
    assert problems(environment)[1][2].startswith("a commit was interrupted")
    assert (state / "journal.json").exists()
    (state / "journal.damaged.json").write_text('{"distribution": "core"}', encoding="utf-8")
    assert problems(environment)[1][2].startswith("the commit of core was interrupted and could not be finished")


def test_stamps_that_tell_of_something_else(environment: Environment, tmp_path: Path) -> None:
    stamps = tmp_path / "stamps"

    def stamp(name: str, /, started_ns: int = 5, **receipt: str) -> str:
        path = str(stamps / (f"{name}__editable_install" if receipt["edge"] == "install" else f"{name}.stamp"))
        write_stamp(path, receipt, started_ns=started_ns, disk=DISK)
        return path

    # What a version left that called the stamp otherwise.
    stamp("sub/install", 4, edge="install", environment=environment.identity, name="third", version="1.3")
    stamp("sub/deleted", 3, edge="install", environment="one that was deleted", name="third", version="1.2")
    stamp("fine", edge="install", environment=environment.identity, name="Third", version="1.5")
    stamp("prepared", edge="prepare", name="third", version="0")
    stamp("sub/venv", edge="venv", environment=environment.identity)
    (stamps / "no.stamp").write_text("no receipt", encoding="utf-8")
    # Of an environment that is beside this one in the same out directory.
    stamp("docs/venv", edge="venv", environment="of docs")
    stamp("docs/core", edge="install", environment="of docs", name="core", version="3")
    assert problems(environment, stamps=str(stamps)) == []
    other = stamp("sub/other", edge="install", environment="another", name="other", version="1")
    old = stamp("sub/old", edge="install", environment=environment.identity, name="third", version="1.4")
    gone = stamp("gone", edge="install", environment=environment.identity, name="gone", version="1")
    found = {subject: detail for _, subject, detail in problems(environment, stamps=str(stamps))}
    assert set(found) == {other, old, gone}
    assert found[other].startswith(f"tells of an environment that is not the one at {environment.path} now")
    assert found[old] == "tells of third 1.4, but third 1.5 is installed"
    assert found[gone] == "tells of gone 1, but gone is not installed"
    assert problems(environment) == []
    # The venv edge has not run since this environment was made: nothing there is about it.
    Path(stamps / "sub" / "venv.stamp").unlink()
    assert len(problems(environment, stamps=str(stamps))) == 5


@pytest.mark.parametrize("which", ["environment", "uv"])
def test_reading_waits_for_whoever_changes_the_environment(environment: Environment, which: str) -> None:
    path = environment_lock_path(environment.path) if which == "environment" else uv_lock_path(environment.path)
    with held_elsewhere(Path(path), "ENVIRONMENT" if which == "environment" else "UV"):
        for look in (check_environment, inventory):
            with pytest.raises(LockTimeout):
                look(environment.path, timeout=0.05)


@pytest.mark.skipif(os.name == "nt", reason="readers exclude each other there")
def test_readers_do_not_wait_for_each_other(environment: Environment) -> None:
    with held_elsewhere(Path(environment_lock_path(environment.path)), mode="shared"):
        assert check_environment(environment.path, timeout=0).problems == ()


def test_what_is_no_environment(tmp_path: Path) -> None:
    for look in (check_environment, inventory):
        with pytest.raises(NotAnEnvironment):
            look(str(tmp_path / "none"))
    assert os.listdir(tmp_path) == []


# The list


def test_the_list_has_names_versions_and_where_editable_projects_are(environment: Environment, tmp_path: Path) -> None:
    project = tmp_path / "a b" / "Größe"
    (site(environment) / "My.Core-1.0.dist-info").mkdir()
    (site(environment) / "My.Core-1.0.dist-info" / "METADATA").write_text(
        "Name: My.Core\nVersion: 1.0\n\n", encoding="utf-8"
    )
    direct = {"url": project.as_uri(), "dir_info": {"editable": True}}
    (site(environment) / "My.Core-1.0.dist-info" / "direct_url.json").write_text(json.dumps(direct), encoding="utf-8")
    assert inventory(environment.path) == [
        Entry("fourth", "2.0", ""),
        Entry("My.Core", "1.0", str(project)),
        Entry("third", "1.5", ""),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"url": 1, "dir_info": {"editable": true}}',
        '{"url": "file:///x", "dir_info": {}}',
        '{"dir_info": 1}',
    ],
)
def test_other_direct_urls_are_not_editable(environment: Environment, text: str) -> None:
    (site(environment) / "third-1.5.dist-info" / "direct_url.json").write_text(text, encoding="utf-8")
    assert Entry("third", "1.5", "") in inventory(environment.path)


# The commands


def test_check_prints_problems_and_exits_with_1(environment: Environment) -> None:
    clean = interlock("check", "--venv", environment.path)
    assert clean.returncode == 0
    assert clean.stdout.startswith(f"{environment.path}: 2 distributions, ")
    assert clean.stdout.endswith(" files, no problems\n")
    (site(environment) / "third.py").unlink()
    found = interlock("check", "--venv", environment.path)
    assert found.returncode == 1
    assert found.stdout.splitlines()[0] == "third 1.5: third.py is missing"
    assert found.stdout.endswith(" files, 1 problem\n")
    shown = interlock("check", "--venv", environment.path, "--format", "json")
    assert shown.returncode == 1
    data = json.loads(shown.stdout)
    assert data["problems"] == [
        {
            "kind": "missing",
            "subject": "third 1.5",
            "detail": "third.py is missing",
            "path": str(site(environment) / "third.py"),
        }
    ]
    assert data["identity"] == environment.identity


def test_list_prints_a_table_or_json(environment: Environment) -> None:
    assert interlock("list", "--venv", environment.path).stdout == "fourth  2.0\nthird   1.5\n"
    data = json.loads(interlock("list", "--venv", environment.path, "--format", "json").stdout)
    assert data == [
        {"name": "fourth", "version": "2.0", "editable": ""},
        {"name": "third", "version": "1.5", "editable": ""},
    ]


def test_uninstall_removes_whole_distributions(environment: Environment) -> None:
    refused = interlock("uninstall", "third", "nothing", "--venv", environment.path)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"interlock: error: not installed in {environment.path}: nothing\n")
    assert (site(environment) / "third.py").exists()
    done = interlock("uninstall", "Third", "fourth", "--venv", environment.path)
    assert (done.returncode, done.stdout) == (0, "removed third 1.5\nremoved fourth 2.0\n")
    assert os.listdir(site(environment)) == []
    assert interlock("check", "--venv", environment.path).returncode == 0
