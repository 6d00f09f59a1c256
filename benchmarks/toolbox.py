"""The peers, installed by the benchmark itself: uv, pip, Ninja and build backends of pinned versions, and an index of these.

    <cache>/<digest of the pins>/tools/     an environment with uv, pip and ninja
    <cache>/<digest of the pins>/wheels/    what the index serves: the build backends and what they need
    <cache>/<digest of the pins>/{uv,pip,interlock}/    the caches of the three, warm from the second run on

<cache> is INTERLOCK_BENCHMARK_CACHE, else ~/.cache/interlock-benchmarks. The index is on the loopback interface and has no
other version of anything, so everybody builds with the same, and no network is in the figures: uv's defaults ask it for the
name of every project, which it answers faster than any index elsewhere could.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = ("uv==0.13.8", "pip==26.3", "ninja==1.13.2")
BACKENDS = (*("setuptools==84.2.1", "hatchling==1.33.0", "editables==0.5", "flit_core==4.2.0", "uv_build==0.13.6"),)
CACHE = Path(os.environ.get("INTERLOCK_BENCHMARK_CACHE") or Path.home() / ".cache" / "interlock-benchmarks")
# What a shell may have set that would change what is measured.
SCRUBBED = re.compile(r"(UV|PIP|INTERLOCK|VIRTUAL_ENV|PYTHON|CONDA|NINJA|MAKEFLAGS)(_|[A-Z]|$)")


@dataclass(frozen=True)
class Toolbox:
    """Where the peers are; `environ` is what every side runs with."""

    directory: Path
    environ: dict[str, str]

    @property
    def uv(self) -> Path:
        return self.directory / "tools" / "bin" / "uv"

    @property
    def ninja(self) -> Path:
        return self.directory / "tools" / "bin" / "ninja"

    @property
    def pip(self) -> str:
        return next(pin for pin in TOOLS if pin.startswith("pip=="))

    def versions(self) -> dict[str, str]:
        """Return the pinned version of each peer."""
        return dict(pin.split("==") for pin in (*TOOLS, *BACKENDS))


@contextlib.contextmanager
def toolbox() -> Iterator[Toolbox]:
    """Give the peers, installed if they are not there yet, and serve the index for as long as the block runs."""
    directory = CACHE / hashlib.sha256(repr((TOOLS, BACKENDS, sys.version)).encode()).hexdigest()[:12]
    tools, wheels = directory / "tools", directory / "wheels"
    if not (directory / "ready").exists():
        sys.stderr.write(f"  installing {', '.join((*TOOLS, *BACKENDS))} in {directory}\n")
        subprocess.run([sys.executable, "-m", "venv", "--clear", tools], check=True)
        pip = [tools / "bin" / "python", "-m", "pip"]
        quiet = ["-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", *quiet, *TOOLS], check=True)
        subprocess.run(
            [*pip, "download", *quiet, "--only-binary", ":all:", "-d", wheels, *BACKENDS, TOOLS[1]], check=True
        )
        (directory / "ready").touch()
    with serve(wheels) as url:
        environ = {name: value for name, value in os.environ.items() if not SCRUBBED.match(name)}
        environ |= {
            "UV_CACHE_DIR": str(directory / "uv"),
            "UV_DEFAULT_INDEX": f"{url}/simple",
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_LOCK_TIMEOUT": "86400",  # after five minutes uv would go on without its lock, and be no safe peer any more
            "PIP_CACHE_DIR": str(directory / "pip"),
            "PIP_INDEX_URL": f"{url}/simple",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "INTERLOCK_CACHE_DIR": str(directory / "interlock"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        # Workers of the benchmark's own: no other build on this machine uses them, or has warmed them up.
        with tempfile.TemporaryDirectory(prefix="ib-") as runtime:
            yield Toolbox(directory, {**environ, "XDG_RUNTIME_DIR": runtime})


@contextlib.contextmanager
def serve(wheels: Path) -> Iterator[str]:
    """Serve the wheels of a directory as an index (PEP 503), with the caching headers that pypi.org sends."""
    files = {path.name: path for path in wheels.iterdir()}
    projects: dict[str, list[str]] = {}
    for name, path in files.items():
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        link = f'<a href="/files/{name}#sha256={digest}">{name}</a>'
        projects.setdefault(re.sub(r"[-_.]+", "-", name.split("-")[0]).lower(), []).append(link)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, _, name = self.path.strip("/").partition("/")
            if kind == "simple" and name in projects:
                page = f"<!DOCTYPE html><html><body>{''.join(projects[name])}</body></html>"
                self.answer(200, page.encode(), "text/html", "max-age=600, public")
            elif kind == "files" and name in files:
                self.answer(
                    200, files[name].read_bytes(), "application/octet-stream", "max-age=365000000, immutable, public"
                )
            else:
                self.answer(404, b"", "text/plain", "no-store")

        do_HEAD = do_GET  # noqa: N815

        def answer(self, status: int, data: bytes, kind: str, caching: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", caching)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


# Always the same: caches are keyed by the address of the index.
PORT = 18_533
