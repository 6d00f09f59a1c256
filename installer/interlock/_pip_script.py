"""Run pip so that it neither resolves nor looks up names that are private; runs in the python that pip installs for.

`python -I _pip_script.py PIP_ROOT NAMES_FILE [--python PYTHON] ARGUMENT...`: PIP_ROOT is the directory that holds the
package `pip`, which may be another interpreter's. uv has overrides for this; pip has nothing, so two of its functions are
replaced: the one that says what a candidate depends on leaves private names out, and, as a last line of defence, the one
that asks indexes finds nothing for them. Where a pip has no such functions it is not run at all (exit code 4). Python 3.8.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import re
import sys
from typing import Any

UNKNOWN_PIP = 4


class PipFinder:
    """Find pip in one directory, and nothing else there."""

    root = ""

    @classmethod
    def find_spec(cls, name: str, _path: Any = None, target: Any = None) -> Any:
        """Answer for the package pip alone; its parts are found through it."""
        return importlib.machinery.PathFinder.find_spec(name, [cls.root], target) if name == "pip" else None


def leave_out(private: frozenset[str]) -> None:
    """Replace pip's two functions; AttributeError or ImportError where it has them not."""
    provider: Any = importlib.import_module("pip._internal.resolution.resolvelib.provider").PipProvider
    finder: Any = importlib.import_module("pip._internal.index.package_finder").PackageFinder
    dependencies, candidates = provider.get_dependencies, finder.find_all_candidates

    def get_dependencies(self: Any, candidate: Any) -> list[Any]:
        return [one for one in dependencies(self, candidate) if normalize(one.project_name) not in private]

    def find_all_candidates(self: Any, project_name: str) -> list[Any]:
        return [] if normalize(project_name) in private else list(candidates(self, project_name))

    provider.get_dependencies = get_dependencies
    finder.find_all_candidates = find_all_candidates


def normalize(name: str | None) -> str:
    """Normalise a distribution's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name or "").lower()


def main(root: str, names: str, *arguments: str) -> int:
    """Run pip's command line with these arguments; return its exit code."""
    # This is the python that --python asks for: pip would start another process, without the replacements.
    words = list(arguments)
    if words[:1] == ["--python"]:
        del words[:2]
    sys.path = [path for path in sys.path if os.path.abspath(path or ".") != os.path.dirname(os.path.abspath(__file__))]
    PipFinder.root = root
    sys.meta_path.insert(0, PipFinder)  # type: ignore[arg-type,unused-ignore]
    with open(names, encoding="utf-8") as reader:
        private = frozenset(reader.read().split())
    try:
        leave_out(private)
        pip = importlib.import_module("pip._internal.cli.main").main
    except (AttributeError, ImportError, SyntaxError) as error:
        sys.stderr.write(f"the pip in {root} cannot be kept from asking an index for private names: {error}\n")
        return UNKNOWN_PIP
    # The old resolver does not go through the functions above.
    os.environ.pop("PIP_USE_DEPRECATED", None)
    return int(pip(words))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
