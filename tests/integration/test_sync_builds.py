"""`interlock sync` on real workspaces: the same environments as with Ninja, and nothing left for either to do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interlock_runner import interlock, kill_session, succeed, verify
from monorepos import materialise
from trees import pyproject, write_tree

PATIENCE = 120.0

# Of builds that fail or end early, with what takes long.
SLOW_BACKEND = '[build-system]\nrequires = []\nbuild-backend = "slow"\nbackend-path = ["."]\n'
SLOW = "import os, pathlib, time\npathlib.Path('pid').write_text(f'{os.getpid()}\\n')\ntime.sleep(600)\n"
# Builds when somebody has seen that it runs.
SHOWN = """\
import os, time
from flit_core import buildapi
from flit_core.buildapi import *

def build_editable(*words):
    end = time.monotonic() + 120
    while not os.path.exists("seen") and time.monotonic() < end:
        time.sleep(0.01)
    return buildapi.build_editable(*words)
"""


def workspace(root: Path, *, configuration: str = "") -> Path:
    """Write three projects in a chain, and one apart."""
    files: dict[str, str | bytes] = {"interlock.toml": configuration}
    for name, needs in (("core", ()), ("middle", ("core",)), ("leaf", ("middle",)), ("other", ())):
        files[f"libs/{name}/pyproject.toml"] = pyproject(name, *needs, more='description = "A project."')
        files[f"libs/{name}/{name}.py"] = f'"""{name}"""\n__version__ = "1.0"\n'
    return write_tree(root, files)


def ran(output: str) -> list[str]:
    return sorted(line.split("] ", 1)[1] for line in output.splitlines() if line.startswith("["))


def no_work(root: Path, ninja: str) -> None:
    """Insist that neither Ninja nor sync finds anything to do, not even build.ninja."""
    result = subprocess.run([ninja, "-C", root / "out", "-d", "explain"], capture_output=True, text=True, check=True)
    assert "no work to do" in result.stdout, result.stdout + result.stderr
    assert succeed("sync", "--root", root) == "interlock: no work to do\n"


def use(ninja: str, root: Path) -> None:
    """Let sync write a log for this Ninja: the one that is there keeps its version."""
    succeed("gen", "--root", root)
    if "usr/bin" in ninja:
        (root / "out" / ".ninja_log").write_bytes(b"# ninja log v5\n")


def test_a_workspace_is_built_and_ninja_has_no_work(tmp_path: Path, ninja: str) -> None:
    facts = materialise("opentelemetry-python", tmp_path, limit=8)
    use(ninja, tmp_path)
    output = succeed("sync", "--root", tmp_path)
    assert {f"install {project.name}" for project in facts} <= set(ran(output))
    verify(tmp_path / ".venv", [project.module for project in facts])
    succeed("check", "--venv", tmp_path / ".venv", "--stamps", tmp_path / "out")
    no_work(tmp_path, ninja)
    os.utime(tmp_path / facts[0].path / "pyproject.toml")
    assert ran(succeed("sync", "--root", tmp_path)) == [f"prepare {facts[0].name}"]
    no_work(tmp_path, ninja)


def test_after_a_ninja_sync_has_no_work(tmp_path: Path, ninja: str) -> None:
    workspace(tmp_path)
    succeed("gen", "--root", tmp_path)
    subprocess.run([ninja, "-C", tmp_path / "out"], check=True, stdout=subprocess.DEVNULL)
    assert succeed("sync", "--root", tmp_path) == "interlock: no work to do\n"
    no_work(tmp_path, ninja)


def test_the_same_receipts_as_with_ninja(tmp_path: Path) -> None:
    """Byte for byte but for the identity of the environment, which is random."""
    workspace(tmp_path / "tree")
    succeed("sync", "--root", tmp_path / "tree")
    ours = receipts(tmp_path / "tree")
    shutil.rmtree(tmp_path / "tree")
    workspace(tmp_path / "tree")
    succeed("build", "--root", tmp_path / "tree")
    assert ours == receipts(tmp_path / "tree")
    assert len(ours) >= 11


STAMPS = ("*.stamp", "*__editable_prepare", "*__editable_install")


def receipts(root: Path) -> dict[str, object]:
    """Return what the stamps say, without what is made at random."""
    found: dict[str, object] = {}
    for path in sorted(each for name in STAMPS for each in (root / "out").rglob(name)):
        receipt = json.loads(path.read_bytes())
        identity = json.loads((root / "out/interlock/venv/venv.stamp").read_bytes())
        text = json.dumps(receipt, sort_keys=True)
        for value in identity.values():
            if isinstance(value, str) and len(value) >= 32:
                text = text.replace(value, "RANDOM")
        found[str(path.relative_to(root))] = text
    return found


def test_a_project_that_fails(tmp_path: Path, ninja: str) -> None:
    workspace(tmp_path)
    broken = tmp_path / "libs" / "core" / "core.py"
    whole = broken.read_bytes()
    broken.unlink()
    use(ninja, tmp_path)
    result = interlock("sync", "--root", tmp_path, "-k0")
    assert result.returncode == 40
    assert "FAILED: prepare core (exit code 40)" in result.stdout
    assert "To see it again: interlock prepare" in result.stdout, "the edge's output is shown whole"
    assert "1 edge failed: prepare core; 3 edges did not run" in result.stderr
    assert "Traceback" not in result.stderr  # what the backend printed is in stdout
    assert "install other" in result.stdout
    broken.write_bytes(whole)
    assert ran(succeed("sync", "--root", tmp_path)) == [
        "install core",
        "install leaf",
        "install middle",
        "prepare core",
    ]
    no_work(tmp_path, ninja)


def test_json_is_one_document(tmp_path: Path) -> None:
    workspace(tmp_path)
    document = json.loads(succeed("sync", "--root", tmp_path, "--format", "json", "leaf__editable_install"))
    assert document["status"] == "done"
    assert document["errors"] == []
    assert {edge["edge"] for edge in document["edges"]} >= {"install leaf", "prepare core", "venv ../.venv"}
    assert {edge["status"] for edge in document["edges"]} == {"changed"}
    assert all(edge["seconds"] > 0 for edge in document["edges"])
    (tmp_path / "libs" / "other" / "other.py").unlink()
    result = interlock("sync", "--root", tmp_path, "--format", "json")
    document = json.loads(result.stdout)
    assert document["status"] == "failed"
    assert document["exit_code"] == result.returncode == 40
    assert document["not_run"] == 1
    (failed,) = [edge for edge in document["edges"] if edge["status"] == "failed"]
    assert failed["edge"] == "prepare other"
    assert failed["printed"] in document["errors"][0] + "\n"
    assert json.loads(interlock("sync", "--root", tmp_path, "--format", "json", "-n").stdout)["status"] == "out-of-date"


def test_a_dry_run_runs_nothing(tmp_path: Path) -> None:
    workspace(tmp_path)
    output = succeed("sync", "--root", tmp_path, "-n")
    assert "install leaf" in ran(output)
    assert not (tmp_path / ".venv").exists()
    succeed("sync", "--root", tmp_path)
    assert succeed("sync", "--root", tmp_path, "-n") == "interlock: no work to do\n"


def test_several_environments(tmp_path: Path, ninja: str) -> None:
    names = '[environments.one]\n[environments.two]\nprojects = ["core"]\n'
    workspace(tmp_path, configuration=names)
    use(ninja, tmp_path)
    succeed("sync", "--root", tmp_path, "two__all")
    verify(tmp_path / ".venv-two", ["core"])
    assert not (tmp_path / ".venv-one").exists()
    succeed("sync", "--root", tmp_path)
    verify(tmp_path / ".venv-one", ["core", "middle", "leaf", "other"])
    no_work(tmp_path, ninja)


def test_a_cycle(tmp_path: Path, ninja: str) -> None:
    files: dict[str, str | bytes] = {"interlock.toml": ""}
    for name, needs in (("ping", "pong"), ("pong", "ping")):
        files[f"{name}/pyproject.toml"] = pyproject(name, needs, more='description = "A project."')
        files[f"{name}/{name}.py"] = f'"""{name}"""\n__version__ = "1.0"\n'
    write_tree(tmp_path, files)
    use(ninja, tmp_path)
    succeed("sync", "--root", tmp_path, "-j1")
    verify(tmp_path / ".venv", ["ping", "pong"])
    no_work(tmp_path, ninja)


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not allow")
def test_odd_names(tmp_path: Path, ninja: str) -> None:
    # Of the depfiles of these, Ninja 1.11 can read all but those with quotes and ampersands (docs/reference/oddities.md).
    root = tmp_path / ("with $dollar, späce" if "usr/bin" in ninja else "with $dollar, 'quote' & späce")
    workspace(root)
    shutil.move(root / "libs" / "core", root / "libs" / "c o:r$e")
    use(ninja, root)
    succeed("sync", "--root", root)
    verify(root / ".venv", ["core", "leaf"])
    no_work(root, ninja)


def test_a_moved_workspace_is_built_anew(tmp_path: Path, ninja: str) -> None:
    workspace(tmp_path / "here")
    use(ninja, tmp_path / "here")
    succeed("sync", "--root", tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert "install leaf" in ran(succeed("sync", "--root", tmp_path / "there"))
    found = succeed(
        "run", "--venv", tmp_path / "there" / ".venv", "--", "python", "-c", "import leaf; print(leaf.__file__)"
    )
    assert found.startswith(str(tmp_path / "there"))
    no_work(tmp_path / "there", ninja)


def test_a_changed_project_is_generated_and_built(tmp_path: Path, ninja: str) -> None:
    """build.ninja is written again, as by `interlock build`; Ninja's log hears of that."""
    workspace(tmp_path)
    use(ninja, tmp_path)
    succeed("sync", "--root", tmp_path)
    subprocess.run([ninja, "-C", tmp_path / "out"], check=True, stdout=subprocess.DEVNULL)
    write_tree(tmp_path, {"libs/other/pyproject.toml": pyproject("other", "leaf", more='description = "A project."')})
    assert ran(succeed("sync", "--root", tmp_path)) == ["install other", "prepare other"]
    no_work(tmp_path, ninja)
    # Now that Ninja has generated by itself, its log has an entry of build.ninja.
    os.utime(tmp_path / "interlock.toml")
    subprocess.run([ninja, "-C", tmp_path / "out"], check=True, stdout=subprocess.DEVNULL)
    os.utime(tmp_path / "interlock.toml")
    assert succeed("sync", "--root", tmp_path) == "interlock: no work to do\n"
    no_work(tmp_path, ninja)


