"""Put measured tables into pages: between `<!-- bench:NAME -->` and `<!-- /bench -->`, for each NAME that was measured.

    python benchmarks/page.py benchmarks.json docs/explanation/performance.md [README.md ...]

NAME is a table of benchmarks/run.py, or `machine`: what it was measured on, and the versions. A marker whose table is not in
the file stays as it is, and is named.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from report import load

MARKED = re.compile(r"(<!-- bench:(\S+) -->\n)(.*?)(<!-- /bench -->)", re.DOTALL)


def main(words: list[str]) -> int:
    if len(words) < 2:
        sys.stderr.write(__doc__ or "")
        return 2
    texts = {table.name: table.markdown() for table in load(Path(words[0])) if table.rows}
    document = json.loads(Path(words[0]).read_text("utf-8"))
    said = [f"{name}: {value}" for name, value in document["machine"].items()]
    said += [f"{name} {value}" for name, value in document["versions"].items()]
    texts["machine"] = ", ".join(said) + "\n"
    for name in words[1:]:
        page = Path(name)
        text, missing = filled(page.read_text("utf-8"), texts)
        page.write_text(text, "utf-8")
        sys.stderr.write("".join(f"{name}: {one} was not measured\n" for one in missing))
    return 0


def filled(page: str, texts: dict[str, str]) -> tuple[str, list[str]]:
    """Return a page with its marked places filled, and the names for which there is nothing."""
    missing: list[str] = []

    def fill(match: re.Match[str]) -> str:
        opening, name, old, closing = match.groups()
        if name not in texts:
            missing.append(name)
            return f"{opening}{old}{closing}"
        return f"{opening}{texts[name]}{closing}"

    return MARKED.sub(fill, page), missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
