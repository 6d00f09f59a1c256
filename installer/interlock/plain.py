"""The plain path of an edge: this process runs it. It was started without `site`, which an install edge rarely needs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

__all__ = ["run"]


# Modules of other Pythons that the standard library tries to import (`copy`: Jython's).
NOWHERE = frozenset({"org", "org.python", "org.python.core"})


class _SiteOnDemand:
    """The last finder on sys.meta_path: what nobody has found may be among site-packages, which are added now."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in NOWHERE:
            return None
        sys.meta_path.remove(cls)
        _add_site()
        import importlib.util

        return importlib.util.find_spec(name) if path is None else None


def run(words: list[str]) -> int:
    """Run a command of interlock in this process and return its exit code."""
    if words[:1] == ["install"]:
        sys.meta_path.append(_SiteOnDemand)
    else:
        _add_site()
    from interlock.cli import main

    return main(words)


def _add_site() -> None:
    import site

    site.main()