def slow_workspace(root: Path) -> Path:
    workspace(root)
    return write_tree(
        root,
        {
            "libs/slow/pyproject.toml": pyproject("slow", build=SLOW_BACKEND),
            "libs/slow/slow.py": f"def build_editable(*_, **__):\n    {SLOW.replace(chr(10), chr(10) + '    ')}\n",
        },
    )


def start(root: Path, *words: str) -> tuple[subprocess.Popen[str], int]:
    """Start a build and wait until the slow backend runs; return its process id too."""
    command = [sys.executable, "-P", "-m", "interlock", "sync", "--root", str(root), *words]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    file = root / "libs" / "slow" / "pid"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if file.exists() and (text := file.read_text(encoding="utf-8")).endswith("\n"):
            return process, int(text)
        if process.poll() is not None:
            pytest.fail(str(process.communicate()))
        time.sleep(0.01)
    process.kill()
    pytest.fail(f"the backend never ran: {process.communicate()}")


def wait_until_all_are_gone(root: Path, *pids: int) -> None:
    """Wait until some processes have ended, and the jobs of workers in a directory: these are killed when their clients are."""
    end = time.monotonic() + PATIENCE
    while left := [pid for pid in pids if is_there(pid)] + at_work(root):
        assert time.monotonic() < end, left
        time.sleep(0.01)


