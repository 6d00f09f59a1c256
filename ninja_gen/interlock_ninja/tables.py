"""Typed reading of a configuration's TOML tables: an error names the file, the key and what was expected there."""

from __future__ import annotations

import datetime as dt
import difflib
from typing import TYPE_CHECKING, Any, NoReturn

from interlock.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Table", "nearest"]


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ", did you mean X?" for the known word most like `word`, or "" where none is like it."""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


class Table:
    """A table of a configuration file that knows where it stands."""

    def __init__(self, file: str, prefix: str, values: Mapping[str, Any]) -> None:
        self.file = file
        self._prefix = prefix
        self._values = values

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def where(self, key: str) -> str:
        """Return a key with the tables above it, as one would write it in TOML."""
        quoted = key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else f'"{key}"'
        return f"{self._prefix}{quoted}"

    def fail(self, key: str, problem: str, *, advice: str = "") -> NoReturn:
        """Raise a ConfigurationError about a key."""
        raise ConfigurationError(f"{self.file}: `{self.where(key)}` {problem}", advice=advice)

    def only(self, known: Iterable[str]) -> None:
        """Raise a ConfigurationError if there is a key besides the known ones."""
        names = list(known)
        for key in self._values:
            if key not in names:
                raise ConfigurationError(
                    f"{self.file}: unknown key `{self.where(key)}`{nearest(key, names)}",
                    advice=f"Known keys: {', '.join(sorted(names))}.",
                )

    def table(self, key: str) -> Table:
        """Return the table at a key, an empty one where it is not there."""
        value = self._values.get(key, {})
        if not isinstance(value, dict):
            self.fail(key, f"must be a table, not {_kind(value)}")
        return Table(self.file, f"{self.where(key)}.", value)

    def is_table(self, key: str) -> bool:
        """Tell whether a table stands at a key."""
        return isinstance(self._values.get(key), dict)

    def text(self, key: str, default: str | None = None) -> str | None:
        """Return the string at a key."""
        value = self._values.get(key, default)
        if value is not None and not isinstance(value, str):
            self.fail(key, f"must be a string, not {_kind(value)}")
        if value == "":
            self.fail(key, "must not be empty")
        return value

    def flag(self, key: str) -> bool:
        """Return the boolean at a key, False where it is not there."""
        value = self._values.get(key, False)
        if not isinstance(value, bool):
            self.fail(key, f"must be a boolean, not {_kind(value)}", advice=f"Write `{key} = true`, without quotes.")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """Return the string at a key, one of `choices`, the first of which is the default."""
        value = self.text(key, choices[0])
        if value not in choices:
            wanted = " or ".join(f'"{choice}"' for choice in choices)
            self.fail(key, f'must be {wanted}, not "{value}"{nearest(str(value), choices)}')
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the list of strings at a key, none where it is not there."""
        value = self._values.get(key, [])
        if not isinstance(value, list):
            advice = f"Write `{key} = [{_quote(value)}]`." if isinstance(value, str) else ""
            self.fail(key, f"must be a list of strings, not {_kind(value)}", advice=advice)
        for item in value:
            if not isinstance(item, str):
                self.fail(key, f"must be a list of strings; one item is {_kind(item)}")
            if not item:
                self.fail(key, "must not hold an empty string")
        return tuple(value)

    def text_or_texts(self, key: str) -> str | tuple[str, ...]:
        """Return the string or the list of strings at a key."""
        value = self._values[key]
        if isinstance(value, str):
            return value
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.fail(key, f"must be a string or a list of strings, not {_kind(value)}")
        return tuple(value)


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _kind(value: object) -> str:
    """Name a value's type as TOML does."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, dt.date | dt.time):
        return "a date or a time"
    names = {str: "a string", int: "an integer", float: "a float", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)
