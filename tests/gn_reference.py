"""Write docs/reference/gn-templates.md from the comments of the templates: `python tests/gn_reference.py`.

tests/gn_rules/test_gn_reference.py fails when the file and the comments differ.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "reference" / "gn-templates.md"
TEMPLATES = ROOT / "gn_rules" / "interlock_gn"
ORDER = ("venv.gni", "project.gni", "action.gni", "workspace.gni")

HEAD = """\
# GN templates

`import("//build/interlock/interlock.gni")` brings them all. `interlock gn init` puts them into a source tree
([how to start](../how-to/use-with-gn.md)). What follows are the comments of the templates themselves.

## Build arguments

Set them in `args.gn`, or for everybody in `default_args` of `.gn`; `gn args --list out` shows them too.

| argument | default | |
|---|---|---|
"""

_TEMPLATE = re.compile(r'((?:^#.*\n)+)template\("(?!interlock_internal_)(\w+)"\)', re.MULTILINE)
_ARGUMENT = re.compile(r"((?:^  #.*\n)+)  (\w+) = (.*)$", re.MULTILINE)


def text() -> str:
    """Return what the file should say."""
    arguments = (TEMPLATES / "interlock_args.gni").read_text(encoding="utf-8")
    parts = [HEAD]
    for comment, name, default in _ARGUMENT.findall(arguments):
        words = " ".join(line.removeprefix("  # ") for line in comment.splitlines())
        parts.append(f"| `{name}` | `{default}` | {words} |\n")
    for file in ORDER:
        for comment, name in _TEMPLATE.findall((TEMPLATES / file).read_text(encoding="utf-8")):
            body = "\n".join(line.removeprefix("#").removeprefix(" ") for line in comment.splitlines())
            parts.append(f"\n## {name}\n\n```text\n{body}\n```\n")
    return "".join(parts)


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
