"""The names that GN gives to the rules of actions in Ninja files, and what is wrong with some of them.

Source: src/gn/ninja_action_target_writer.cc (WriteRuleDefinition); Ninja's manual, "Lexical syntax". An older GN leaves a
"+" as it is (until 4bd1a77e, 2023-06-09), and Ninja then refuses the file.
"""

from __future__ import annotations

import os
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BadName", "bad_names", "refused", "rule_name"]

_MANGLED = str.maketrans(dict.fromkeys("/:()", "_"))
_ALLOWED = frozenset(string.ascii_letters + string.digits + "_.-")


@dataclass(frozen=True, slots=True)
class BadName:
    """A rule that Ninja will refuse: `labels` are all that make it, `refused` the characters that it cannot have."""

    rule: str
    labels: tuple[str, ...]
    refused: str


def rule_name(label: str) -> str:
    """Return the name of the rule of an action, without the toolchain at its end."""
    return label.translate(_MANGLED)


def refused(rule: str) -> str:
    """Return the characters of a rule's name that Ninja refuses, "" where there are none."""
    return "".join(sorted(set(rule) - _ALLOWED))


def bad_names(labels: Iterable[str], out: str) -> list[BadName]:
    """Return the rules that several actions share, or that have a name which Ninja refuses.

    Labels have their toolchain behind them unless it is the default one; rules of one toolchain are apart from those of
    another. `out` is the directory with the Ninja files.
    """
    rules: dict[tuple[str, str], list[str]] = {}
    for label in sorted(set(labels)):
        plain, _, toolchain = label.partition("(")
        rules.setdefault((toolchain, rule_name(plain)), []).append(label)
    found = []
    for (toolchain, rule), made_by in rules.items():
        owners = list(made_by)
        characters = refused(rule)
        if characters == "+" and not _written(out, toolchain, rule):
            # A GN that knows about "+" makes a "_" of it.
            characters = ""
            owners += rules.get((toolchain, rule.replace("+", "_")), [])
        if len(owners) > 1 or characters:
            found.append(BadName(rule, tuple(owners), characters))
    return found


def _written(out: str, toolchain: str, rule: str) -> bool:
    """Tell whether a Ninja file of a toolchain has a rule with a name as it is."""
    directory = os.path.join(out, toolchain.rstrip(")").rpartition(":")[2]) if toolchain else out
    try:
        with open(os.path.join(directory, "toolchain.ninja"), encoding="utf-8", errors="surrogateescape") as reader:
            return any(line.startswith(f"rule {rule}_") for line in reader)
    except OSError:
        return False
