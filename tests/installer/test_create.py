"""Creating, keeping and replacing environments; refusals, and deaths at every step."""

from __future__ import annotations

import ast
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from holding import held_elsewhere
from interlock import create
from interlock.create import create_environment, make_environment
from interlock.durable import Disk
from interlock.environment import Environment, open_environment, python_path
from interlock.errors import (
    DiskError,
    InterlockError,
    InterpreterNotFound,
    LockTimeout,
    NotAnEnvironment,
)
from interlock.interpreter import Interpreter, find_interpreter, query
from interlock.locks import Rank, environment_lock_path, hold, uv_lock_path

DISK = Disk("fast")
HERE = "{}.{}".format(*sys.version_info)
POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX paths, modes, links or signals")


def another() -> str:
    """Return the version of another interpreter than the one that runs the tests, or skip."""
    for version in ("3.13", "3.12", "3.14", "3.11", "3.10", "3.9", "3.8"):
        if version != HERE:
            try:
                find_interpreter(version)
            except InterpreterNotFound:
                continue
            return version
    pytest.skip("needs a second Python")


def beside(path: Path) -> list[str]:
    """Return what lies beside an environment, its lock aside."""
    lock = os.path.basename(environment_lock_path(str(path)))
    return sorted(name for name in os.listdir(path.parent) if name not in {path.name, lock})


