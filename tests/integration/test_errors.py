"""The errors that a build can meet, each provoked for real: its exit code, what it says, and an environment left as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.locks import environment_lock_path
from interlock_runner import interlock, python_of, started, succeed

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions and mounts")


def project(
    root: Path, name: str, *, dependencies: str = "", backend: str = "flit_core.buildapi", path: str = ""
) -> Path:
    directory = root / name
    directory.mkdir(parents=True)
    (directory / f"{name}.py").write_text('"""x"""\n', encoding="utf-8")
    (directory / "pyproject.toml").write_text(
        f'[build-system]\nrequires = ["flit_core>=3.11"]\nbuild-backend = "{backend}"\n{path}\n[project]\nname = "{name}"\n'
        f'version = "1.0"\ndescription = "x"\ndependencies = [{dependencies}]\n',
        encoding="utf-8",
    )
    return directory


def in_tree(root: Path, name: str, body: str) -> Path:
    """Write a project whose build backend is `body`, on top of flit_core."""
    directory = project(root, name, backend="backend", path='backend-path = ["."]')
    text = f"import os, sys, zipfile\nfrom flit_core import buildapi\nfrom flit_core.buildapi import *\n{body}"
    (directory / "backend.py").write_text(text, encoding="utf-8")
    return directory


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """Return an environment with one project in it."""
    succeed("venv", tmp_path / "env")
    succeed("editable", project(tmp_path, "there"), "--venv", tmp_path / "env")
    return tmp_path / "env"


def listing(environment: Path) -> dict[str, bytes]:
    """Return the content of an environment but for interlock's state."""
    files = (path for path in environment.rglob("*") if path.is_file() and ".interlock" not in path.parts)
    return {str(path.relative_to(environment)): path.read_bytes() for path in files}


def refused(environment: Path, code: int, *words: str | Path, **environ: str) -> str:
    """Run a command that must fail with a code, print no traceback and change nothing; return what it said."""
    before = listing(environment)
    result = interlock(*words, **environ)
    assert result.returncode == code, result.stdout + result.stderr
    assert result.stderr.startswith("interlock: error: ")
    assert "Traceback (most recent call last)" not in result.stderr or "backend" in str(words)
    assert listing(environment) == before
    return result.stderr


def test_a_backend_that_fails_is_quoted_and_can_be_run_again(tmp_path: Path, environment: Path) -> None:
    broken = in_tree(tmp_path, "broken", "def build_editable(*a):\n    print('the last words')\n    sys.exit(3)\n")
    said = refused(environment, 40, "editable", broken, "--venv", environment)
    assert "the last words" in said
    assert str(broken) in said
    assert "interlock prepare" in said


def test_a_backend_that_is_not_there_is_named(tmp_path: Path, environment: Path) -> None:
    said = refused(
        environment, 41, "editable", project(tmp_path, "lost", backend="no_such.backend"), "--venv", environment
    )
    assert "no_such.backend" in said