def is_there(pid: int) -> bool:
    """Tell whether a process runs; of one that has ended, somebody may still have to learn."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip()[:1] not in {"", "Z", "X"}


def at_work(root: Path) -> list[int]:
    """Return the processes that are in a directory, or below it, where the system tells (Linux, where workers are)."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")) if sys.platform == "linux" else ():
        with contextlib.suppress(OSError):
            if Path(os.readlink(f"/proc/{name}/cwd")).is_relative_to(root.resolve()):
                found.append(int(name))
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_half_done(tmp_path: Path, ninja: str, number: signal.Signals) -> None:
    slow_workspace(tmp_path)
    use(ninja, tmp_path)
    process, backend = start(tmp_path, "-j2")
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "interrupted; nothing is left half-done" in errors
    assert "Traceback" not in errors
    wait_until_all_are_gone(tmp_path, backend)
    shutil.rmtree(tmp_path / "libs" / "slow")
    succeed("sync", "--root", tmp_path)
    verify(tmp_path / ".venv", ["core", "middle", "leaf", "other"])
    no_work(tmp_path, ninja)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_after_sigkill_both_go_on(tmp_path: Path, ninja: str) -> None:
    slow_workspace(tmp_path)
    use(ninja, tmp_path)
    process, backend = start(tmp_path, "-j2", "--format", "json")
    process.kill()
    process.communicate()
    kill_session(process.pid)
    wait_until_all_are_gone(tmp_path, backend)
    shutil.rmtree(tmp_path / "libs" / "slow")
    copied = tmp_path.with_name(tmp_path.name + "-copy")
    succeed("gen", "--root", tmp_path)
    shutil.copytree(tmp_path, copied, symlinks=True)
    subprocess.run([ninja, "-C", tmp_path / "out"], check=True, stdout=subprocess.DEVNULL)
    verify(tmp_path / ".venv", ["core", "middle", "leaf", "other"])
    succeed("sync", "--root", copied)
    verify(copied / ".venv", ["core", "middle", "leaf", "other"])
    no_work(copied, ninja)


