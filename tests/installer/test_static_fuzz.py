"""Static answers for projects that nobody would write, beside the real backends': equal or refused, never another."""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
from real_backends import MODULES, VERSIONS, real_backend

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="static editables are not for Windows yet")

EXAMPLES = int(os.environ.get("INTERLOCK_TEST_STATIC_EXAMPLES", "60"))  # for each backend and version

WORDS = st.sampled_from(
    ["a", "Core", "x-y", "z.w", "A_b", "J. Doe", "O'Neil", "Ünï", "Zoë (team)", "名前", "a,b", 'q"q', "x:y", "two  spaces", " lead", "tab\tbed", "", "é" * 3]  # noqa: E501
)  # fmt: skip
VERSION = st.sampled_from(
    ["1", "1.0", "1.0.0", "2.10", "0.1a1", "1.0rc2", "1.0.post1", "1.0.dev3", "01.2", "1.0-1", "1!2", "1+x"]
)
OPERATOR = st.sampled_from([">=", "<=", "==", "!=", "~=", "<", ">", "===", " >= ", "=="])
SPECIFIER = st.builds(
    lambda operator, version, star: f"{operator}{version}{star}", OPERATOR, VERSION, st.sampled_from(["", "", "", ".*"])
)
SPECIFIERS = st.lists(SPECIFIER, max_size=3).map(",".join)
ATOM = st.sampled_from(
    [
        *("python_version < '3.11'", 'python_version>="3.9"', "python_version == '3.10'", "python_version != '3.9'"),
        *("python_full_version < '3.10'", "sys_platform == 'win32'", 'os_name!="nt"', "platform_system == 'Linux'"),
        *("platform_machine == 'x86_64'", "implementation_name == 'cpython'", "extra == 'a'", "'3.9' < python_version"),
        *("python_version in '3.9 3.10'", "python_version < '3.11.2'", "platform_python_implementation == 'PyPy'"),
    ]
)
MARKER = st.one_of(
    st.just(""),
    ATOM.map("; {}".format),
    st.tuples(ATOM, st.sampled_from(["and", "or"]), ATOM).map(lambda parts: f" ;{' '.join(parts)}"),
    st.tuples(ATOM, ATOM, ATOM).map(lambda parts: f"; ({parts[0]} or {parts[1]}) and {parts[2]}"),
)
REQUIREMENT = st.builds(
    lambda name, extras, specifiers, marker: f"{name}{extras}{specifiers}{marker}",
    st.sampled_from(["requests", "Foo.Bar", "a_b", "my-core", "x "]),
    st.sampled_from(["", "", "[s]", "[b,a]", "[ B_c ]", "[x, x]"]),
    SPECIFIERS,
    MARKER,
)
PERSON = st.fixed_dictionaries(
    {}, optional={"name": WORDS, "email": st.sampled_from(["a@b.c", "x.y@example.org", "no", ""])}
)
LABEL = st.sampled_from(["Homepage", "homepage", "Source Code", "b", "a", "Repository", "x" * 33, "ü"])
URL = st.sampled_from(["https://a.b", "http://a.b/c?d=e#f", "ftp://a", "https://é.org", "x"])
ENTRY = st.dictionaries(
    st.sampled_from(["run", "a-b", "A.b", "ü", "a b", "x="]),
    st.sampled_from(["my_core:main", "my_core.a:B.c", "my_core", "my_core:main [x]", "bad-name:x", "my_core : f"]),
    max_size=3,
)
PROJECT = st.fixed_dictionaries(
    {"name": st.sampled_from(["my-core", "my_core", "My.Core", "my--core"]), "version": st.one_of(st.just("1.0"), VERSION)},
    optional={
        "description": st.one_of(st.just("Fine"), WORDS),
        "readme": st.sampled_from(["README.md", "README", "no.md", {"file": "README.md", "content-type": "text/markdown"}, {"text": "x\n\ny", "content-type": "text/x-rst"}]),  # noqa: E501
        "requires-python": st.one_of(SPECIFIERS, st.sampled_from([">=3.9", ">=3.8,<4", ">=2.7"])),
        "license": st.sampled_from(["MIT", "mit", "MIT OR Apache-2.0", "(MIT)", "Apache-2.0 WITH LLVM-exception", {"text": "MIT"}, {"file": "LICENSE"}]),  # noqa: E501
        "license-files": st.sampled_from([[], ["LICENSE*"], ["LICENSE", "NOTICE"], ["no*"], ["*"], ["docs/**/N*"]]),
        "authors": st.lists(PERSON, max_size=3),
        "maintainers": st.lists(PERSON, max_size=2),
        "keywords": st.lists(WORDS, max_size=3),
        "classifiers": st.lists(st.sampled_from(["Typing :: Typed", "Private :: Do Not Upload", "Programming Language :: Python :: 3", "License :: OSI Approved :: MIT License", "Nonsense", "No :: Such"]), max_size=3),  # noqa: E501
        "urls": st.dictionaries(LABEL, URL, max_size=3),
        "scripts": ENTRY,
        "gui-scripts": ENTRY,
        "entry-points": st.dictionaries(st.sampled_from(["g", "a.b", "console_scripts", "b-c"]), ENTRY, max_size=2),
        "dependencies": st.lists(REQUIREMENT, max_size=4),
        "optional-dependencies": st.dictionaries(st.sampled_from(["a", "z-y", "B_c", "t"]), st.lists(REQUIREMENT, max_size=3), max_size=3),  # noqa: E501
        "dynamic": st.sampled_from([[], ["readme"]]),
    },
)  # fmt: skip


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {toml(one)}" for key, one in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("age", [0, 1], ids=["newest", "oldest"])
def test_equal_or_refused(name: str, age: int, tmp_path: Path) -> None:
    backend = real_backend(name, VERSIONS[name][age])
    numbers, outcomes = itertools.count(), {"equal": 0, "refused": 0}
    root = tmp_path / "p"
    (root / "src" / "my_core").mkdir(parents=True)
    (root / "src" / "my_core" / "__init__.py").write_text("", encoding="utf-8")
    (root / "docs").mkdir()
    for file in ("README.md", "README", "LICENSE", "LICENSE.txt", "NOTICE", "docs/N"):
        (root / file).write_text(f"# {file}\n\nü\n", encoding="utf-8")

    # Few keys at a time: of a project with all of them something is always refused.
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(PROJECT, st.sets(st.sampled_from(sorted(PROJECT_KEYS)), max_size=3))
    def check(project: dict[str, Any], kept: set[str]) -> None:
        chosen = {key: value for key, value in project.items() if key in {"name", "version", "description", *kept}}
        lines = "".join(f"{key} = {toml(value)}\n" for key, value in chosen.items())
        head = f'[build-system]\nrequires = ["x"]\nbuild-backend = "{backend.module}"\n[project]\n'
        (root / "pyproject.toml").write_text(head + lines, encoding="utf-8")
        outcomes["refused" if backend.compare(root, tmp_path / f"w{next(numbers)}") else "equal"] += 1

    check()
    print(name, VERSIONS[name][age], outcomes)
    assert outcomes["equal"] >= 2, outcomes


PROJECT_KEYS = (
    *("readme", "requires-python", "license", "license-files", "authors", "maintainers", "keywords", "classifiers"),
    *("urls", "scripts", "gui-scripts", "entry-points", "dependencies", "optional-dependencies", "dynamic"),
)
