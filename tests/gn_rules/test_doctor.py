"""`interlock doctor`: what it says of this machine, and that it leaves nothing behind, on good and on bad file systems."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holding import held_elsewhere
from interlock.errors import ConfigurationError, EngineUnavailable, InterpreterNotFound
from interlock.findings import Finding
from interlock.journal import damaged_path, journal_path
from interlock.locks import environment_lock_path, uv_lock_path
from interlock_gn import standing, tools
from interlock_gn.commands import doctor
from interlock_runner import interlock, succeed
from trees import write_tree

if TYPE_CHECKING:
    from conftest import RequireTool

INTERLOCK = [sys.executable, "-P", "-m", "interlock"]
posix = pytest.mark.skipif(os.name != "posix", reason="modes and signals of POSIX")


def examined(*words: str | Path, cwd: Path | None = None, **environ: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and what was found in each section by topic; of several with one topic, the last."""
    done = interlock("doctor", "--format", "json", *words, cwd=cwd, **environ)
    assert done.stderr == ""
    data = json.loads(done.stdout)
    findings = [finding for section in data["sections"] for finding in section["findings"]]
    assert data["problems"] == sum(finding["verdict"] == "problem" for finding in findings)
    assert (done.returncode == 1) == (data["problems"] > 0)
    return done.returncode, {
        section["title"]: {finding["topic"]: finding for finding in section["findings"]} for section in data["sections"]
    }


