"""The path that a file: URL names (RFC 8089), as direct_url.json, requirements files and build requirements have them."""

from __future__ import annotations

import re
import sys

__all__ = ["local_path"]

_DRIVE = re.compile(r"/+([A-Za-z])[:|](?=/|$)")


def local_path(url: str, platform: str = sys.platform) -> str:
    r"""Return the path that a file: URL names, "" where it is another URL or names a file of another machine.

    On Windows another machine's file has a path too: file://server/share/x is \\server\share\x.
    """
    if url[:5].lower() != "file:":
        return ""
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:  # a host in brackets that are not closed
        return ""
    host = "" if parts.netloc.lower() == "localhost" else parts.netloc
    path = unquote(parts.path, errors="surrogateescape")
    if platform == "win32":
        path = _DRIVE.sub(r"\1:", path, count=1) if _DRIVE.match(path) else path
        return (f"//{host}{path}" if host else path).replace("/", "\\")
    return "" if host else path
