"""Run every check of this repository in an environment of its own: `python tests/run.py [PYTEST ARGUMENT...]`.

Makes out/test-environment/<version>, installs this project and its dev group there (again only after pyproject.toml has
changed), then runs ruff, mypy and pytest: on Linux a part of the suite without workers first, then all of it with them, or what
the arguments ask for. Needs Python 3.11 or later and nothing else. Exits 0 when all passed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / "out" / "test-environment" / "{}.{}".format(*sys.version_info)
SCRIPTS = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")


# What workers run, once more by new processes: the reference that a worker must not differ from. Whole builds of both are
# compared by tests/integration/test_worker_builds.py.
WITHOUT_WORKERS = (
    *(f"integration/test_{name}.py" for name in ("errors", "example_edges", "same_as_pip")),
    *(f"installer/test_{name}.py" for name in ("backend_attacks", "hooks", "orphans", "prepare", "prepare_commands")),
)


def main(arguments: list[str]) -> int:
    make_environment()
    plain = 0
    if sys.platform == "linux" and not arguments:
        tests = [f"tests/{name}" for name in WITHOUT_WORKERS]
        plain = run("pytest", "-n", "2", "--quiet", *tests, INTERLOCK_TEST_WORKER="0")
    # pytest is last, so that its closing line is the last one on the screen.
    checks = [["ruff", "check"], ["ruff", "format", "--check", "--quiet"], ["mypy"], ["pytest", "-n", "2", *arguments]]
    failed = [check[0] for check in checks if run(*check) != 0]
    if plain:
        failed.append("pytest without workers")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def make_environment() -> None:
    python = str(SCRIPTS / "python")
    pyproject = (ROOT / "pyproject.toml").read_bytes()
    wanted = hashlib.sha256(pyproject + sys.version.encode() + str(ROOT).encode()).hexdigest()
    done = ENVIRONMENT / "installed"
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)  # the first that knows --group
    subprocess.run([*pip, "--editable", f"{ROOT}[uv]", "--group", f"{ROOT / 'pyproject.toml'}:dev"], check=True)
    done.write_text(wanted, encoding="utf-8")


def run(program: str, *arguments: str, **environ: str) -> int:
    settings = "".join(f"{name}={value} " for name, value in environ.items())
    print(f"$ {settings}{program} {' '.join(arguments)}", flush=True)
    # Tests run `interlock`, `ninja` and `uv` by name and must find the ones of this environment.
    path = os.pathsep.join([str(SCRIPTS), os.environ.get("PATH", "")])
    command = [str(SCRIPTS / "python"), "-m", program, *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path, **environ}, check=False).returncode


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - runs before anything could check requires-python
        sys.exit("interlock's tests need Python 3.11 or later")
    sys.exit(main(sys.argv[1:]))