def test_a_directory_without_a_backend_is_named(tmp_path: Path, environment: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in refused(environment, 41, "editable", tmp_path / "empty", "--venv", environment)


REWRITE = """
def build_editable(directory, *a):
    name = buildapi.build_editable(directory, *a)
    path = os.path.join(directory, name)
    with zipfile.ZipFile(path) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    CHANGE
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return name
"""


def test_a_wheel_that_is_not_what_its_record_says_is_refused(tmp_path: Path, environment: Path) -> None:
    change = "key = next(one for one in members if one.endswith('METADATA')); members[key] += b'X: y'"
    liar = in_tree(tmp_path, "liar", REWRITE.replace("CHANGE", change))
    assert "METADATA" in refused(environment, 51, "editable", liar, "--venv", environment)


def test_a_path_that_leads_outside_is_refused(tmp_path: Path, environment: Path) -> None:
    evil = in_tree(tmp_path, "evil", REWRITE.replace("CHANGE", "members['../../../../evil.py'] = b'x'"))
    assert "../../../../evil.py" in refused(environment, 52, "editable", evil, "--venv", environment)
    assert list(tmp_path.glob("**/evil.py")) == [evil / "evil.py"]  # the project's own module


def test_a_dependency_that_is_missing_names_the_edge_that_installs_it(tmp_path: Path, environment: Path) -> None:
    leaf = project(tmp_path, "leaf", dependencies='"my.core-package>=2"')
    said = refused(environment, 60, "editable", leaf, "--venv", environment)
    assert "leaf 1.0 needs my.core-package>=2, but my-core-package is not installed" in said
    assert "<project>__editable_install" in said


def test_a_path_of_another_project_is_refused(tmp_path: Path, environment: Path) -> None:
    rival = project(tmp_path, "rival")
    (rival / "there.py").write_text('"""x"""\n', encoding="utf-8")
    with (rival / "pyproject.toml").open("a", encoding="utf-8") as writer:
        writer.write('[tool.flit.module]\nname = "there"\n')  # flit names its .pth for the module
    said = refused(environment, 61, "editable", rival, "--venv", environment)
    assert "rival 1.0 and there 1.0 both ship" in said
    assert "there.pth" in said


def test_an_interpreter_that_is_nowhere_is_looked_for(tmp_path: Path) -> None:
    result = interlock("venv", tmp_path / "env", "--python", "2.1")
    assert (result.returncode, "looked at" in result.stderr) == (20, True)
    assert not (tmp_path / "env").exists()


def test_a_directory_that_is_no_environment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x", encoding="utf-8")
    result = interlock("venv", tmp_path / "data")
    assert result.returncode == 21
    assert (tmp_path / "data" / "precious").read_text(encoding="utf-8") == "x"


def test_what_was_prepared_for_another_environment_is_refused(tmp_path: Path, environment: Path) -> None:
    succeed("venv", tmp_path / "other")
    succeed("prepare", project(tmp_path, "core"), "--venv", tmp_path / "other", "--output", tmp_path / "p")
    assert "was prepared for" in refused(environment, 22, "install", tmp_path / "p", "--venv", environment)


def test_a_held_lock_names_its_holder_and_gives_up(tmp_path: Path, environment: Path) -> None:
    code = (
        "import sys, time\nfrom interlock.locks import *\n"
        "with hold(sys.argv[1], Rank.ENVIRONMENT, what='it'):\n    print('held', flush=True)\n    time.sleep(3600)\n"
    )
    core = project(tmp_path, "core")
    command = [sys.executable, "-c", code, environment_lock_path(str(environment))]
    with started(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        said = refused(environment, 30, "editable", core, "--venv", environment, "--lock-timeout", "0.3")
    assert f"process {child.pid}" in said


@posix_only
@pytest.mark.skipif(sys.platform != "win32" and os.geteuid() == 0, reason="root may write anywhere; see the next test")
def test_an_environment_that_may_not_be_written_is_refused(tmp_path: Path, environment: Path) -> None:
    core = project(tmp_path, "core")
    site = next((environment / "lib").glob("python3*")) / "site-packages"
    site.chmod(0o555)
    try:
        assert str(site) in refused(environment, 74, "editable", core, "--venv", environment)
    finally:
        site.chmod(0o755)


@pytest.fixture
def mounted(tmp_path: Path) -> list[str]:
    """Return the start of a command that runs a shell script with a small file system of its own on `tmp_path/mount`."""
    if sys.platform != "linux":
        pytest.skip("mount namespaces are Linux's")
    (tmp_path / "mount").mkdir()
    start = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-ec"]
    if subprocess.run([*start, f"mount -t tmpfs none {tmp_path / 'mount'}"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    return start


SCRIPT = """
interlock() {{ {python} -P -m interlock "$@"; }}
mount -t tmpfs -o size=4m none {mount}
interlock venv {mount}/env
interlock editable {there} --venv {mount}/env
list() {{ (cd {mount}/env; find . -path ./.interlock -prune -o -type f -print | sort | xargs -d '\\n' sha256sum); }}
list > {before}
{break_it}
code=0; interlock editable {core} --venv {mount}/env || code=$?
list > {after}
{mend_it}
interlock editable {core} --venv {mount}/env
interlock check --venv {mount}/env
exit $code
"""


@pytest.mark.parametrize(
    ("break_it", "mend_it", "said"),
    [
        ("dd if=/dev/zero of={mount}/fill bs=1k 2>/dev/null || true", "rm {mount}/fill", "No space left on device"),
        ("mount -o remount,ro {mount}", "mount -o remount,rw {mount}", "Read-only file system"),
    ],
)
def test_a_disk_that_refuses_leaves_the_environment_as_it_was(
    break_it: str, mend_it: str, said: str, tmp_path: Path, environment: Path, mounted: list[str]
) -> None:
    """Full, and read-only; afterwards the same command succeeds."""
    core = project(tmp_path, "core")
    succeed("editable", core, "--venv", environment)  # the build environment is there now
    names = {"mount": tmp_path / "mount", "before": tmp_path / "before", "after": tmp_path / "after"}
    script = SCRIPT.format(
        **names,
        python=sys.executable,
        there=tmp_path / "there",
        core=core,
        break_it=break_it.format(**names),
        mend_it=mend_it.format(**names),
    )
    result = subprocess.run([*mounted, script], capture_output=True, text=True)
    assert result.returncode == 74, result.stdout + result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert names["before"].read_text(encoding="utf-8").count("dist-info") > 3
    assert names["before"].read_text(encoding="utf-8") == names["after"].read_text(encoding="utf-8")


def test_the_environment_still_works(environment: Path) -> None:
    subprocess.run([python_of(environment), "-c", "import there"], check=True)
