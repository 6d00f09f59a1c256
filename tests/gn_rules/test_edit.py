"""Edits of BUILD.gn files, as exact text, with the syntax tree of a real GN."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from interlock_gn.build_files import MARKER
from interlock_gn.build_syntax import parse
from interlock_gn.edit import Addition, NotEditable, add, edit_text, statement
from interlock_gn.gn_program import Formatter


class Case(NamedTuple):
    name: str
    before: str
    after: str


# A file of each kind that `gn format` leaves alone; what comes out is such a one too.
FORMATTED = [
    Case(
        "one value",
        'interlock_project("leaf") {\n  python_deps = [ "//other" ]\n  venv = "//v"\n}\n',
        'interlock_project("leaf") {\n  python_deps = [\n    "//core",\n    "//other",\n  ]\n  venv = "//v"\n}\n',
    ),
    Case(
        "several lines, sorted",
        'interlock_project("leaf") {\n  python_deps = [\n    "//a",\n    "//d",\n  ]\n}\n',
        'interlock_project("leaf") {\n  python_deps = [\n    "//a",\n    "//core",\n    "//d",\n  ]\n}\n',
    ),
    Case(
        "comments in the list",
        'interlock_project("leaf") {\n  python_deps = [  # one\n    # two\n    "//a",  # three\n    # four\n  ]  # five\n}\n',
        'interlock_project("leaf") {\n  python_deps = [  # one\n    # two\n    "//a",  # three\n    "//core",\n\n    # four\n'
        "  ]  # five\n}\n",
    ),
    Case(
        "empty list",
        'interlock_project("leaf") {\n  python_deps = []\n}\n',
        'interlock_project("leaf") {\n  python_deps = [ "//core" ]\n}\n',
    ),
    Case(
        "nothing but a comment in the list",
        'interlock_project("leaf") {\n  python_deps = [\n    # none yet\n  ]\n}\n',
        'interlock_project("leaf") {\n  python_deps = [\n    # none yet\n    "//core",\n  ]\n}\n',
    ),
    Case(
        "added to",
        'interlock_project("leaf") {\n  python_deps = common\n  python_deps += [ "//a" ]\n  venv = "//v"\n}\n',
        'interlock_project("leaf") {\n  python_deps = common\n  python_deps += [\n    "//a",\n    "//core",\n  ]\n'
        '  venv = "//v"\n}\n',
    ),
    Case(
        "a variable",
        'interlock_project("leaf") {\n  python_deps = common  # of all\n  venv = "//v"\n}\n',
        'interlock_project("leaf") {\n  python_deps = common  # of all\n  python_deps += [ "//core" ]\n  venv = "//v"\n}\n',
    ),
    Case(
        "a sum",
        'interlock_project("leaf") {\n  python_deps = common + [ "//a" ]\n}\n',
        'interlock_project("leaf") {\n  python_deps = common + [ "//a" ]\n  python_deps += [ "//core" ]\n}\n',
    ),
    Case(
        "taken from",
        'interlock_project("leaf") {\n  python_deps = common\n  python_deps -= [ "//a" ]\n}\n',
        'interlock_project("leaf") {\n  python_deps = common\n  python_deps -= [ "//a" ]\n  python_deps += [ "//core" ]\n}\n',
    ),
    Case(
        "a condition after a list",
        'interlock_project("leaf") {\n  python_deps = [ "//a" ]\n  if (x) {\n    python_deps += [ "//b" ]\n  }\n}\n',
        'interlock_project("leaf") {\n  python_deps = [\n    "//a",\n    "//core",\n  ]\n  if (x) {\n'
        '    python_deps += [ "//b" ]\n  }\n}\n',
    ),
    Case(
        "a condition after a variable",
        'interlock_project("leaf") {\n  python_deps = common\n  if (x) {\n    python_deps += [ "//b" ]\n  }  # end\n\n'
        '  venv = "//v"\n}\n',
        'interlock_project("leaf") {\n  python_deps = common\n  if (x) {\n    python_deps += [ "//b" ]\n  }  # end\n'
        '  python_deps += [ "//core" ]\n\n  venv = "//v"\n}\n',
    ),
    Case(
        "no such variable",
        'interlock_project("leaf") {\n  venv = "//v"  # mine\n  # the end\n}\n',
        'interlock_project("leaf") {\n  venv = "//v"  # mine\n  python_deps = [ "//core" ]\n\n  # the end\n}\n',
    ),
    Case(
        "an empty block",
        'interlock_project("leaf") {\n}\n',
        'interlock_project("leaf") {\n  python_deps = [ "//core" ]\n}\n',
    ),
    Case(
        "a block with nothing but a comment",
        'interlock_project("leaf") {\n  # nothing\n}\n',
        'interlock_project("leaf") {\n  # nothing\n  python_deps = [ "//core" ]\n}\n',
    ),
    Case(
        "inside of a condition",
        'if (is_linux) {\n  interlock_project("leaf") {\n    venv = "//v"\n  }\n}\n',
        'if (is_linux) {\n  interlock_project("leaf") {\n    venv = "//v"\n    python_deps = [ "//core" ]\n  }\n}\n',
    ),
    Case(
        "one of several targets",
        'interlock_project("lea") {\n}\n\ninterlock_project("leaf") {\n}\n\n'
        'interlock_group("x") {\n  python_deps = [ ":leaf" ]\n}\n',
        'interlock_project("lea") {\n}\n\ninterlock_project("leaf") {\n  python_deps = [ "//core" ]\n}\n\n'
        'interlock_group("x") {\n  python_deps = [ ":leaf" ]\n}\n',
    ),
    Case(
        "a variable of another function",
        'interlock_project("leaf") {\n  config_settings = []\n  foreach(each, all) {\n    config_settings += [ each ]\n  }\n'
        "}\n",
        'interlock_project("leaf") {\n  config_settings = []\n  foreach(each, all) {\n    config_settings += [ each ]\n  }\n'
        '  python_deps = [ "//core" ]\n}\n',
    ),
    Case(
        "text that is not ASCII",
        '# Größe: 3 µm\ninterlock_project("leaf") {\n  title = "Übung 日本語"  # größer\n'
        '  python_deps = [ "//ä" ]  # ö\n}\n',
        '# Größe: 3 µm\ninterlock_project("leaf") {\n  title = "Übung 日本語"  # größer\n  python_deps = [\n    "//core",\n'
        '    "//ä",\n  ]  # ö\n}\n',
    ),
]

# Files that `gn format` would change: nothing but the addition is another byte.
UNFORMATTED = [
    Case(
        "one line",
        'interlock_project("leaf") { python_deps=["//z"] venv="//v" }',
        'interlock_project("leaf") { python_deps=["//z", "//core"] venv="//v" }',
    ),
    Case(
        "one line without the variable",
        'interlock_project("leaf") { venv="//v" }\nx = 1\n',
        'interlock_project("leaf") { venv="//v" python_deps = [ "//core" ] }\nx = 1\n',
    ),
    Case(
        "braces on one line",
        'x=1\ninterlock_project("leaf") {}\n',
        'x=1\ninterlock_project("leaf") {\n  python_deps = [ "//core" ]\n}\n',
    ),
    Case(
        "a trailing comma on the same line",
        'interlock_project("leaf") {\n   python_deps = ["//z",]\n}\n',
        'interlock_project("leaf") {\n   python_deps = ["//z", "//core",]\n}\n',
    ),
    Case(
        "no trailing comma, a comment behind",
        'interlock_project("leaf") {\n    python_deps = [\n        "//z"  # last, so far\n    ]\n}\n',
        'interlock_project("leaf") {\n    python_deps = [\n        "//z",  # last, so far\n        "//core",\n    ]\n}\n',
    ),
    Case(
        "a comma on a line of its own",
        'interlock_project("leaf") {\n  python_deps = [\n    "//z"  # c\n    , ]\n}\n',
        'interlock_project("leaf") {\n  python_deps = [\n    "//z"  # c\n    , "//core" ]\n}\n',
    ),
    Case(
        "values behind the bracket",
        'interlock_project("leaf") {\n  python_deps = [ "//y",\n                  "//z" ]\n}\n',
        'interlock_project("leaf") {\n  python_deps = [ "//y",\n                  "//z", "//core" ]\n}\n',
    ),
    Case(
        "the first value behind the bracket alone",
        'interlock_project("leaf") {\n  python_deps = [ "//z",\n  ]\n}\n',
        'interlock_project("leaf") {\n  python_deps = [ "//z",\n    "//core",\n  ]\n}\n',
    ),
    Case(
        "an empty list with space",
        'interlock_project("leaf") {\n  python_deps =   [\n  ]\n}\n',
        'interlock_project("leaf") {\n  python_deps =   [ "//core" ]\n}\n',
    ),
    Case(
        "parentheses",
        'interlock_project("leaf") {\n  python_deps = (common + (more )  )  # sum\n}\n',
        'interlock_project("leaf") {\n  python_deps = (common + (more )  )  # sum\n  python_deps += [ "//core" ]\n}\n',
    ),
    Case(
        "no line break at the end",
        'x=1\ninterlock_project("leaf") {\n venv = "//v" }',
        'x=1\ninterlock_project("leaf") {\n venv = "//v" python_deps = [ "//core" ] }',
    ),
    Case(
        "line breaks of both kinds",
        'x=1\r\ninterlock_project("leaf") {\r\n  venv = "//v"\r\n}\ny=2\n',
        'x=1\r\ninterlock_project("leaf") {\r\n  venv = "//v"\r\n  python_deps = [ "//core" ]\r\n}\ny=2\n',
    ),
]


@pytest.fixture
def formatter(gn: str) -> Formatter:
    return Formatter(gn)


CORE = Addition("leaf", "python_deps", ("//core",))


def edited(formatter: Formatter, text: str, *additions: Addition) -> str:
    new, refused, made = edit_text(formatter, text.encode(), additions or [CORE])
    assert refused == {}
    assert made == (additions or (CORE,))
    parse(formatter, new)  # GN reads it
    return new.decode()


@pytest.mark.parametrize("case", FORMATTED, ids=lambda case: case.name)
def test_a_formatted_file_stays_formatted(formatter: Formatter, case: Case) -> None:
    assert formatter.format(case.before.encode()).decode() == case.before
    assert edited(formatter, case.before) == case.after
    assert formatter.format(case.after.encode()).decode() == case.after


@pytest.mark.parametrize("case", FORMATTED, ids=lambda case: case.name)
def test_a_file_of_windows_stays_one(formatter: Formatter, case: Case) -> None:
    before, after = (text.replace("\n", "\r\n") for text in case[1:])
    assert edited(formatter, before) == after


@pytest.mark.parametrize("case", UNFORMATTED, ids=lambda case: case.name)
def test_of_a_file_that_is_not_formatted_nothing_else_changes(formatter: Formatter, case: Case) -> None:
    assert formatter.format(case.before.encode()).decode() != case.before
    assert edited(formatter, case.before) == case.after


@pytest.mark.parametrize("case", [*FORMATTED, *UNFORMATTED], ids=lambda case: case.name)
def test_gn_finds_the_value_in_the_variable_that_it_was_added_to(formatter: Formatter, case: Case) -> None:
    (call,) = (
        call
        for call in parse(formatter, edited(formatter, case.before).encode()).calls()
        if (call.function, call.name) == ("interlock_project", "leaf")
    )
    assert '"//core"' in str([node["child"][-1] for node in call.touching("python_deps")])


def test_several_additions_to_several_targets_of_one_file(formatter: Formatter) -> None:
    before = 'interlock_project("a") {\n}\n\ninterlock_project("b") {\n  python_deps = [ ":a" ]\n}\n'
    additions = (
        Addition("a", "python_deps", ("//x", "//y")),
        Addition("a", "deferred", ("b",)),
        Addition("b", "verify", ("a[x,y]",)),
        Addition("b", "python_deps", ("//x", "//w")),
    )
    assert edited(formatter, before, *additions) == (
        'interlock_project("a") {\n  python_deps = [\n    "//x",\n    "//y",\n  ]\n  deferred = [ "b" ]\n}\n\n'
        'interlock_project("b") {\n  python_deps = [\n    ":a",\n    "//w",\n    "//x",\n  ]\n  verify = [ "a[x,y]" ]\n}\n'
    )


def test_bytes_that_are_no_utf_8_stay(formatter: Formatter) -> None:
    text = b'# caf\xe9\ninterlock_project("leaf") {  # \xff\n  venv = "//\xe9"  # x\n}\n'
    new, _, _ = edit_text(formatter, text, [CORE])
    assert new == text.replace(b"# x\n", b'# x\n  python_deps = [ "//core" ]\n')


REFUSED = [
    ("interlock_project(name) {\n}\n", "the name in line 1 is an expression"),
    ('x = 1\ninterlock_project("le$x") {\n}\n', "the name in line 2 is an expression"),
    (
        'foreach(x, y) {\n  interlock_project("leaf") {\n  }\n}\n',
        "it is inside of a foreach, in line 2",
    ),
    (
        'template("t") {\n  interlock_project("leaf") {\n  }\n}\n',
        "it is inside of a template, in line 2",
    ),
    ('our_python_package("leaf") {\n}\n', "our_python_package in line 1 makes it"),
    ('group("other") {\n}\n', 'there is no interlock_project("leaf") in the file'),
    (
        'if (x) {\n  interlock_project("leaf") {\n  }\n} else {\n  interlock_project("leaf") {\n  }\n}\n',
        "there are 2 calls with this name, in lines 2, 5",
    ),
    (
        'interlock_project("leaf") {\n  if (x) {\n    python_deps = [ "//a" ]\n  }\n}\n',
        "python_deps is set only under a condition",
    ),
    (
        'interlock_project("leaf") {\n  forward_variables_from(common, "*")\n}\n',
        "python_deps may come from forward_variables_from",
    ),
    (
        'interlock_project("leaf") {\n  forward_variables_from(common, [ "venv", "python_deps" ])\n}\n',
        "python_deps may come from forward_variables_from",
    ),
    (
        'interlock_project("leaf") {\n  forward_variables_from(common, names)\n}\n',
        "python_deps may come from forward_variables_from",
    ),
    (f'# {MARKER}\ninterlock_project("leaf") {{\n}}\n', "the file is written by `interlock gn gen`: run that"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_what_cannot_be_edited_is_left_alone(formatter: Formatter, text: str, why: str) -> None:
    with pytest.raises(NotEditable, match=re.escape(why)):
        add(formatter, text.encode(), CORE)
    new, refused, made = edit_text(formatter, text.encode(), [CORE])
    assert (new, refused, made) == (text.encode(), {CORE: why}, ())


def test_forwarding_other_variables_is_no_hindrance(formatter: Formatter) -> None:
    before = 'interlock_project("leaf") {\n  forward_variables_from(common, [ "venv" ])\n}\n'
    assert edited(formatter, before) == before.replace("])\n", '])\n  python_deps = [ "//core" ]\n')


def test_one_refusal_does_not_keep_others_from_being_made(formatter: Formatter) -> None:
    text = b'interlock_project("leaf") {\n}\n'
    other = Addition("other", "python_deps", ("//core",))
    new, refused, made = edit_text(formatter, text, [other, CORE])
    assert new == b'interlock_project("leaf") {\n  python_deps = [ "//core" ]\n}\n'
    assert (list(refused), made) == ([other], (CORE,))


def test_statement_is_what_a_person_adds() -> None:
    addition = Addition("leaf", "python_deps", ("//a", ":b"))
    assert statement(addition, defined=True) == 'python_deps += [ "//a", ":b" ]'
    assert statement(addition, defined=False) == 'python_deps = [ "//a", ":b" ]'