def test_errors_have_advice(tmp_path: Path) -> None:
    workspace(tmp_path)
    for words, code, text in (
        (["-j0"], 2, "-j 1 runs one after the other"),
        (["nobody__editable_install"], 2, "there is no target"),
        (["--root", str(tmp_path / "nowhere")], 10, "there is no directory"),
    ):
        result = interlock("sync", "--root", tmp_path, *words)
        assert result.returncode == code
        assert text in result.stderr
        assert "Traceback" not in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
def test_a_closed_output_is_nobody_to_tell(tmp_path: Path) -> None:
    workspace(tmp_path)
    command = [sys.executable, "-P", "-m", "interlock", "sync", "--root", str(tmp_path)]
    result = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "no work to do" in succeed("sync", "--root", tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
def test_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    import pty

    workspace(tmp_path)
    (tmp_path / "libs" / "other" / "other.py").unlink()
    system = '[build-system]\nrequires = ["flit_core>=3.11"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    text = pyproject("shown", build=system, more='description = "A project."')
    write_tree(tmp_path / "libs" / "shown", {"pyproject.toml": text, "backend.py": SHOWN, "shown.py": ""})
    main, side = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-P", "-m", "interlock", "sync", "--root", str(tmp_path), "-k0"]
    process = subprocess.Popen(command, stdout=side, stderr=subprocess.PIPE, env=environ, text=True)
    os.close(side)
    shown = b""
    try:
        while part := os.read(main, 4096):
            shown += part
            if b"prepare shown" in shown:
                (tmp_path / "libs" / "shown" / "seen").touch()
    except OSError:  # Linux: the other side is closed
        pass
    os.close(main)
    assert process.wait() == 40
    text = shown.decode("utf-8", "replace")
    assert "━" in text
    assert (tmp_path / "libs" / "shown" / "seen").exists(), "what runs is shown while it runs"
    assert "FAILED: prepare other (exit code 40)" in text
    assert process.stderr is not None
    assert "1 edge failed" in process.stderr.read()
    process.stderr.close()


def test_no_work_loads_little(tmp_path: Path) -> None:
    """What takes long to load, and is for work alone, is not loaded where there is none."""
    workspace(tmp_path)
    succeed("sync", "--root", tmp_path)
    code = (
        "import sys; from interlock.cli import main; assert main(['sync', '--root', sys.argv[1]]) == 0; "
        "print(*sorted({'rich', 'build', 'asyncio', 'importlib.metadata', 'interlock_ninja.generate'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert result.stdout.splitlines() == ["interlock: no work to do", ""]