@pytest.fixture(autouse=True)
def few_interpreters(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have the doctor ask few interpreters: a machine may have dozens, and each is a process."""
    none = str(tmp_path_factory.getbasetemp() / "none")
    monkeypatch.setenv("PYENV_ROOT", none)
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", none)
    words = os.environ["PATH"].split(os.pathsep)
    monkeypatch.setenv("PATH", os.pathsep.join(word for word in words if "pyenv" not in word))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "env"
    succeed("venv", path)
    return path


# The command


def test_the_text_is_aligned_and_ends_with_the_sum(tmp_path: Path) -> None:
    done = interlock("doctor", tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0] == f"directory: {tmp_path}"
    assert done.returncode == (0 if lines[-1].startswith("no problems, ") else 1)
    first = lines[1 : lines.index("")]
    column = first[0].index("file system")
    assert {line[:2] for line in first} == {"  "}
    assert all(line[2:9].strip() in {"ok", "note", "problem", ""} for line in first)
    assert all(line[column - 1] == " " and line[column:].strip() for line in first)
    assert "programs" in lines
    assert os.listdir(tmp_path) == []


def test_a_missing_directory_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    code, found = examined(tmp_path / "none")
    assert code == 1
    assert found["directory"]["directory"]["verdict"] == "problem"
    assert found["programs"]["interlock"]["verdict"] == "ok"
    assert os.listdir(tmp_path) == []


def test_the_root_of_the_workspace_is_looked_at_and_what_its_environments_ask_for(tmp_path: Path) -> None:
    text = '[environments.default]\npython = "{}"\n'.format(".".join(map(str, sys.version_info[:2])))
    write_tree(tmp_path, {"interlock.toml": text + '[environments.old]\npython = "2.1"\n', "deep/down/file": ""})
    done = interlock("doctor", cwd=tmp_path / "deep" / "down")
    assert done.stdout.startswith(f"directory: {tmp_path}\n")
    code, found = examined(cwd=tmp_path / "deep")
    assert code == 1
    assert found["programs"]["environment default"]["verdict"] == "ok"
    assert found["programs"]["environment old"]["verdict"] == "problem"


def test_a_configuration_that_cannot_be_read_is_noted(tmp_path: Path) -> None:
    write_tree(tmp_path, {"interlock.toml": "[[["})
    assert examined(cwd=tmp_path)[1]["programs"]["workspace"]["verdict"] == "note"
    (tmp_path / "interlock.toml").unlink()
    assert "workspace" not in examined(cwd=tmp_path)[1]["programs"]


@posix
def test_each_file_system_is_tried_once(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev or not os.access(memory, os.W_OK):
        pytest.skip("needs a second file system")
    assert [title for title in examined(tmp_path)[1] if title == "cache"] == []
    with tempfile.TemporaryDirectory(prefix="interlock-doctor-test-", dir=memory) as other:
        found = examined(tmp_path, INTERLOCK_CACHE_DIR=os.path.join(other, "not there", "cache"))[1]
        assert found["cache"]["locks"]["verdict"] == "ok"
        assert os.listdir(other) == [], "the cache directory is not made"
        write_tree(tmp_path, {"interlock.toml": f'out = "{other}"\n'})
        assert found["cache"]["locks"] == examined(cwd=tmp_path)[1]["out directory"]["locks"]


def test_a_cache_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    code, found = examined(tmp_path, INTERLOCK_CACHE_DIR=str(cache))
    assert (code, found["programs"]["cache"]["verdict"]) == (0, "ok")
    assert not cache.exists()


@posix
def test_a_cache_that_others_can_write_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    code, found = examined(tmp_path, INTERLOCK_CACHE_DIR=str(tmp_path))
    assert (code, found["programs"]["cache"]["verdict"]) == (1, "problem")


# Bad file systems


@pytest.mark.parametrize(
    ("injected", "topic", "verdict", "says"),
    [
        ("flock:error=ENOLCK", "locks", "problem", "No locks available"),
        ("flock:error=ENOSYS", "locks", "problem", "Function not implemented"),
        ("flock:retval=0", "locks", "problem", "both get it"),
        ("renameat2:error=EINVAL", "exchange", "note", "not here"),
        ("fsync:error=EIO", "sync", "problem", "Input/output error"),
        ("symlink:error=EPERM", "symbolic link", "problem", "Environments need them"),
        ("link:error=EPERM", "hard link", "note", "uv copies"),
    ],
)
def test_what_the_kernel_refuses_is_told(
    tmp_path: Path, require_tool: RequireTool, injected: str, topic: str, verdict: str, says: str
) -> None:
    call, _, _ = injected.partition(":")
    strace = [require_tool("strace", platforms=("linux",)), "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}"]
    command = [*strace, "-e", f"inject={injected}", *INTERLOCK, "doctor", "--format", "json", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = {each["topic"]: each for each in json.loads(done.stdout)["sections"][0]["findings"]}
    assert (found[topic]["verdict"], done.stderr) == (verdict, "")
    assert says in found[topic]["text"] + found[topic]["advice"]
    assert done.returncode == (1 if verdict == "problem" else 0)
    assert os.listdir(tmp_path) == []


# An environment


def of(path: Path) -> dict[str, Finding]:
    return {finding.topic: finding for finding in standing.look_at_environment(str(path))}


def test_a_whole_environment_is_ok_and_stays_as_it_was(environment: Path) -> None:
    before = {str(path): path.lstat().st_mtime_ns for path in environment.rglob("*")}
    code, found = examined(environment.parent, "--venv", environment)
    assert code == 0
    assert {each["verdict"] for each in found["environment"].values()} == {"ok"}
    assert {str(path): path.lstat().st_mtime_ns for path in environment.rglob("*")} == before


def test_what_is_no_environment_is_a_problem(tmp_path: Path) -> None:
    assert of(tmp_path)["environment"].verdict == "problem"


@posix
def test_the_holder_of_a_lock_is_named(environment: Path) -> None:
    lock = Path(environment_lock_path(str(environment)))
    with held_elsewhere(lock) as process:
        held = of(environment)["lock"]
        assert held.verdict == "note"
        assert f"exclusive: held by process {process.pid} (interlock" in held.text
    with held_elsewhere(lock, mode="shared"):
        assert of(environment)["lock"].text.startswith("shared: held by")
    with held_elsewhere(Path(uv_lock_path(str(environment))), "UV"):
        assert of(environment)["uv's lock"].verdict == "note"
    assert of(environment)["lock"].verdict == of(environment)["uv's lock"].verdict == "ok"


def test_what_an_interrupted_commit_left_is_told(environment: Path) -> None:
    journal, damaged = Path(journal_path(str(environment))), Path(damaged_path(str(environment)))
    try:
        journal.write_text("{}", encoding="utf-8")
        assert "interrupted" in of(environment)["journal"].text
        with held_elsewhere(Path(environment_lock_path(str(environment)))):
            assert of(environment)["journal"].verdict == "ok"
        damaged.write_text("{}", encoding="utf-8")
        assert of(environment)["journal"].verdict == "problem"
    finally:
        journal.unlink()
        damaged.unlink(missing_ok=True)


def test_an_environment_that_was_moved_is_a_problem(tmp_path: Path) -> None:
    succeed("venv", tmp_path / "env")
    (tmp_path / "env").rename(tmp_path / "moved")
    assert of(tmp_path / "moved")["identity"].verdict == "problem"


@posix
def test_an_environment_of_another_tool_has_no_identity_yet(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    before = sorted(os.listdir(tmp_path / "env"))
    assert of(tmp_path / "env")["identity"].verdict == "note"
    assert sorted(os.listdir(tmp_path / "env")) == before


# The programs


@posix
@pytest.mark.parametrize(
    ("says", "verdict", "text"),
    [
        ("1.10.2", "problem", "1.10.2"),
        ("1.11.1", "ok", "no jobserver"),
        ("1.13.0.git.kitware", "ok", "with jobserver"),
        ("nonsense", "problem", "nonsense"),
    ],
)
def test_an_old_ninja_is_a_problem(tmp_path: Path, says: str, verdict: str, text: str) -> None:
    program = tmp_path / "ninja"
    program.write_text(f"#!/bin/sh\necho {says}\n", encoding="utf-8")
    program.chmod(0o755)
    finding = tools.ninja("ninja", str(program), "of this test")
    assert (finding.verdict, text in finding.text) == (verdict, True)


@posix
def test_a_program_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    program = tmp_path / "gn"
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert tools.version_of(str(program)) == ""
    program.chmod(0o755)
    assert tools.version_of(str(program)) == ""
    assert tools.ninja("ninja", str(program), "of this test").verdict == "problem"


def test_without_gn_there_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(named: str | None) -> str:
        raise ConfigurationError("there is no `gn` on PATH", advice="Install it.")

    monkeypatch.setattr(tools, "find_gn", none)
    assert tools.gn().verdict == "note"


def test_one_engine_is_enough_and_none_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tools.find_engine
    missing = {"uv"}

    def find(name: str, **words: Any) -> Any:
        if name in missing:
            raise EngineUnavailable(f"{name} is not installed")
        return real(name, **words)

    monkeypatch.setattr(tools, "find_engine", find)
    assert [finding.verdict for finding in tools.engines()] == ["note", "ok"]
    missing.add("pip")
    assert [finding.verdict for finding in tools.engines()] == ["problem", "problem"]
    assert all("pip install" in finding.advice for finding in tools.engines())


def test_interpreters_are_named_once_and_those_that_do_not_run_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrong = tmp_path / "python3"
    wrong.write_text("", encoding="utf-8")
    monkeypatch.setattr(tools, "candidates", lambda: [sys.executable, sys.executable, str(wrong)])
    found = tools.interpreters()
    assert [finding.verdict for finding in found] == ["ok", "note"]
    assert found[1].advice == str(wrong)


def test_an_interpreter_that_is_asked_for_and_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(spec: str, *, root: str) -> Any:
        raise InterpreterNotFound(f"no Python {spec}", advice="Install one.")

    monkeypatch.setattr(tools, "find_interpreter", none)
    assert tools.wanted("default", "3.99", "").verdict == "problem"


def test_the_columns_follow_the_longest_topic() -> None:
    section = doctor.Section("title", "", (Finding("a", "ok", "one"), Finding("longer", "problem", "two", "do\nthis")))
    assert doctor._as_text(section).splitlines() == [
        "title",
        "  ok       a       one",
        "  problem  longer  two",
        "                   do",
        "                   this",
    ]
