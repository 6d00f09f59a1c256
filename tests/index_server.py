"""A package index on the loopback interface that serves tiny wheels and remembers every name that it was asked for."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Index:
    """What an index serves, and what it was asked: `asked` holds the names in the order of the requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []
        self.wheels: dict[str, tuple[str, bytes]] = {}

    def add(self, name: str, version: str, requires: tuple[str, ...] = ()) -> None:
        """Serve a pure wheel with one module."""
        filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
        self.wheels[name] = (filename, wheel(name, version, requires))

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables that make uv and pip ask this index and no other."""
        simple = f"{self.url}/simple"
        return {
            "PIP_INDEX_URL": simple,
            "UV_DEFAULT_INDEX": simple,
            "UV_INDEX_URL": simple,
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_CONFIG_FILE": "/dev/null",
            "UV_NO_CONFIG": "1",
            "UV_NO_CACHE": "1",
            "PIP_NO_CACHE_DIR": "1",
            # A request that is made once more on a busy machine would be one too many in `asked`.
            "PIP_DEFAULT_TIMEOUT": "300",
            "UV_HTTP_TIMEOUT": "300",
            "no_proxy": "127.0.0.1",
            # Whoever asks twice because a busy machine has not answered yet is counted twice.
            **dict.fromkeys(("PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT", "UV_HTTP_CONNECT_TIMEOUT"), "600"),
        }


def wheel(name: str, version: str, requires: tuple[str, ...]) -> bytes:
    """Return the bytes of a small wheel."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    files = {
        f"{module}.py": f'__version__ = "{version}"\n',
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {line}\n" for line in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}\n")
    files[f"{info}/RECORD"] = "".join(rows) + f"{info}/RECORD,,\n"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return data.getvalue()


@contextlib.contextmanager
def serve() -> Iterator[Index]:
    """Serve an empty index on a free port for the length of a `with` block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[0] == "simple" and len(parts) == 2:
                index.asked.append(parts[1])
                found = index.wheels.get(parts[1])
                link = f'<a href="/files/{parts[1]}/{found[0]}">{found[0]}</a>' if found else ""
                self._answer(
                    200 if found else 404, f"<!DOCTYPE html><html><body>{link}</body></html>".encode(), "text/html"
                )
            elif parts[0] == "files" and parts[1] in index.wheels:
                self._answer(200, index.wheels[parts[1]][1], "application/octet-stream")
            else:
                self._answer(404, b"", "text/plain")

        do_HEAD = do_GET  # noqa: N815  the name that http.server looks up

        def _answer(self, status: int, data: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the base class's
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024  # of many that come at once, none has to knock again

    with Server(("127.0.0.1", 0), Handler) as server:
        index = Index(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield index
        finally:
            server.shutdown()
            thread.join()