def answer(environment: Environment, expression: str) -> str:
    command = [environment.python, "-I", "-c", f"import sys, sysconfig; print({expression})"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


# Creating


def test_a_new_environment_works_and_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "env"
    environment, outcome = create_environment(str(path), python=None, disk=DISK)
    assert outcome == "created"
    assert environment == open_environment(str(path))
    assert len(environment.identity) == 32
    assert os.path.samefile(answer(environment, "sys.prefix"), path)
    assert os.path.samefile(answer(environment, "sysconfig.get_path('purelib')"), environment.site_packages[0])
    assert os.listdir(environment.site_packages[0]) == []
    assert (path / ".gitignore").read_text(encoding="utf-8") == "*\n"
    assert (path / "CACHEDIR.TAG").read_text(encoding="utf-8").startswith("Signature: 8a477f597d28d172789f06886806bc55")
    assert beside(path) == []


def test_the_configuration_says_what_tools_look_for(tmp_path: Path) -> None:
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    interpreter = environment.interpreter
    assert (tmp_path / "env" / "pyvenv.cfg").read_text(encoding="utf-8") == (
        f"home = {os.path.dirname(interpreter.executable)}\n"
        "include-system-site-packages = false\n"
        f"version = {interpreter.version}\n"
        f"executable = {os.path.realpath(interpreter.executable)}\n"
        "prompt = 'env'\n"
    )


def test_a_dot_venv_is_called_by_its_directory(tmp_path: Path) -> None:
    create_environment(str(tmp_path / "app" / ".venv"), python=None, disk=DISK)
    assert "prompt = 'app'\n" in (tmp_path / "app" / ".venv" / "pyvenv.cfg").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
def test_the_final_path_is_in_every_file_and_the_temporary_one_in_none(tmp_path: Path, version: str) -> None:
    try:
        interpreter = find_interpreter(version)
    except InterpreterNotFound:
        pytest.skip(f"no Python {version} here")
    final = tmp_path / "final"
    make_environment(str(tmp_path / ".built"), interpreter, DISK, str(final))
    os.rename(tmp_path / ".built", final)
    texts = {file: file.read_bytes() for file in final.rglob("*") if file.is_file() and file.suffix != ".exe"}
    assert not [file for file, text in texts.items() if b".built" in text]
    assert str(final).encode() in texts[final / ("Scripts" if os.name == "nt" else "bin") / "activate"]
    assert query(python_path(str(final))).short == version
    assert open_environment(str(final)).interpreter.layout == interpreter.layout


@POSIX
@pytest.mark.parametrize("name", ["a b", "a:b", "ünï-日本", "a'b", "100%"])
def test_a_path_may_have_any_characters(tmp_path: Path, name: str) -> None:
    environment, _ = create_environment(str(tmp_path / name / "env"), python=None, disk=DISK)
    assert answer(environment, "ascii(sys.prefix)") == ascii(str(tmp_path / name / "env"))


@POSIX
@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish", "csh"])
def test_activate_scripts_work(tmp_path: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    script = tmp_path / "env" / "bin" / {"fish": "activate.fish", "csh": "activate.csh"}.get(shell, "activate")
    verb = "source" if shell in {"fish", "csh"} else "."
    text = f"{verb} '{script}' && echo $VIRTUAL_ENV && python -c 'import sys; print(sys.prefix)'"
    said = subprocess.run([shell, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(tmp_path / "env")] * 2


def test_pip_and_uv_accept_it(tmp_path: Path) -> None:
    import uv

    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    pip = [sys.executable, "-m", "pip", "--python", environment.python, "list", "--format", "json"]
    assert subprocess.run(pip, capture_output=True, text=True, check=True).stdout.strip() == "[]"
    for target in (environment.python, environment.path):
        listed = subprocess.run(
            [uv.find_uv_bin(), "pip", "list", "-p", target, "--format", "json"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert listed.stdout.strip() == "[]"


@POSIX
def test_git_ignores_it(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git here")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    command = ["git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all", "env"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_an_empty_directory_is_a_fine_place(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    assert create_environment(str(tmp_path / "env"), python=None, disk=DISK)[1] == "created"


@POSIX
def test_a_link_leads_to_the_environment(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    environment, _ = create_environment(str(tmp_path / "link"), python=None, disk=DISK)
    assert environment.path == str(tmp_path / "real")
    assert (tmp_path / "link").is_symlink()
    assert create_environment(str(tmp_path / "real"), python=None, disk=DISK) == (environment, "kept")


def test_files_that_a_depfile_names_are_as_old_as_the_edge(tmp_path: Path) -> None:
    create_environment(str(tmp_path / "env"), python=None, disk=DISK, started_ns=7_000_000_000)
    for name in ("pyvenv.cfg", ".interlock/environment.json"):
        assert (tmp_path / "env" / name).stat().st_mtime_ns == 7_000_000_000


@POSIX
@pytest.mark.parametrize("seed", [False, True])
def test_nothing_is_writable_for_all_even_where_the_umask_would_let_it(tmp_path: Path, seed: bool) -> None:
    if seed and not has_ensurepip(query(sys.executable)):
        pytest.skip("this interpreter brings no pip along")
    before = os.umask(0)
    try:
        create_environment(str(tmp_path / "deep" / "er" / "env"), python=sys.executable, seed=seed, disk=DISK)
    finally:
        os.umask(before)
    found = [path for path in (tmp_path / "deep").rglob("*") if not path.is_symlink()]
    assert tmp_path / "deep" / "er" / "env" / "bin" in found
    assert [path for path in [tmp_path / "deep", *found] if path.stat().st_mode & 0o002] == []


# Keeping


@pytest.mark.parametrize("spec", [None, HERE, f">={HERE}", sys.executable])
def test_one_that_answers_is_kept(tmp_path: Path, spec: str | None) -> None:
    first, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    Path(first.site_packages[0], "mine.py").write_text("", encoding="utf-8")
    assert create_environment(str(tmp_path / "env"), python=spec, disk=DISK) == (first, "kept")
    assert os.listdir(first.site_packages[0]) == ["mine.py"]


def test_one_of_another_tool_is_kept_and_gets_an_identity(tmp_path: Path) -> None:
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    environment, outcome = create_environment(str(tmp_path / "env"), python=HERE, disk=DISK)
    assert outcome == "kept"
    assert environment.identity
    assert open_environment(str(tmp_path / "env")) == environment


def test_any_working_one_is_kept_where_nothing_is_asked(tmp_path: Path) -> None:
    first, _ = create_environment(str(tmp_path / "env"), python=another(), disk=DISK)
    assert create_environment(str(tmp_path / "env"), python=None, disk=DISK) == (first, "kept")


def test_keeping_does_not_wait_for_a_lock(tmp_path: Path) -> None:
    first, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    with held_elsewhere(Path(environment_lock_path(str(tmp_path / "env")))):
        assert create_environment(str(tmp_path / "env"), python=None, disk=DISK, lock_timeout=0) == (first, "kept")


# Replacing


def test_one_of_another_interpreter_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "env"
    first, _ = create_environment(str(path), python=another(), disk=DISK)
    Path(first.site_packages[0], "mine.py").write_text("", encoding="utf-8")
    second, outcome = create_environment(str(path), python=HERE, disk=DISK)
    assert outcome == "replaced"
    assert second.interpreter.short == HERE
    assert second.identity != first.identity
    assert not list(path.rglob("mine.py"))
    assert beside(path) == []


def test_one_without_a_python_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "env"
    first, _ = create_environment(str(path), python=None, disk=DISK)
    shutil.rmtree(os.path.dirname(first.python))
    second, outcome = create_environment(str(path), python=None, disk=DISK)
    assert outcome == "replaced"
    assert answer(second, "sys.prefix != sys.base_prefix") == "True"


@POSIX
def test_one_whose_python_does_not_run_is_replaced(tmp_path: Path) -> None:
    first, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    for name in os.listdir(tmp_path / "env" / "bin"):
        if name.startswith("python"):
            os.unlink(tmp_path / "env" / "bin" / name)
    (tmp_path / "env" / "bin" / "python").symlink_to("/bin/false")
    second, outcome = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    assert (outcome, second.identity != first.identity) == ("replaced", True)


def test_one_whose_interpreter_became_another_version_is_replaced(tmp_path: Path) -> None:
    """As when /usr/bin/python3 is upgraded: its site-packages are those of the version that is gone."""
    create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    config = tmp_path / "env" / "pyvenv.cfg"
    lines = config.read_text(encoding="utf-8").splitlines()
    config.write_text(
        "".join(f"{'version = 3.1.0' if 'version =' in line else line}\n" for line in lines), encoding="utf-8"
    )
    assert create_environment(str(tmp_path / "env"), python=None, disk=DISK)[1] == "replaced"


def test_a_copy_at_another_path_is_another_environment(tmp_path: Path) -> None:
    first, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    shutil.copytree(tmp_path / "env", tmp_path / "copy", symlinks=True)
    second, _ = create_environment(str(tmp_path / "copy"), python=None, disk=DISK)
    assert second.identity != first.identity


@POSIX
def test_replacing_waits_for_a_uv_that_works_there(tmp_path: Path) -> None:
    first, _ = create_environment(str(tmp_path / "env"), python=another(), disk=DISK)
    with held_elsewhere(Path(uv_lock_path(first.path)), "UV"), pytest.raises(LockTimeout, match="uv's lock"):
        create_environment(str(tmp_path / "env"), python=HERE, disk=DISK, lock_timeout=0.05)
    assert open_environment(str(tmp_path / "env")) == first
    assert beside(tmp_path / "env") == []


def test_a_creation_waits_for_the_lock_no_longer_than_told(tmp_path: Path) -> None:
    with held_elsewhere(Path(environment_lock_path(str(tmp_path / "env")))), pytest.raises(LockTimeout):
        create_environment(str(tmp_path / "env"), python=None, disk=DISK, lock_timeout=0.05)
    assert not (tmp_path / "env").exists()


def test_creations_respect_the_order_of_locks(tmp_path: Path) -> None:
    with hold(str(tmp_path / "lock"), Rank.BUILD_ENVIRONMENT, what="x"):
        create_environment(str(tmp_path / "env"), python=None, disk=DISK)


# Seeding


def test_there_is_no_pip_unless_asked_for(tmp_path: Path) -> None:
    environment, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    assert answer(environment, "__import__('importlib.util').util.find_spec('pip')") == "None"
    if not has_ensurepip(environment.interpreter):
        pytest.skip("this interpreter brings no pip along")
    seeded, outcome = create_environment(str(tmp_path / "env"), python=None, seed=True, disk=DISK)
    assert (seeded, outcome) == (environment, "kept")
    assert answer(environment, "__import__('pip').__name__") == "pip"
    assert create_environment(str(tmp_path / "env"), python=None, seed=True, disk=DISK) == (environment, "kept")


def test_an_interpreter_without_ensurepip_says_so_and_leaves_the_environment(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    if not os.path.exists(python) or has_ensurepip(query(python)):
        pytest.skip("needs an interpreter without ensurepip, as Debian's")
    with pytest.raises(InterlockError, match="cannot put pip into .*: .*ensurepip"):
        create_environment(str(tmp_path / "env"), python=python, seed=True, disk=DISK)
    assert create_environment(str(tmp_path / "env"), python=python, disk=DISK)[1] == "kept"


def has_ensurepip(interpreter: Interpreter) -> bool:
    return (
        subprocess.run(
            [interpreter.executable, "-I", "-c", "import ensurepip"], capture_output=True, check=False
        ).returncode
        == 0
    )


def test_seeding_waits_for_a_uv_no_longer_than_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_LOCK_TIMEOUT", "0.5")
    first, _ = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    told = pytest.raises(LockTimeout, match=r"uv's lock\) was locked for 0\.05 s")
    with held_elsewhere(Path(uv_lock_path(first.path)), "UV"), told:
        create_environment(str(tmp_path / "env"), python=None, seed=True, disk=DISK, lock_timeout=0.05)


# Refusing


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("precious", encoding="utf-8")
    with pytest.raises(NotAnEnvironment) as caught:
        create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    assert caught.value.message == f"cannot create an environment at {os.path.realpath(tmp_path / 'env')}: it is a file"
    assert os.listdir(tmp_path) == ["env"]
    assert (tmp_path / "env").read_text(encoding="utf-8") == "precious"


def test_a_directory_that_is_something_else_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (tmp_path / "env" / name).mkdir(parents=True)
    with pytest.raises(NotAnEnvironment) as caught:
        create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    assert caught.value.message.endswith("it is a directory without pyvenv.cfg that is not empty (a, b, c, ...)")
    assert caught.value.exit_code == 21
    assert os.listdir(tmp_path) == ["env"]
    assert sorted(os.listdir(tmp_path / "env")) == ["a", "b", "c", "d"]


@pytest.mark.skipif(not os.path.ismount("/proc"), reason="needs a mount point")
def test_a_mount_point_is_refused() -> None:
    with pytest.raises(NotAnEnvironment, match="it is a mount point"):
        create_environment("/proc", python=None, disk=DISK)


def test_an_unknown_interpreter_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "env"
    with pytest.raises(InterpreterNotFound):
        create_environment(str(path), python="2.6", disk=DISK)
    assert not path.exists()
    first, _ = create_environment(str(path), python=None, disk=DISK)
    with pytest.raises(InterpreterNotFound):
        create_environment(str(path), python="2.6", disk=DISK)
    assert open_environment(str(path)) == first


@POSIX
@pytest.mark.parametrize("program", ["/bin/false", "/nonexistent/python"])
def test_an_interpreter_that_cannot_make_environments_is_an_error(tmp_path: Path, program: str) -> None:
    broken = dataclasses.replace(query(sys.executable), executable=program)
    with pytest.raises(InterpreterNotFound, match=f"{program} .* cannot make a virtual environment"):
        make_environment(str(tmp_path / "env"), broken, DISK)


@POSIX
def test_a_file_in_the_way_of_the_stdlib_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskError, match="cannot create an environment at /somewhere: .*Not a directory"):
        create._run_venv(query(sys.executable), str(tmp_path / "file" / "env"), "/somewhere", "x")


# Dying and failing


class Failing(Disk):
    """A disk whose second rename of a directory fails."""

    renames = 0

    def replace(self, source: str, destination: str) -> None:
        if os.path.isdir(source):
            self.renames += 1
            if self.renames == 2:
                raise DiskError("cannot write: No space left on device")
        super().replace(source, destination)


def test_a_replacement_that_fails_puts_the_old_one_back(tmp_path: Path) -> None:
    path = tmp_path / "env"
    first, _ = create_environment(str(path), python=another(), disk=DISK)
    with pytest.raises(DiskError):
        create_environment(str(path), python=HERE, disk=Failing("fast"))
    assert open_environment(str(path)) == first
    assert beside(path) == []


def stage_in(path: Path) -> None:
    """Do what a process does that was about to stage files in an environment which has gone."""
    (path / ".interlock" / "staging" / "0a").mkdir(parents=True)


@pytest.mark.parametrize("left", ["lib/python3.11/site-packages/half.py", "bin/python3"])
def test_what_is_left_of_a_deleted_environment_is_replaced(tmp_path: Path, left: str) -> None:
    """`rm -rf` ends with "Directory not empty" where a build still writes; the next build has to be whole all the same."""
    path = tmp_path / "e"
    create_environment(str(path), python=None, disk=DISK)
    for name in ("bin", "Scripts", "lib", "Lib"):
        shutil.rmtree(path / name, ignore_errors=True)
    (path / "pyvenv.cfg").unlink()
    (path / left).parent.mkdir(parents=True)
    (path / left).touch()
    assert create_environment(str(path), python=None, disk=DISK)[1] == "created"
    assert not (path / "lib" / "python3.11" / "site-packages" / "half.py").exists()


def test_a_directory_with_staged_files_alone_is_as_good_as_none(tmp_path: Path) -> None:
    stage_in(tmp_path / "env")
    (tmp_path / "env" / ".interlock" / "staging" / "0a" / "file").write_bytes(b"")
    environment, outcome = create_environment(str(tmp_path / "env"), python=None, disk=DISK)
    assert outcome == "created"
    assert answer(environment, "sys.prefix != sys.base_prefix") == "True"
    assert beside(tmp_path / "env") == []
    assert not (tmp_path / "env" / ".interlock" / "staging").exists()


class Disturbed(Disk):
    """A disk on which another process makes the environment's directory when that has just been moved out of the way."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        super().__init__("fast")
        self.path, self.names = path, names

    def replace(self, source: str, destination: str) -> None:
        super().replace(source, destination)
        if source == str(self.path) and self.names:
            name, *rest = self.names
            self.names = tuple(rest)
            (self.path / name / "inside").mkdir(parents=True)


def test_who_stages_during_a_replacement_does_not_stop_it(tmp_path: Path) -> None:
    path = tmp_path / "env"
    create_environment(str(path), python=another(), disk=DISK)
    disk = Disturbed(path, (".interlock",) * 3)
    environment, outcome = create_environment(str(path), python=HERE, disk=disk)
    assert (outcome, environment.interpreter.short, disk.names) == ("replaced", HERE, ())
    assert open_environment(str(path)) == environment
    assert beside(path) == []


def test_what_is_not_ours_is_left_alone_during_a_replacement(tmp_path: Path) -> None:
    path = tmp_path / "env"
    create_environment(str(path), python=another(), disk=DISK)
    with pytest.raises(NotAnEnvironment, match=r"not empty \(precious\)"):
        create_environment(str(path), python=HERE, disk=Disturbed(path, ("precious",)))
    assert (path / "precious" / "inside").is_dir()


DYING = """
import os, signal, sys
from interlock.create import create_environment
from interlock.durable import Disk

class Dying(Disk):
    left = int(sys.argv[2])

def deadly(name):
    def operation(self, *arguments, **options):
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1
        return getattr(Disk, name)(self, *arguments, **options)
    return operation

for name in ("write", "replace", "remove", "remove_directory", "remove_tree", "set_mtime", "sync_tree", "sync_directory"):
    setattr(Dying, name, deadly(name))
create_environment(sys.argv[1], python=sys.argv[3], disk=Dying("fast"))
"""


@POSIX
@pytest.mark.crash
@pytest.mark.parametrize("replacing", [False, True])
def test_a_death_at_any_operation_is_made_good_by_the_next_creation(tmp_path: Path, replacing: bool) -> None:
    before = another() if replacing else ""
    deaths = 0
    while True:
        path = tmp_path / f"{deaths}" / "env"
        path.parent.mkdir()
        first = create_environment(str(path), python=before, disk=DISK)[0] if replacing else None
        code = subprocess.run([sys.executable, "-c", DYING, str(path), str(deaths), HERE], check=False).returncode
        if path.exists():  # whatever is there is whole: the old one or the new one
            found = open_environment(str(path))
            assert answer(found, "sys.prefix != sys.base_prefix") == "True"
            assert found == first or found.interpreter.short == HERE
            assert found.identity
        after, _ = create_environment(str(path), python=HERE, disk=DISK)
        assert answer(after, "'{}.{}'.format(*sys.version_info)") == HERE
        assert after.identity != (first.identity if first else "")
        # What a death leaves, the next creation that has something to do clears away; here, at the latest, this one.
        shutil.rmtree(path)
        create_environment(str(path), python=HERE, disk=DISK)
        assert beside(path) == []
        if code == 0:
            break
        assert code == -signal.SIGKILL
        deaths += 1 if deaths < 14 else 7  # later there is only the removal of one file of the old one after the other
    assert deaths >= (10 if replacing else 8)


@pytest.mark.parametrize("staged", [False, True])
def test_a_replacement_that_died_between_its_renames_is_finished(tmp_path: Path, staged: bool) -> None:
    path = tmp_path / "env"
    create_environment(str(path), python=None, disk=DISK)
    create_environment(str(tmp_path / "other"), python=None, disk=DISK)
    os.rename(path, tmp_path / ".env.interlock-old-0a")
    if staged:
        stage_in(path)
    make_environment(str(tmp_path / ".env.interlock-new-0a"), query(sys.executable), DISK, str(path))
    (tmp_path / ".env.interlock-new-0a" / "witness").write_bytes(b"")
    (tmp_path / ".env.interlock-new-ff").mkdir()
    assert create_environment(str(path), python=None, disk=DISK)[1] == "kept"
    assert (path / "witness").exists()
    assert beside(path) == ["other", "other.interlock.lock"]


def test_a_deleted_environment_is_not_revived_from_what_it_replaced(tmp_path: Path) -> None:
    path = tmp_path / "env"
    create_environment(str(tmp_path / ".env.interlock-old-0a"), python=None, disk=DISK)
    (tmp_path / ".env.interlock-old-0a" / "witness").write_bytes(b"")
    assert create_environment(str(path), python=None, disk=DISK)[1] == "created"
    assert not (path / "witness").exists()


def test_a_name_with_a_dot_and_one_without_share_nothing(tmp_path: Path) -> None:
    create_environment(str(tmp_path / "venv"), python=None, disk=DISK)
    os.rename(tmp_path / "venv", create._beside(str(tmp_path / "venv"), "old", "0a"))
    make_environment(create._beside(str(tmp_path / "venv"), "new", "0a"), query(sys.executable), DISK)
    with held_elsewhere(Path(environment_lock_path(str(tmp_path / "venv")))):
        assert create_environment(str(tmp_path / ".venv"), python=None, disk=DISK, lock_timeout=0)[1] == "created"
    assert create_environment(str(tmp_path / "venv"), python=None, disk=DISK)[1] == "kept"


# The child scripts


@pytest.mark.parametrize("name", ["_venv_script.py", "_pip_script.py"])
def test_scripts_for_other_interpreters_keep_to_old_syntax(name: str) -> None:
    text = (Path(create.__file__).parent / name).read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 8))


def test_an_environment_that_was_moved_is_replaced(tmp_path: Path) -> None:
    """The scripts and activate files in it name the old place."""
    create_environment(str(tmp_path / "here"), python=None, disk=DISK)
    (tmp_path / "here").rename(tmp_path / "there")
    environment, outcome = create_environment(str(tmp_path / "there"), python=None, disk=DISK)
    assert outcome == "replaced"
    activate = Path(environment.absolute(environment.layout.scripts)) / "activate"
    assert str(tmp_path / "here") not in activate.read_text(encoding="utf-8")
