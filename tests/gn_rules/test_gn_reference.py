"""The reference of the GN templates is their own comments, and leaves none of them out."""

from __future__ import annotations

import re

import gn_reference
from gn_reference import FILE, TEMPLATES, text


def test_the_reference_says_what_the_templates_say() -> None:
    message = f"{FILE} is out of date: run python {gn_reference.__file__}"
    assert FILE.read_text(encoding="utf-8") == text(), message


def test_every_template_and_argument_is_in_it() -> None:
    found = text()
    for path in TEMPLATES.glob("*.gni"):
        source = path.read_text(encoding="utf-8")
        for name in re.findall(r'^template\("(\w+)"\)', source, re.MULTILINE):
            assert (f"## {name}\n" in found) != name.startswith("interlock_internal_"), name
    arguments = re.search(
        r"declare_args\(\) \{(.*?)^\}", (TEMPLATES / "interlock_args.gni").read_text(), re.DOTALL | re.MULTILINE
    )
    assert arguments is not None
    for name in re.findall(r"^  (\w+) =", arguments[1], re.MULTILINE):
        assert f"| `{name}` |" in found
    assert '| `interlock_default_venv` | `"//build/venv"` |' in found
